"""Machines that join, leave and are taken away while a search runs, on Ray's multi-node test cluster."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from prefix_examples import LOW, TOP, VIEWS, Counting, key

from benchmarks.fake_cluster import FakeCluster, fake_cluster
from benchmarks.scale_worker import Epoch, Report, write_complete
from orchestrator.callbacks import Callback
from orchestrator.study.trial_spec import TrialFailure, TrialSpec
from orchestrator.tuning.preemption import undisturbed
from orchestrator.tuning.ray_backend import Resources, run_trials
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from trainables.config.trial_config import TrialConfig, decode
from trainables.features.feature_use import FeatureUse
from trainables.features.store import PrefixStore

pytestmark = [
    pytest.mark.machines,
    pytest.mark.timeout(400),
    # Ray's test cluster looks for free ports by sockets that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

CONFIG = decode({"model.backbone": "efficientnet_lite0"})
EPOCH_SECONDS = 0.25


class Study:
    """Hands out a number of equal trials."""

    def __init__(self, trials: int) -> None:
        self.left, self.told = list(range(trials)), list[TrialRecord]()

    def ask(self) -> TrialSpec | None:
        return TrialSpec(self.left.pop(0), CONFIG, {}) if self.left else None

    def should_prune(self, number: int, epoch: int, value: float, fold_values: Sequence[float] = ()) -> bool:
        return False

    def tell(self, record: TrialRecord) -> None:
        self.told.append(record)


class Trainer:
    """A trial that sleeps, and goes on from the epoch that it has kept; notes where it started."""

    epochs = 16

    def __init__(self, run: RunFolder, number: int, config: TrialConfig, params: Any, **given: Any) -> None:
        import ray

        self.run, self.number, self.config, self.given = run, number, config, given
        self.is_opened = False
        kept = self._kept_file.read_text() if self._kept_file.exists() else "0"
        self.epoch = int(kept)
        with (run.path / "starts").open("a") as file:
            file.write(f"{number} {self.epoch} {ray.get_runtime_context().get_node_id()} {given['gpus']}\n")

    @property
    def _kept_file(self) -> Path:
        return self.run.path / f"kept-{self.number}"

    def keep_progress(self) -> None:
        self._kept_file.write_text(str(self.epoch))

    def step(self) -> Report:
        opened = None if self.is_opened else FeatureUse("stored views", None, 1, 0, 0)
        self.is_opened = True
        is_end = self._advance()
        if is_end:
            write_complete(self.run, self.number, self.config, {}, 1.0)
        return Report(opened, (Epoch(self.epoch, 0.5, {}),), is_end)

    @undisturbed
    def _advance(self) -> bool:
        self.meet()
        time.sleep(EPOCH_SECONDS)
        self.epoch += 1
        return self.epoch == self.epochs

    def meet(self) -> None:
        """Meet nothing."""


class Longer(Trainer):
    """It lasts longer than workers take to notice that their machine goes."""

    epochs = 60


class GetsNotice(Trainer):
    """Its process is asked to end in the middle of the sixth epoch of trial 1, once."""

    def meet(self) -> None:
        mark = self.run.path / "noticed"
        if self.number == 1 and self.epoch == 5 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGTERM)


class OpensFeatures(Trainer):
    """A head: it opens features as a trial does, and the machines with GPUs have another store than others.

    Notes where features were computed and where they arrived.
    """

    epochs = 4

    def step(self) -> Report:
        if self.is_opened:
            return super().step()
        own = Path(self.run.search().store) if self.given["gpus"] else self.run.path / "store without gpus"
        views = PrefixStore(own, lender=self.given["lender"]).views(
            key(), VIEWS[:2], TOP, also=(LOW,), compute=Counting()
        )
        with (self.run.path / "features").open("a") as file:
            file.write(f"{self.given['gpus']} {views.computed} {views.fetched}\n")
        return super().step()


class CannotRunThere(Trainer):
    """On the machine whose name is in a file, no trial can run."""

    def step(self) -> Report:
        import ray

        if ray.get_runtime_context().get_node_id() != (self.run.path / "unfit").read_text():
            return super().step()
        return Report(is_end=True, failure=TrialFailure("environment", "torch sees no GPU"))


class HasDeadGpuThere(Trainer):
    """On the machine whose name is in a file, no process can run anything more, and each ends for it."""

    def step(self) -> Report:
        import ray

        if ray.get_runtime_context().get_node_id() != (self.run.path / "unfit").read_text():
            return super().step()
        failure = TrialFailure("environment", "the GPU does nothing more", ends_worker=True)
        return Report(is_end=True, failure=failure)


class After(Callback):
    """Calls a function at the end of the trial that is the n-th to end."""

    def __init__(self, **actions: Callable[[], Any]) -> None:
        self.actions = {int(name.removeprefix("trial_")): act for name, act in actions.items()}
        self.ended = 0

    def on_trial_end(self, record: TrialRecord) -> None:
        self.ended += 1
        if self.ended in self.actions:
            self.actions[self.ended]()


class AtEpoch(Callback):
    """Calls a function once, when a trial on some machine reports an epoch."""

    def __init__(self, folder: Path, node: str, epoch: int, action: Callable[[], Any]) -> None:
        self.starts, self.node = folder / "starts", node
        self.epoch, self.action, self.is_over = epoch, action, False

    def on_epoch_end(
        self, number: int, epoch: int, epochs: int, value: float, scalars: Mapping[str, float]
    ) -> None:
        if epoch != self.epoch or self.is_over:
            return
        lines = [line.split() for line in self.starts.read_text().splitlines()]
        if any((int(one), own) == (number, self.node) for one, _, own, _ in lines):
            self.is_over = True
            self.action()


@pytest.fixture(scope="module")
def cluster() -> Iterator[FakeCluster]:
    with fake_cluster() as own:
        from ray import cloudpickle

        for name in (__name__, "prefix_examples"):  # workers cannot import these modules
            cloudpickle.register_pickle_by_value(sys.modules[name])
        yield own


class Searched:
    """A search that has ended: its records, where its trials started, and what was said."""

    def __init__(self, run: RunFolder, said: list[str]) -> None:
        self.records, self.said = run.records(), said
        lines = [line.split() for line in (run.path / "starts").read_text().splitlines()]
        self.starts = [(int(number), int(epoch), node, float(gpus)) for number, epoch, node, gpus in lines]

    @property
    def complete(self) -> list[int]:
        return [record.number for record in self.records if record.state == "complete"]


def search(
    folder: Path,
    make_search: Callable[..., SearchRecord],
    resources: Resources,
    *,
    trials: int,
    callback: Callback | None = None,
    runner: type[Trainer] = Trainer,
) -> Searched:
    run, said, study = RunFolder(folder), list[str](), Study(trials)
    callbacks = () if callback is None else (callback,)
    record = make_search(store=str(folder / "store"))
    run.write_search(record)
    manager = TrialManager(run, record, study, callbacks, deadline=None, clock=time.time, say=said.append)
    run_trials(manager, run, resources, make_runner=runner, ends_process=False)
    assert sorted(record.number for record in study.told) == list(range(trials))  # each of them once
    return Searched(run, said)


def test_machines_that_join_are_used_and_those_that_go_cost_no_trial(
    cluster: FakeCluster, tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    first, joined = cluster.add(cpus=2), list[Any]()
    callback = After(
        trial_1=lambda: joined.append(cluster.add(cpus=2)), trial_5=lambda: cluster.remove(first)
    )
    resources = Resources(1.0, 0.0, 2, machines=cluster.machines)
    try:
        # Half a minute of trials is left when the machine goes: Ray takes up to twenty seconds to see it.
        found = search(tmp_path, make_search, resources, trials=24, callback=callback)
    finally:
        for node in joined:
            cluster.remove(node)
    assert found.complete == list(range(24))
    assert {node for _, _, node, _ in found.starts} == {first.node_id, joined[0].node_id}
    assert any("2 machines now, before 1: 4 trials at once, before 2" in line for line in found.said)
    assert any("1 machine now, before 2: 2 trials at once" in line for line in found.said)


def test_a_worker_that_is_asked_to_end_finishes_its_epoch_and_the_trial_goes_on_from_it(
    cluster: FakeCluster, tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    node = cluster.add(cpus=2)
    resources = Resources(1.0, 0.0, 2, machines=cluster.machines)
    try:
        found = search(tmp_path, make_search, resources, trials=3, runner=GetsNotice)
    finally:
        cluster.remove(node)
    assert found.complete == [0, 1, 2]
    assert [epoch for number, epoch, _, _ in found.starts if number == 1][:2] == [0, 6]


def test_a_machine_on_which_no_trial_can_run_costs_the_others_none(
    cluster: FakeCluster, tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    unfit, other = cluster.add(cpus=2), cluster.add(cpus=2)
    (tmp_path / "unfit").write_text(unfit.node_id)
    resources = Resources(1.0, 0.0, 4, machines=cluster.machines)
    try:
        found = search(tmp_path, make_search, resources, trials=12, runner=CannotRunThere)
    finally:
        for node in (unfit, other):
            cluster.remove(node)
    assert found.complete == list(range(12))
    assert any("gets no further trials, since it could not run 3 in a row" in line for line in found.said)
    assert any("1 machine now, before 2" in line for line in found.said)
    there = [number for number, _, node, _ in found.starts if node == unfit.node_id]
    assert 3 <= len(there) < 12  # with those that were on their way there when it was found out


def test_a_machine_whose_gpu_is_dead_costs_the_others_none(
    cluster: FakeCluster, tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    unfit, other = cluster.add(cpus=2), cluster.add(cpus=2)
    (tmp_path / "unfit").write_text(unfit.node_id)
    resources = Resources(1.0, 0.0, 4, machines=cluster.machines)
    try:
        found = search(tmp_path, make_search, resources, trials=12, runner=HasDeadGpuThere)
    finally:
        for node in (unfit, other):
            cluster.remove(node)
    assert found.complete == list(range(12))
    assert any("gets no further trials" in line for line in found.said), found.said


def test_trials_leave_a_machine_that_is_drained_with_what_they_have(
    cluster: FakeCluster, tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    spot, other = cluster.add(cpus=2), cluster.add(cpus=2)
    resources = Resources(1.0, 0.0, 4, machines=cluster.machines)
    try:
        drain = AtEpoch(tmp_path, spot.node_id, 5, lambda: cluster.drain(spot))
        found = search(tmp_path, make_search, resources, trials=5, callback=drain, runner=Longer)
    finally:
        for node in (spot, other):
            cluster.remove(node)
    assert found.complete == list(range(5))
    again = [(epoch, node) for number, epoch, node, _ in found.starts if epoch > 0]
    assert again, (found.starts, found.said)
    assert {node for _, node in again} == {other.node_id}
    assert any("1 machine now" in line for line in found.said)


def test_heads_go_to_the_machine_without_a_gpu_once_their_features_are_stored(
    cluster: FakeCluster, tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    with_gpus, without = cluster.add(cpus=8, gpus=2), cluster.add(cpus=2)
    resources = Resources(1.0, 1.0, 2, machines=cluster.machines, shares_features=True)
    try:
        found = search(tmp_path, make_search, resources, trials=10)
    finally:
        for node in (with_gpus, without):
            cluster.remove(node)
    assert found.complete == list(range(10))
    places = {(node, gpus) for _, _, node, gpus in found.starts}
    assert places == {(with_gpus.node_id, 1.0), (without.node_id, 0.0)}


def test_what_needs_no_net_goes_to_the_machine_without_a_gpu_from_the_first_trial_on(
    cluster: FakeCluster, tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    with_gpus, without = cluster.add(cpus=8, gpus=2), cluster.add(cpus=2)
    fixed = frozenset({CONFIG.model.backbone})
    resources = Resources(1.0, 1.0, 2, machines=cluster.machines, lends_features=True, fixed_backbones=fixed)
    try:
        found = search(tmp_path, make_search, resources, trials=4)
    finally:
        for node in (with_gpus, without):
            cluster.remove(node)
    assert found.complete == list(range(4))
    first = {number: (node, gpus) for number, _, node, gpus in found.starts if number < 2}
    assert set(first.values()) == {(without.node_id, 0.0)}


def test_a_machine_without_a_gpu_takes_the_features_of_its_heads_from_the_one_that_has_them_once(
    cluster: FakeCluster, tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    with_gpus, without = cluster.add(cpus=8, gpus=2), cluster.add(cpus=2)
    resources = Resources(1.0, 1.0, 2, machines=cluster.machines, lends_features=True)
    try:
        found = search(tmp_path, make_search, resources, trials=10, runner=OpensFeatures)
    finally:
        for node in (with_gpus, without):
            cluster.remove(node)
    assert found.complete == list(range(10))
    places = {(node, gpus) for _, _, node, gpus in found.starts}
    assert places == {(with_gpus.node_id, 1.0), (without.node_id, 0.0)}
    lines = [line.split() for line in (tmp_path / "features").read_text().splitlines()]
    uses = [(float(gpus), int(computed), int(fetched)) for gpus, computed, fetched in lines]
    for gpus, place in ((1.0, 1), (0.0, 2)):
        assert sum(use[place] for use in uses if use[0] == gpus) == 2  # both views, once a machine
    assert sum(computed for gpus, computed, _ in uses if gpus == 0.0) == 0
