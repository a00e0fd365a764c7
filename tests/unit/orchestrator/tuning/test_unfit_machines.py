"""Trials that a machine could not run: where they go, and which machines get no further ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from list_study import Clock, ListStudy, spec
from ray.util.placement_group import NODE_ID_LABEL_KEY

from cluster.resources import Machine
from orchestrator.study.trial_spec import TrialFailure
from orchestrator.tuning import ray_followed
from orchestrator.tuning.allocation import ResourceAllocator
from orchestrator.tuning.heartbeat import Ear
from orchestrator.tuning.ray_followed import FollowedWorkers
from orchestrator.tuning.ray_private import KeyValueBoard, selected_machines
from orchestrator.tuning.resource_request import ResourceRequest
from orchestrator.tuning.shared_state import SharedState
from orchestrator.tuning.trial_manager import TrialManager
from orchestrator.tuning.unfit_machines import FULL_SECONDS, UnfitMachines
from orchestrator.tuning.worker_report import WorkerReport
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.validation.epoch_selection import EpochReport

NO_GPU = TrialFailure("environment", "torch sees no GPU")
GIB = 2**30


class Searching:
    """A search on given machines, whose trials fail where they are said to."""

    def __init__(self, state: SharedState, said: list[str]) -> None:
        self.state, self.said = state, said

    def start(self, number: int) -> ResourceRequest:
        """Hand out the next trial, which is this one."""
        spec = self.state.manager.next()
        assert spec is not None
        assert spec.number == number
        return self.state.request(spec)

    def runs(self, number: int, node: str, *, is_end: bool = False) -> None:
        """Let a trial report an epoch from a machine, and its end or not."""
        epochs = (EpochReport(1, 0.5, {}, (), is_last=is_end),)
        self.state.receive(number, {"step": WorkerReport(epochs=epochs, is_end=is_end), "place": node})

    def fails(self, number: int, node: str, failure: TrialFailure = NO_GPU) -> bool:
        """Let a trial fail on a machine; returns whether it is run on another one."""
        self.state.receive(number, {"step": WorkerReport(is_end=True, failure=failure), "place": node})
        return self.state.runs_elsewhere(number, failure)


Search = Callable[..., Searching]


@pytest.fixture
def search(tmp_path: Path, make_search: Callable[..., SearchRecord]) -> Search:
    def make(
        machines: Sequence[Machine], *, cpus: float = 1.0, gpus: float = 0.25, trials: int = 8
    ) -> Searching:
        said = list[str]()
        manager = TrialManager(
            RunFolder(tmp_path),
            make_search(fingerprint="f"),
            ListStudy(*(spec(number) for number in range(trials))),
            (),
            deadline=None,
            clock=Clock(),
            say=said.append,
        )
        allocator = ResourceAllocator(cpus, gpus, machines, folds=3, slots=8, is_measured=gpus > 0)
        faults = UnfitMachines(manager.clock)
        return Searching(SharedState(manager, allocator, {}, {}, faults=faults), said)

    return make


def gpu(name: str) -> Machine:
    return Machine(16, 1, 16 * GIB, name)


def head(name: str) -> Machine:
    return Machine(8, 0, 16 * GIB, name)


def test_a_machine_that_cannot_hold_a_trial_is_no_other_one(search: Search) -> None:
    one = search([gpu("gpu"), head("head")])
    request = one.start(0)
    assert not one.fails(0, "gpu")
    assert one.state.allocator.has_no_machine_for(replace(request, avoids=("gpu",)))
    assert not one.state.allocator.has_no_machine_for(request)


def test_a_machine_with_too_few_cores_is_no_other_one(search: Search) -> None:
    one = search([Machine(8, 0, GIB, "large"), Machine(4, 0, GIB, "small")], cpus=8.0, gpus=0.0)
    one.start(0)
    assert not one.fails(0, "large")


def test_a_trial_that_runs_alone_goes_to_the_largest_machine_that_is_left(search: Search) -> None:
    one = search([Machine(16, 1, GIB, "large"), Machine(8, 1, GIB, "small")], trials=1)
    one.start(0)
    one.state.manager.on_worker_lost(0, "out_of_memory", "killed")
    assert one.start(0).cpus == 16
    assert one.fails(0, "large")
    assert one.state.allocator.alone(avoids=("large",)) == ResourceRequest(8, 1.0, avoids=("large",))


def test_heads_go_where_gpus_are_once_the_machine_without_one_could_not_run_them() -> None:
    allocator = ResourceAllocator(
        1.0,
        0.25,
        [gpu("gpu"), head("one"), head("two")],
        folds=3,
        slots=8,
        is_measured=True,
        shares_features=True,
    )
    config = spec(0).config
    allocator.opened(config)
    assert allocator.request(config).nodes == ("one", "two")
    assert allocator.request(config, avoids=("one",)).nodes == ("two",)
    neither = allocator.request(config, avoids=("one", "two"))
    assert (neither.nodes, neither.gpus) == ((), 0.5)
    assert allocator.able(neither) == ["gpu"]


def test_a_machine_to_avoid_is_named_to_ray_also_among_those_that_may_run_something() -> None:
    request = ResourceRequest(1.0, 0.0, nodes=("a", "b"), avoids=("a",))
    assert selected_machines(request) == {NODE_ID_LABEL_KEY: "in(b)"}


def test_the_only_machine_with_a_gpu_is_kept_though_its_heads_may_go_elsewhere(search: Search) -> None:
    one = search([gpu("gpu"), head("head")])
    one.state.allocator.shares_features = True
    one.state.allocator.opened(spec(0).config)
    for number in range(6):
        one.start(number)
    for number in range(6):
        assert one.fails(number, "gpu")
    assert one.state.faults.unfit == set()


def test_trials_that_a_machine_cannot_run_go_to_another_one(search: Search) -> None:
    one = search([gpu("bad"), gpu("good")])
    for number in range(3):
        assert one.start(number).avoids == ()
    for number in range(3):
        assert one.fails(number, "bad")
    (line,) = one.said
    assert line.startswith("the machine of trial 2 gets no further trials, since it could not run 3 in a row")
    for number in range(4):  # those that failed come first
        request = one.start(number)
        assert request.avoids == ("bad",)
        assert selected_machines(request) == {NODE_ID_LABEL_KEY: "!in(bad)"}
    assert not one.fails(3, "good")  # there is no other


def test_a_trial_is_tried_once_on_each_machine_and_makes_none_of_them_unfit(search: Search) -> None:
    names = ["a", "b", "c", "d"]
    one = search([gpu(name) for name in names], trials=1)
    found = []
    for place, name in enumerate(names):
        assert one.start(0).avoids == tuple(names[:place])
        found.append(one.fails(0, name))
    assert found == [True, True, True, False]
    assert one.state.faults.unfit == set()
    assert one.said == []


def test_a_machine_with_a_dead_gpu_is_given_up_as_any_other(search: Search) -> None:
    one, dead = search([gpu("bad"), gpu("good")]), replace(NO_GPU, ends_worker=True)
    for number in range(3):
        one.start(number)
    for number in range(3):
        assert one.fails(number, "bad", dead)
    assert one.state.faults.unfit == {"bad"}


def test_a_trial_whose_gpu_failed_on_all_machines_may_go_to_any_again(search: Search) -> None:
    one, dead = search([gpu("a"), gpu("b")], trials=1), replace(NO_GPU, ends_worker=True)
    one.start(0)
    assert one.fails(0, "a", dead)
    one.start(0)
    assert not one.fails(0, "b", dead)
    one.state.manager.on_failure(0, dead)
    assert one.start(0).avoids == ()


def test_trials_that_fail_everywhere_take_no_machine_with_them(search: Search) -> None:
    names = ["a", "b", "c"]
    one = search([gpu(name) for name in names])
    for name in names:
        for number in range(3):
            one.start(number)
        for number in range(3):
            went_on = one.fails(number, name)
            if not went_on:
                one.state.manager.on_failure(number, NO_GPU)
            assert went_on is (name != "c")
    assert one.state.faults.unfit == set()
    assert one.said[-1] == (
        "2 machines that got no further trials may run them again: trial 0, which failed there, could not "
        "run on any other machine, either"
    )


def test_a_trial_that_waits_for_another_machine_lets_smaller_ones_start_on_the_one_that_failed_it(
    search: Search,
) -> None:
    one, small = search([gpu("a"), gpu("b")], trials=1), ResourceRequest(1.0, 0.125)
    one.state.waiting[0] = one.start(0)
    assert not one.state.may_start(small)
    assert one.fails(0, "a")
    one.state.waiting[0] = one.start(0)
    assert one.state.may_start(small)


def test_a_machine_that_runs_trials_in_between_is_forgiven(search: Search) -> None:
    one = search([gpu("one"), gpu("other")])
    for number in range(8):
        one.start(number)
    for number in range(4):
        assert one.fails(number, "one")
        one.runs(7, "one")  # which the pruner stops later
    assert one.state.faults.unfit == set()
    full = replace(NO_GPU, is_disk_full=True)
    assert not one.fails(4, "one", full)  # the disk is that of the run folder
    for number in (4, 5, 6):
        assert one.fails(number, "one")
    one.runs(7, "one")
    assert one.state.faults.unfit == {"one"}  # it stays so, whatever still runs there


@pytest.fixture
def dies(monkeypatch: pytest.MonkeyPatch) -> Callable[[Searching, int, str], None]:
    """Lets the worker of a trial die on a machine."""

    def die(one: Searching, number: int, node: str) -> None:
        monkeypatch.setattr(ray_followed, "last_words", lambda trial: "End of file.")
        monkeypatch.setattr(ray_followed, "node_of_worker", lambda actor: node)
        one.state.numbers[f"t{number}"] = number
        board: Any = SimpleNamespace(has_left=lambda number: False)
        followed = FollowedWorkers(one.state, cast("Ear", board), board)
        followed.on_trial_error(1, [], SimpleNamespace(trial_id=f"t{number}", error_file=None))

    return die


def test_a_machine_whose_workers_die_before_they_begin_gets_no_further_trials(
    search: Search, dies: Callable[[Searching, int, str], None]
) -> None:
    one = search([gpu("bad"), gpu("good")], trials=4)
    for number in range(3):
        one.start(number)
    dies(one, 0, "bad")
    assert one.start(0).avoids == ("bad",)
    for number in (1, 2):
        dies(one, number, "bad")
    assert one.state.faults.unfit == {"bad"}
    assert one.said[-1].endswith(
        "could not run 3 in a row: their workers died before they began. Mend it, and start Ray on it anew"
    )


def test_a_trial_that_kills_its_workers_as_they_begin_is_given_up_and_takes_no_machine_with_it(
    search: Search, dies: Callable[[Searching, int, str], None]
) -> None:
    one = search([gpu("a"), gpu("b")], trials=1)
    for node in ("a", "b", "a"):
        one.start(0)
        dies(one, 0, node)
    record = one.state.manager.run.record(0)
    assert record is not None
    assert record.cause == "lost_worker"
    assert one.state.faults.unfit == set()


def test_a_worker_that_dies_at_its_work_is_no_fault_of_its_machine(
    search: Search, dies: Callable[[Searching, int, str], None]
) -> None:
    one = search([gpu("a"), gpu("b")], trials=1)
    one.start(0)
    one.state.receive(0, {"step": WorkerReport()})
    dies(one, 0, "a")
    assert one.start(0).avoids == ()


def test_a_full_disk_of_one_machine_holds_no_other_up(search: Search) -> None:
    one, full = search([gpu("full"), gpu("other")]), replace(NO_GPU, is_machine_full=True)
    for number in range(3):
        one.start(number)
    one.runs(0, "full")
    assert one.fails(0, "full", full)
    assert one.state.faults.unfit == {"full"}
    assert one.fails(1, "full", full)
    (line,) = one.said
    assert line == (
        "the machine of trial 0 gets no trials for 5 min, since a disk of it is full, and the others go on: "
        "torch sees no GPU. Make room there"
    )
    for number in (0, 1, 3):  # nothing waits for room
        assert one.start(number).avoids == ("full",)
    clock = cast("Clock", one.state.manager.clock)
    clock.now += FULL_SECONDS
    assert one.state.faults.unfit == set()
    assert one.start(4).avoids == ()
    assert one.fails(4, "full", full)
    assert len(one.said) == 2


def test_a_trial_that_only_the_full_machine_can_run_waits_for_room(search: Search) -> None:
    one, full = search([gpu("gpu"), head("head")]), replace(NO_GPU, is_machine_full=True)
    one.start(0)
    assert not one.fails(0, "gpu", full)
    one.state.manager.on_failure(0, full)
    assert one.state.faults.unfit == set()
    assert one.said == [
        f"torch sees no GPU; no trial starts until there is room on the disk of {one.state.manager.run.path}"
    ]


def test_a_trial_that_has_ended_is_forgotten_and_counts_where_it_failed(search: Search) -> None:
    one = search([gpu("one"), gpu("other")])
    for number in range(3):
        one.start(number)
    one.fails(0, "one")
    one.start(0)
    one.runs(0, "other", is_end=True)
    assert one.state.faults.avoided_by(0) == set()
    one.fails(1, "one")
    one.fails(2, "one")
    assert one.state.faults.unfit == {"one"}


@pytest.mark.parametrize("waiting", [1, 2])
def test_trials_that_no_machine_can_hold_any_more_are_named_once(
    search: Search, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    one = search([gpu("gpu"), head("head")])
    nodes = [{"Alive": True, "NodeID": "head", "Resources": {"CPU": 8.0, "memory": 16.0 * GIB}}]
    monkeypatch.setattr(ray_followed, "ray", SimpleNamespace(nodes=lambda: nodes))
    monkeypatch.setattr(ray_followed, "nodes_that_leave", frozenset)
    ear: Any = SimpleNamespace()
    followed = FollowedWorkers(one.state, cast("Ear", ear), cast("KeyValueBoard", ear))
    for number in range(waiting):
        one.state.waiting[number] = one.start(number)
    for _ in range(2):
        followed._follow_machines()
    (line,) = one.said
    assert line.startswith("trial 0 waits for" if waiting == 1 else "trials 0, 1 wait for")
    assert "a machine with 1 CPU and 0.5 GPU:" in line


def test_a_trial_that_must_run_alone_and_waits_for_others_than_this_search_is_named_once(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = search([gpu("gpu")], trials=1)
    manager = one.state.manager
    nodes = [{"Alive": True, "NodeID": "gpu", "Resources": {"CPU": 16.0, "GPU": 1.0, "memory": 16.0 * GIB}}]
    monkeypatch.setattr(ray_followed, "ray", SimpleNamespace(nodes=lambda: nodes))
    monkeypatch.setattr(ray_followed, "nodes_that_leave", frozenset)
    ear: Any = SimpleNamespace()
    followed = FollowedWorkers(one.state, cast("Ear", ear), cast("KeyValueBoard", ear))
    one.start(0)
    manager.on_worker_lost(0, "out_of_memory", "no room")
    one.state.waiting[0] = one.start(0)
    followed._follow_machines()
    assert one.said == []  # a worker takes seconds to start
    manager.clock.now = 61.0  # type: ignore[attr-defined]  # the clock of the test
    followed._follow_machines()
    assert one.said == []  # Ray does not answer
    free = {"CPU": 16.0, "GPU": 1.0, "memory": 16.0 * GIB}
    monkeypatch.setattr(ray_followed, "free_resources", lambda but: [free])
    followed._follow_machines()
    assert one.said == []  # a worker that starts slowly
    free["CPU"] = 8.0
    for _ in range(2):
        followed._follow_machines()
    assert one.said == [
        "trial 0, which ran out of memory, waits for a machine with 16 CPUs and 1 GPU to itself, and "
        "something else takes a part of it: it starts once that has ended"
    ]
