import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from cluster.resources import Machine
from orchestrator.tuning import ray_private
from orchestrator.tuning.allocation import ResourceAllocator
from orchestrator.tuning.heartbeat import Ear
from orchestrator.tuning.ray_backend import _as_placement, _Searcher, _TimeIsUp
from orchestrator.tuning.ray_failures import cause_of_loss, dead_worker, last_words, was_taken_away
from orchestrator.tuning.ray_followed import FollowedWorkers
from orchestrator.tuning.ray_private import (
    KeyValueBoard,
    forget_ended,
    survive_out_of_memory,
)
from orchestrator.tuning.ray_worker import result_of
from orchestrator.tuning.remarks import MOST_SAID, WorkerRemarks
from orchestrator.tuning.resource_request import ResourceRequest
from orchestrator.tuning.shared_state import SharedState
from orchestrator.tuning.trial_manager import TrialManager, TrialSpec
from orchestrator.tuning.watchdog import Watchdog
from orchestrator.tuning.worker_report import WorkerReport
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.config.trial_config import decode

CONFIG = decode({"model.backbone": "efficientnet_lite0"})
LARGE = decode({"model.backbone": "vgg16"})


class ListStudy:
    """Hands out what it is given."""

    def __init__(self, *specs: TrialSpec) -> None:
        self.left: Iterator[TrialSpec] = iter(specs)

    def ask(self) -> TrialSpec | None:
        return next(self.left, None)

    def should_prune(self, number: int, epoch: int, value: float, fold_values: Sequence[float] = ()) -> bool:
        return False

    def tell(self, record: Any) -> None:
        """Not of interest."""


@pytest.fixture
def state(tmp_path: Path, make_search: Callable[..., SearchRecord]) -> SharedState:
    specs = (TrialSpec(0, LARGE, {}), TrialSpec(1, CONFIG, {}), TrialSpec(2, CONFIG, {}))
    manager = TrialManager(
        RunFolder(tmp_path), make_search(), ListStudy(*specs), (), deadline=None, clock=lambda: 0.0
    )
    machines = (Machine(16, 1, 2**34),)
    allocator = ResourceAllocator(1.0, 0.25, machines, folds=3, slots=8, is_measured=True)
    allocator.measured(CONFIG, 1, 100)
    return SharedState(manager, allocator, {}, {})


def test_a_small_trial_waits_until_the_larger_one_before_it_has_found_its_room(state: SharedState) -> None:
    searcher = _Searcher(state, Path("run"))
    assert searcher.suggest("a")["request"] == ResourceRequest(1.0, 0.5)
    assert searcher.suggest("b") is None
    state.waiting.clear()
    second = searcher.suggest("c")
    assert (second["number"], second["request"]) == (1, ResourceRequest(1.0, 0.125))
    assert searcher.suggest("d")["number"] == 2
    assert state.numbers == {"a": 0, "c": 1, "d": 2}


def test_tune_is_told_that_the_search_is_over_only_when_no_trial_can_come_back(state: SharedState) -> None:
    searcher = _Searcher(state, Path("run"))
    for name in "abc":
        searcher.suggest(name)
        state.waiting.clear()
    assert searcher.suggest("d") is None
    state.manager.on_worker_lost(0, "out_of_memory", "killed")
    state.manager.on_stop(1, "pruner")
    state.manager.on_stop(2, "pruner")
    again = searcher.suggest("e")
    assert (again["number"], again["request"]) == (0, ResourceRequest(16, 1.0))
    state.manager.on_worker_lost(0, "out_of_memory", "killed")
    assert searcher.suggest("f") == Searcher.FINISHED


def test_a_stopped_search_asks_for_nothing_more(state: SharedState) -> None:
    state.manager.is_stopping = True
    assert _Searcher(state, Path("run")).suggest("a") == Searcher.FINISHED


def test_what_is_not_asked_for_is_not_named_to_ray() -> None:
    assert _as_placement(ResourceRequest(1.0, 0.0)).required_resources == {"CPU": 1.0}
    full = replace(ResourceRequest(1.0, 0.5), memory_bytes=7)
    assert _as_placement(full).required_resources == {"CPU": 1.0, "GPU": 0.5, "memory": 7}


def test_an_out_of_memory_kill_counts_as_the_death_of_a_worker() -> None:
    before = actor_manager.RayActorError, tune_controller.RayActorError
    try:
        assert not isinstance(OutOfMemoryError("killed"), actor_manager.RayActorError)
        survive_out_of_memory()
        for module in (actor_manager, tune_controller):
            assert isinstance(OutOfMemoryError("killed"), module.RayActorError)
            assert isinstance(RayActorError(), module.RayActorError)
    finally:
        actor_manager.RayActorError, tune_controller.RayActorError = before


def test_a_kill_for_want_of_memory_is_told_from_other_deaths() -> None:
    killed = "Task was killed due to the node running low on memory."
    died = (
        "The actor died unexpectedly before finishing this task. Some common causes include: (1) the "
        "process was killed by the OOM killer due to high memory usage, (2) ray stop --force was called"
    )
    assert cause_of_loss(killed) == "out_of_memory"
    assert cause_of_loss(died) == "lost_worker"


