"""Who gets the workers that are idle at the end of a search, and how a trial takes and gives them back."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from list_study import Clock, ListStudy
from ray.exceptions import NodeDiedError, RayActorError, RayError, WorkerCrashedError

from cluster.resources import Machine
from orchestrator.tuning import ray_folds, ray_worker
from orchestrator.tuning.allocation import ResourceAllocator
from orchestrator.tuning.idle_workers import offers
from orchestrator.tuning.ray_folds import FoldWorkers, RayFolds
from orchestrator.tuning.ray_worker import Worker
from orchestrator.tuning.resource_request import ResourceRequest
from orchestrator.tuning.shared_state import SharedState
from orchestrator.tuning.trial_manager import TrialManager, TrialSpec
from orchestrator.tuning.worker_report import WorkerReport
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.config.trial_config import decode
from trainables.features.feature_use import FeatureUse
from trainables.validation.fold_process import LostProcessError

CONFIG = decode({"model.backbone": "scratch4", "training.epochs": 40})


@pytest.mark.parametrize(
    ("left", "before", "idle", "expected"),
    [
        ({1: 300.0}, {}, 0, {}),
        ({1: 300.0}, {}, 1, {1: 1}),
        ({1: 300.0}, {}, 2, {1: 1}),  # of four folds a third place would not make it faster
        ({1: 300.0}, {}, 9, {1: 3}),
        ({1: 59.0}, {}, 9, {}),
        ({1: 300.0, 2: 290.0}, {}, 2, {1: 1, 2: 1}),
        ({1: 900.0, 2: 100.0}, {}, 3, {1: 3}),
        ({1: 300.0, 2: 100.0}, {1: 3}, 1, {1: 3, 2: 1}),
        ({2: 100.0}, {1: 3}, 0, {}),
        ({1: 80.0}, {}, 9, {1: 1}),  # then forty seconds are left of it
    ],
)
def test_idle_workers_go_to_the_trial_that_would_be_the_last_to_end(
    left: dict[int, float], before: dict[int, int], idle: int, expected: dict[int, int]
) -> None:
    assert offers(left, before, idle=idle, folds=4) == expected


class Actors:
    """Stands for Ray: actors that are open when a test says so, and what was done with them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[str] = []
        self.open: dict[str, Exception | None] = {}
        self.killed: list[str] = []
        stand_in = SimpleNamespace(wait=self.wait, get=self.get, kill=self.killed.append)
        monkeypatch.setattr(ray_folds, "ray", stand_in)

    def start(self, config: dict[str, Any], trial: dict[str, Any]) -> tuple[str, str]:
        name = "abcdef"[len(self.started)]
        self.started.append(name)
        return name, name

    def wait(self, references: Sequence[str], **options: Any) -> tuple[list[str], list[str]]:
        return [own for own in references if own in self.open], []

    def get(self, reference: str) -> str:
        if (error := self.open[reference]) is not None:
            raise error
        return f"machine of {reference}"


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> Actors:
    return Actors(monkeypatch)


class Trial:
    """A trial with four folds, and where they train."""

    def __init__(self, actors: Actors) -> None:
        self.helpers = FoldWorkers({"number": 5, "request": ResourceRequest(1.0, 0.0)}, actors.start)
        self.spread: list[list[str]] = []

    def follow(self, offered: int) -> None:
        self.helpers.offered = offered
        self.helpers.follow(CONFIG, 4, lambda places: self.spread.append([place.actor for place in places]))


def test_folds_go_to_idle_workers_once_those_have_opened_the_trial(actors: Actors) -> None:
    trial = Trial(actors)
    trial.follow(0)
    assert (actors.started, trial.spread) == ([], [])
    trial.follow(2)  # of which the second would not make it faster
    trial.follow(2)
    assert (actors.started, trial.spread, trial.helpers.count) == (["a"], [], 0)
    actors.open["a"] = None
    trial.follow(2)
    trial.follow(2)
    assert (trial.spread, trial.helpers.count) == ([["a"]], 1)


def test_those_that_are_late_join_when_they_are_ready(
    actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_folds, "_LATE_SECONDS", 0.0)
    trial = Trial(actors)
    actors.open["a"] = None
    trial.follow(3)
    assert (actors.started, trial.spread) == (["a", "b", "c"], [["a"]])
    actors.open |= {"b": None, "c": None}
    trial.follow(3)
    assert trial.spread == [["a"], ["a", "b", "c"]]


