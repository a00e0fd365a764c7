"""Workers that train folds of a trial and fail: the trial, its machine and its device have no part in it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from list_study import Clock, ListStudy
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError

from cluster.resources import Machine
from orchestrator.study.trial_spec import TrialFailure, TrialSpec
from orchestrator.tuning import ray_folds
from orchestrator.tuning.allocation import ResourceAllocator
from orchestrator.tuning.losses import DIED_AGAIN, Losses
from orchestrator.tuning.ray_folds import RayFolds
from orchestrator.tuning.ray_followed import FollowedWorkers
from orchestrator.tuning.shared_state import SharedState
from orchestrator.tuning.trial_manager import TrialManager
from orchestrator.tuning.worker_report import WorkerReport
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.common.errors import WeightsError
from trainables.config.trial_config import decode
from trainables.features.feature_use import FeatureUse
from trainables.training.folds import NanLossError
from trainables.validation.fold_process import LostProcessError

CONFIG = decode({"model.backbone": "scratch4", "training.epochs": 40})


def place_that_raises(error: Exception, monkeypatch: pytest.MonkeyPatch) -> RayFolds:
    def get(reference: str) -> Any:
        raise error

    monkeypatch.setattr(ray_folds, "ray", SimpleNamespace(get=get))
    asked = SimpleNamespace(remote=lambda *rest, **options: "answer")
    return RayFolds(SimpleNamespace(begin=asked, epoch=asked, state=asked, kept_states=asked))


def raised(cause: Exception) -> RayTaskError:
    return RayTaskError("epoch", "Traceback", cause)


@pytest.mark.parametrize(
    "error",
    [
        raised(RuntimeError("CUDA error: an illegal memory access was encountered")),
        raised(OSError("no room on /scratch")),
        raised(WeightsError("the weights were changed")),
        RayActorError("0" * 32, "It died.\n\tpid: 7\nOut of luck."),
    ],
)
def test_a_fault_where_folds_are_trained_is_none_of_the_trials_own(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_that_raises(error, monkeypatch)
    place.begin_epoch(3, active=[True], losses=[0.5])
    for ask in (place.results, place.wait, place.state, lambda: place.kept_states(0)):
        with pytest.raises(LostProcessError, match="a worker that trained folds of the trial") as found:
            ask()
        assert (found.value.is_helpers, found.value.is_taken) == (True, False)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (raised(NanLossError("fold 2")), NanLossError),
        (raised(MemoryError("8 GB")), MemoryError),
        (OutOfMemoryError("the machine is full"), MemoryError),
    ],
)
def test_what_the_configuration_has_done_is_judged_as_on_its_own_machine(
    error: Exception, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(kind):
        place_that_raises(error, monkeypatch).state()


def test_helpers_that_fail_are_no_deaths_of_the_trials_workers() -> None:
    losses = Losses()
    for _ in range(DIED_AGAIN + 3):
        why = losses.reason_to_go_on(0, is_taken=False, is_helpers=True)
        assert why == (
            "a worker that trained folds of it failed",
            "it goes on without such workers, from its last checkpoint",
        )
    assert losses.reason_to_go_on(0, is_taken=False) is not None


@pytest.fixture
def state(tmp_path: Path, make_search: Callable[..., SearchRecord]) -> SharedState:
    study = ListStudy(TrialSpec(0, CONFIG, {}))
    manager = TrialManager(RunFolder(tmp_path), make_search(), study, (), deadline=None, clock=Clock())
    manager.worker_time.begin(4)
    allocator = ResourceAllocator(1.0, 0.0, (Machine(4, 0, 2**34),), folds=4, slots=4, is_measured=False)
    return SharedState(manager, allocator, {"a": 0}, {})


def trained(state: SharedState) -> None:
    while state.manager.next() is not None:
        pass
    state.manager.on_worker_start(0)
    state.manager.on_open(0, FeatureUse("stored views", None, 1, 0, 0), device="cpu")
    state.manager.on_epoch(0, 10, 0.6, {}, (), epoch_seconds=4.0)


@pytest.mark.parametrize(("is_taken", "is_shared"), [(False, False), (True, True)])
def test_a_trial_whose_helper_failed_goes_on_alone(
    is_taken: bool, is_shared: bool, state: SharedState
) -> None:
    trained(state)
    assert state.seconds_left() == {0: 120.0}
    lost = TrialFailure("lost_worker", "a fault of its device", is_taken=is_taken, is_helpers=True)
    step = state.receive(0, {"step": WorkerReport(is_end=True, failure=lost), "place": "here"})
    assert step.failure is not None
    state.manager.on_failure(0, step.failure)
    trained(state)
    assert (state.seconds_left() == {0: 120.0}) is is_shared


def test_a_worker_that_said_it_must_end_has_said_so_once(
    state: SharedState, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, found = {0}, list[bool]()

    def has_left(number: int) -> bool:
        told = number in notes
        notes.discard(number)
        return told

    board: Any = SimpleNamespace(has_left=has_left)
    followed = FollowedWorkers(state, SimpleNamespace(is_deaf=False), board)  # type: ignore[arg-type]  # it is not asked
    manager: Any = state.manager
    manager.on_worker_lost = lambda *rest, is_taken: found.append(is_taken)
    trained(state)
    for words in ("The process receives a SIGTERM.", "Segmentation fault encountered."):
        monkeypatch.setattr("orchestrator.tuning.ray_followed.last_words", lambda trial, said=words: said)
        followed.on_trial_error(1, [], SimpleNamespace(trial_id="a"))
    assert found == [True, False]