def test_no_more_trials_are_handed_out_than_run_at_once(state: SharedState) -> None:
    searcher = _Searcher(state, Path("run"))
    state.allocator.slots = 1
    assert searcher.suggest("a")["number"] == 0
    state.waiting.clear()
    assert searcher.suggest("b") is None
    state.allocator.slots = 2
    assert searcher.suggest("c")["number"] == 1


def test_workers_get_what_is_proposed_before_all_has_been_proposed(state: SharedState) -> None:
    searcher = _Searcher(state, Path("run"))
    state.asking_ends = -1.0  # the time for proposals in this step is over
    assert searcher.suggest("a")["number"] == 0  # yet one is handed out, or the search would stand still
    state.waiting.clear()
    assert searcher.suggest("b") is None


def test_a_head_is_sent_to_machines_without_a_gpu_and_waits_for_no_larger_trial(state: SharedState) -> None:
    searcher, allocator = _Searcher(state, Path("run")), state.allocator
    allocator.shares_features = True
    allocator.follow([Machine(16, 1, 2**34, "gpu"), Machine(1, 0, 2**33, "cpu")])
    allocator.opened(CONFIG)
    assert searcher.suggest("a")["request"].gpus == 0.5
    assert searcher.suggest("b")["request"] == ResourceRequest(1.0, 0.0, nodes=("cpu",))
    assert state.heads == {1}
    assert searcher.suggest("c") is None  # the machine without a GPU is full, and the large trial comes first


def test_machines_are_named_to_ray_where_a_trial_must_run_on_them() -> None:
    placed = _as_placement(ResourceRequest(1.0, 0.0, nodes=("a", "b")))
    group = placed._bound.arguments
    assert group["bundle_label_selector"] == [{"ray.io/node-id": "in(a,b)"}]
    assert placed.required_resources == {"CPU": 1.0}


def test_a_worker_that_was_taken_away_is_told_from_one_that_died() -> None:
    assert was_taken_away("Worker exits with an exit code 1. The process receives a SIGTERM.")
    assert was_taken_away("The actor died because its node has died. Node Id: 7c19")
    assert not was_taken_away("Worker exits unexpectedly by a signal. SIGKILL")


# What Tune writes of a worker that was sent SIGTERM, Ray 2.5x.
LAST_WORDS = """Failure # 1 (occurred at 2026-11-29_12-03-09)
The actor died unexpectedly before finishing this task.
\tclass_name: with_resources.<locals>.ResourceTrainable
\tactor_id: 5b52c94b7333f838046f25f601000000
\tpid: 7908
\tnamespace: 25a0e9af-6fc8-4b9b-9922-fbfa12611cc5
\tip: 127.0.0.1
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR {detail}
"""


@pytest.mark.parametrize(
    ("detail", "is_taken"),
    [
        ("Worker exits with an exit code 1. The process receives a SIGTERM.", True),
        ("Worker unexpectedly exits with a connection error code 2. End of file.", False),
    ],
)
def test_what_ended_a_worker_is_read_behind_the_ids_that_ray_puts_before_it(
    tmp_path: Path, detail: str, is_taken: bool
) -> None:
    path = tmp_path / "error.txt"
    path.write_text(LAST_WORDS.format(detail="an earlier one") + LAST_WORDS.format(detail=detail))
    said = last_words(SimpleNamespace(error_file=str(path)))
    assert detail in said
    assert "earlier" not in said
    assert "actor_id" not in said
    assert was_taken_away(said) is is_taken
    assert dead_worker(SimpleNamespace(error_file=str(path))) == "5b52c94b7333f838046f25f601000000"


def test_a_worker_that_could_not_be_made_is_known_by_the_line_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "error.txt"
    path.write_text(
        "Failure # 1 (occurred at 2026-12-01_17-15-44)\n"
        "The actor died because of an error raised in its creation task, \x1b[36mray::_Trainable.__init__()"
        "\x1b[39m (pid=4598, ip=192.0.2.2, actor_id=27552ad8a544318fea5cc94a01000000, repr=<a>)\n"
        '  File "worker.py", line 8, in __init__\n'
        "ImportError: No module named 'torch'\n"
    )
    trial = SimpleNamespace(error_file=str(path))
    assert dead_worker(trial) == "27552ad8a544318fea5cc94a01000000"
    assert last_words(trial).endswith("ImportError: No module named 'torch'")


def test_without_a_file_of_errors_the_worker_has_died() -> None:
    assert last_words(SimpleNamespace(error_file=None)) == "the worker process died"
    assert dead_worker(SimpleNamespace(error_file=None)) == ""