def test_workers_that_are_wanted_back_are_given_back_after_their_folds(actors: Actors) -> None:
    trial = Trial(actors)
    actors.open |= {"a": None, "b": None, "c": None}
    trial.follow(3)
    trial.follow(1)
    assert (trial.spread[-1], actors.killed, trial.helpers.count) == (["a"], ["c", "b"], 1)
    trial.follow(0)
    assert (trial.spread[-1], actors.killed, trial.helpers.count) == ([], ["c", "b", "a"], 0)


def test_folds_are_taken_back_from_a_machine_that_is_about_to_be_taken_away(actors: Actors) -> None:
    trial = Trial(actors)
    actors.open |= {"a": None, "b": None, "c": None}
    trial.follow(3)
    trial.helpers.leaving = {"machine of a"}
    trial.follow(3)
    trial.follow(3)
    assert (trial.spread, actors.killed) == (
        [["a", "b", "c"], ["b"]],
        ["c", "a"],
    )  # two places: two folds each
    assert (actors.started, trial.helpers.count) == (["a", "b", "c"], 1)


def test_workers_that_have_not_opened_the_trial_are_ended_when_they_are_wanted_back(actors: Actors) -> None:
    trial = Trial(actors)
    trial.follow(1)
    trial.follow(0)
    assert (actors.killed, trial.spread) == (["a"], [])


def test_a_worker_that_cannot_open_the_trial_is_named_and_not_started_again(actors: Actors) -> None:
    trial = Trial(actors)
    actors.open["a"] = OSError("no room on /scratch")
    with pytest.warns(UserWarning, match="an idle worker cannot help trial 5: no room on /scratch"):
        trial.follow(1)
    trial.follow(1)
    assert (actors.started, actors.killed, trial.spread) == (["a"], ["a"], [])


def test_the_end_of_a_trial_ends_its_helpers(actors: Actors) -> None:
    trial = Trial(actors)
    actors.open |= {"a": None, "b": None}
    trial.follow(3)
    trial.helpers.close()
    assert sorted(actors.killed) == ["a", "b", "c"]
    assert trial.helpers.count == 0


@pytest.mark.parametrize(
    ("error", "reason", "is_taken"),
    [
        (NodeDiedError("The actor died.\n\tactor_id: 1\nits node has died"), "its node has died", True),
        (RayActorError("0" * 32, "It died.\n\tpid: 7\nOut of luck."), "Out of luck.", False),
        (WorkerCrashedError(), "The worker died unexpectedly", False),
    ],
)
def test_whatever_takes_a_helper_away_is_a_lost_worker(
    error: RayError, reason: str, is_taken: bool, actors: Actors
) -> None:
    actors.open["answer"] = error
    place = RayFolds(SimpleNamespace(state=SimpleNamespace(remote=lambda: "answer")))
    with pytest.raises(LostProcessError, match=reason) as found:
        place.state()
    assert found.value.is_taken is is_taken


class Board:
    """A board on which a trial is offered two workers."""

    def put(self, number: int, count: int) -> None: ...

    def offered(self, number: int) -> int:
        return 2


class Helpers:
    def __init__(self, config: dict[str, Any]) -> None:
        self.offered, self.is_closed = 0, False
        self.leaving: Collection[str] = ()

    def close(self) -> None:
        self.is_closed = True


class Runner:
    """Ends its trial with the second step."""

    def __init__(self, *rest: Any, **options: Any) -> None:
        self.helpers, self.steps = options["helpers"], 0

    def step(self) -> WorkerReport:
        self.steps += 1
        return WorkerReport(is_end=self.steps == 2, helpers=self.helpers.offered)


def test_a_worker_takes_what_its_trial_is_offered_and_ends_it_with_the_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_worker, "KeyValueBoard", Board)
    monkeypatch.setattr(ray_worker, "nodes_that_leave", lambda: frozenset({"other"}))
    monkeypatch.setattr(ray_worker, "this_node", lambda: "own")
    monkeypatch.setattr(ray_worker, "CLUSTER_SECONDS", 0.0)
    monkeypatch.setattr(ray_worker, "_SHORT_SECONDS", 0.0)
    kind = type("Own", (Worker,), {"make_runner": staticmethod(Runner), "make_helpers": Helpers})
    own = object.__new__(kind)
    given = {"run": str(tmp_path), "number": 3, "config": CONFIG.model_dump(), "params": {}, "lends": False}
    also = {"recipe": "", "compared_at": (), "request": ResourceRequest(1.0, 0.0), "time_left": None}
    own.setup({**given, **also, "report_seconds": 0.0, "lenders": ()})
    assert own.step()["step"].helpers == 2
    assert own._helpers.leaving == {"other"}
    assert not own._helpers.is_closed
    own.step()
    assert own._helpers.is_closed


