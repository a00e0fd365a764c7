"""What Tune says of the workers: when they start, die or hang, and which machines have joined or left."""

import time
from typing import Any, Final

import ray
from ray import tune

from cluster.resources import machines_of
from orchestrator.callbacks import StopSearch
from orchestrator.tuning.heartbeat import Ear
from orchestrator.tuning.ray_failures import cause_of_loss, last_words, was_taken_away
from orchestrator.tuning.ray_private import end_worker, nodes_that_leave
from orchestrator.tuning.shared_state import SharedState

_LOOK_SECONDS: Final = 1.0  # between two looks for workers that hang
_CLUSTER_SECONDS: Final = 5.0  # between two looks at the machines of the cluster, and of a worker at its own
_ASKING_SECONDS: Final = 0.25  # for proposals in a row, before workers get what has been proposed


class NotPickled:
    """A base class of objects that Tune pickles as empty and does not copy.

    Tune pickles searcher and scheduler for its own experiment state, which we do not use, and copies its
    settings. Ours hold the study and the live view: pickling them would fail, and a copy would work on a
    state of its own.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "NotPickled":
        return self


class FollowedWorkers(NotPickled, tune.Callback):
    """Notes the start of workers, reports dead ones to the trial manager, and ends those that hang."""

    def __init__(self, state: SharedState, ear: Ear) -> None:
        self._state, self._ear, self._looked_at = state, ear, time.monotonic()
        self._followed_at = self._looked_at

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._state.asking_ends = time.monotonic() + _ASKING_SECONDS

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = self._state.numbers[trial.trial_id]
        self._state.waiting.pop(number, None)
        self._state.manager.on_worker_start(number)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        state, number = self._state, self._state.numbers[trial.trial_id]
        state.waiting.pop(number, None)
        config = state.config_of(number)
        if config is not None:
            message = last_words(trial)
            with state.noting_errors():
                cause, is_taken = cause_of_loss(message), was_taken_away(message)
                state.manager.on_worker_lost(number, cause, message, is_taken=is_taken)
            if state.manager.is_postponed(number):
                state.allocator.ran_out(config)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Stop the search if something is wrong with it; end workers that hang."""
        state = self._state
        if state.error is not None:
            raise state.error
        if state.manager.fault is not None:
            raise state.manager.fault
        if state.manager.is_stop_asked:
            raise StopSearch
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            hung = [] if self._ear.is_deaf else state.manager.hung(self._ear.heard())
            for trial in trials if hung else ():
                if not trial.is_finished() and state.numbers.get(trial.trial_id) in hung:
                    end_worker(trial)
        if now - self._followed_at >= _CLUSTER_SECONDS and state.allocator.machines:
            self._followed_at = now
            self._follow_machines()

    def _follow_machines(self) -> None:
        """Let the number of trials at once follow the machines that have joined or left."""
        manager, allocator = self._state.manager, self._state.allocator
        said = allocator.follow(machines_of(ray.nodes(), leaving=nodes_that_leave()))
        if said:
            manager.say(said)
            manager.worker_time.resize(allocator.workers_expected)