def controller_with(**trials: str) -> tuple[Any, dict[str, Trial]]:
    """What Tune's controller keeps of trials in some states, by the name of each."""
    made = {name: Trial("none", stub=True, trial_id=name) for name in trials}
    own: Any = SimpleNamespace(
        _trials=[*made.values()],
        _live_trials={made[name] for name, state in trials.items() if state != Trial.TERMINATED},
        _trials_to_cache=set(made.values()),
        _trial_metadata=dict.fromkeys(made, "state"),
        _cached_trial_decisions={},
        _queued_trial_decisions=dict.fromkeys(made, "STOP"),
        _resources_to_pending_trials={"one core": set(made.values())},
        _trial_to_actor={},
        _staged_trials=set(),
        _resetting_trials=set(),
    )
    for kept, state in (("_stopped_trials", Trial.TERMINATED), ("_failed_trials", Trial.ERROR)):
        setattr(own, kept, {made[name] for name in trials if trials[name] == state})
    return own, made


def test_tune_forgets_trials_that_have_ended_wherever_it_keeps_them() -> None:
    own, made = controller_with(first=Trial.TERMINATED, second=Trial.ERROR, third=Trial.RUNNING)
    kept, left = own._trials, made["third"]
    assert sorted(forget_ended(SimpleNamespace(_tune_controller=own))) == ["first", "second"]
    assert own._trials is kept  # Tune hands this very list to callbacks
    assert kept == [left]
    assert own._live_trials == own._trials_to_cache == own._resources_to_pending_trials["one core"] == {left}
    assert own._stopped_trials == own._failed_trials == set()
    assert [*own._trial_metadata] == [*own._queued_trial_decisions] == ["third"]
    assert forget_ended(own) == []


@pytest.mark.parametrize("place", ["_trial_to_actor", "_staged_trials", "_resetting_trials"])
def test_tune_keeps_a_trial_that_has_ended_while_its_worker_is_in_use(place: str) -> None:
    own, made = controller_with(first=Trial.TERMINATED)
    setattr(own, place, {made["first"]: "a worker"})
    assert forget_ended(own) == []
    assert own._trials == [made["first"]]


def test_a_tune_that_keeps_trials_elsewhere_is_left_as_it_is() -> None:
    own, made = controller_with(first=Trial.TERMINATED)
    del own._staged_trials
    assert forget_ended(own) == []
    assert own._trials == [made["first"]]
    assert own._stopped_trials == {made["first"]}


@pytest.mark.parametrize("deadline", [None, 100.0])
def test_the_last_moment_of_a_search_is_counted_on_the_clock_of_its_manager(deadline: float | None) -> None:
    now = [0.0]
    manager: Any = SimpleNamespace(clock=lambda: now[0], deadline=deadline)
    stopper = _TimeIsUp(manager)
    found = []
    for moment in (0.0, 219.0, 220.0, 10_000.0):
        now[0] = moment
        found.append(stopper.stop_all())
    assert found == [False, False, deadline is not None, deadline is not None]
    assert not stopper("a trial", {})


def test_a_remark_of_many_workers_is_said_once_and_not_without_end(state: SharedState) -> None:
    said = list[str]()
    state.manager.remarks = WorkerRemarks(said.append)
    searcher = _Searcher(state, Path("run"))
    searcher.suggest("a")

    def report(*remarks: str) -> None:
        state.receive(0, result_of(WorkerReport(), remarks=remarks))

    for _ in range(3):
        report("the shared store is not there (on two)", "the shared store is not there (on three)")
    assert said == ["the shared store is not there (on two)", "the shared store is not there (on three)"]
    report(*(f"file {number} is damaged" for number in range(2 * MOST_SAID)))
    assert len(said) == MOST_SAID + 1
    assert said[-1].startswith("workers remark more")
    assert said[-2] == f"file {MOST_SAID - 3} is damaged"


def test_a_worker_that_hangs_while_it_is_handed_a_trial_is_ended(
    state: SharedState, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, now = list[object](), 0.0
    monkeypatch.setattr(ray_private.ray, "kill", killed.append)
    state.manager.watchdog = Watchdog(1.0, lambda: now, lambda message: None, stall_minutes=3.0)
    ear = SimpleNamespace(is_deaf=False, heard=lambda: ())
    followed = FollowedWorkers(state, cast("Ear", ear), cast("KeyValueBoard", SimpleNamespace()))
    state.allocator.machines = ()
    searcher = _Searcher(state, Path("run"))
    trials = []
    for name, worker in (("a", "worker"), ("c", None)):
        searcher.suggest(name)
        state.waiting.clear()
        has_ended = functools.partial(bool, False)
        own = SimpleNamespace(ray_actor=worker)
        trials.append(SimpleNamespace(trial_id=name, is_finished=has_ended, temporary_state=own))

    def look(seconds: float) -> None:
        nonlocal now
        now += seconds
        followed._looked_at = -math.inf
        followed.on_step_end(0, trials)

    look(0.0)
    for _ in range(3):
        look(50.0)
    assert killed == []
    look(50.0)
    assert killed == ["worker"]  # the other trial waits for resources, as long as it takes
    followed.on_trial_start(0, trials, trials[0])
    look(0.0)
    assert killed == ["worker"]