@pytest.fixture
def state(tmp_path: Path, make_search: Callable[..., SearchRecord]) -> SharedState:
    said: list[str] = []
    run = RunFolder(tmp_path)
    study = ListStudy(TrialSpec(0, CONFIG, {}), TrialSpec(1, CONFIG, {}))
    manager = TrialManager(run, make_search(), study, (), deadline=None, clock=Clock(), say=said.append)
    manager.worker_time.begin(4)
    allocator = ResourceAllocator(1.0, 0.0, (Machine(4, 0, 2**34),), folds=4, slots=4, is_measured=False)
    return SharedState(manager, allocator, {}, {})


def trained(manager: TrialManager, number: int, epoch_seconds: float) -> None:
    manager.on_worker_start(number)
    manager.on_open(number, FeatureUse("stored views", None, 1, 0, 0), device="cpu")
    manager.on_epoch(number, 10, 0.6, {}, (), epoch_seconds=epoch_seconds)


def test_folds_are_shared_once_nothing_is_left_to_hand_out(state: SharedState) -> None:
    manager = state.manager
    for number in (0, 1):
        manager.next()
        trained(manager, number, 4.0)
    assert state.seconds_left() == {}  # nobody knows yet whether another trial follows
    assert manager.next() is None
    assert state.seconds_left() == {0: 120.0, 1: 120.0}
    manager.on_worker_lost(1, "lost_worker", "killed")
    assert state.seconds_left() == {}  # an idle worker is needed for it
    again = manager.next()
    assert again is not None
    state.waiting[again.number] = ResourceRequest(1.0, 0.0)
    assert state.seconds_left() == {}  # nor while it waits for room
    state.waiting.clear()
    assert state.seconds_left() == {0: 120.0}


def test_what_a_trial_was_given_is_what_its_helpers_ask_for(state: SharedState) -> None:
    spec = state.manager.next()
    assert spec is not None
    state.allocator.gpus = 0.5
    state.request(spec)
    state.allocator.gpus = 0.0  # as for a head whose features have been stored meanwhile
    assert state.request_for_folds(spec.number) == ResourceRequest(1.0, 1.0)


def test_helpers_end_with_the_worker_of_their_trial(state: SharedState) -> None:
    manager, busy = state.manager, list[tuple[int, int]]()
    manager.say = lambda text: None
    manager.worker_time.helped = lambda number, count: busy.append((number, count))
    manager.next()
    trained(manager, 0, 4.0)
    state.receive(0, {"step": WorkerReport(helpers=2)})
    state.note_helpers(0, 0)
    assert (busy, state.unoffered(3)) == ([(0, 2), (0, 0)], 3)


def test_short_epochs_are_not_shared_unless_sharing_made_them_short(state: SharedState) -> None:
    manager = state.manager
    for number in (0, 1):
        manager.next()
        trained(manager, number, 0.9)
    manager.next()
    state.offers = {1: 1}
    assert state.seconds_left() == {1: pytest.approx(27.0)}


def test_workers_that_train_folds_are_busy_and_are_said_once(state: SharedState) -> None:
    manager, said = state.manager, list[str]()
    manager.say = said.append
    manager.next()
    trained(manager, 0, 4.0)
    report = WorkerReport(helpers=2)
    for step in (report, report, replace(report, helpers=0), replace(report, is_end=True)):
        state.receive(0, {"step": step})
    assert said == ["trial 0 trains its folds on 2 idle workers, too"]
    assert state.helpers == {0: 0}


@pytest.mark.parametrize(
    ("workers", "room", "offered", "helping", "expected"),
    [
        (None, 2, 0, 0, 2),
        (None, 2, 2, 0, 0),  # they are on their way
        (None, 0, 2, 2, 0),  # they have their room
        (None, 1, 2, 2, 1),
        (2, 7, 0, 0, 1),  # the user wants two at once, and the trial is one
        (1, 7, 0, 0, 0),
        (4, 7, 2, 2, 1),
    ],
)
def test_what_is_offered_keeps_to_the_room_and_to_the_number_of_workers(
    state: SharedState, workers: int | None, room: int, offered: int, helping: int, expected: int
) -> None:
    state.manager.next()
    state.allocator.workers = workers
    state.offers, state.helpers = {0: offered, 9: 3}, {0: helping, 9: 3}  # the latter has ended
    assert state.unoffered(room) == expected
