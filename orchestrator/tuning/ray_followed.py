"""What Tune says of the workers: when they start, die or hang, and which machines have joined or left."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final

import ray
from ray import tune

from cluster.resources import Machine, machines_of
from orchestrator.callbacks import StopSearch
from orchestrator.tuning.heartbeat import Ear
from orchestrator.tuning.idle_workers import LONG_SECONDS, offers
from orchestrator.tuning.ray_failures import cause_of_loss, dead_worker, last_words, was_taken_away
from orchestrator.tuning.ray_private import (
    CLUSTER_SECONDS,
    KeyValueBoard,
    end_worker,
    free_resources,
    has_worker,
    node_of_worker,
    nodes_that_leave,
)
from orchestrator.tuning.resource_request import ResourceRequest
from orchestrator.tuning.shared_state import SharedState
from trainables.common.text import count_text

_LOOK_SECONDS: Final = 1.0  # between two looks for workers that hang
_ALONE_SECONDS: Final = 60.0  # that a trial which must run alone waits without a word; workers start in less
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

    def __init__(self, state: SharedState, ear: Ear, board: KeyValueBoard) -> None:
        self._state, self._ear, self._board = state, ear, board
        self._looked_at = self._followed_at = time.monotonic()
        self._named = set[int]()  # trials that wait for a machine that is not there

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._state.asking_ends = time.monotonic() + _ASKING_SECONDS

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = self._state.numbers[trial.trial_id]
        self._state.waiting.pop(number, None)
        self._state.begun.discard(number)
        self._state.manager.on_worker_start(number)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        state, number = self._state, self._state.numbers[trial.trial_id]
        state.waiting.pop(number, None)
        state.note_helpers(number, 0)
        config = state.config_of(number)
        if config is not None:
            message, has_left = last_words(trial), self._has_left(number)  # which is told once
            with state.noting_errors():
                cause, is_taken = cause_of_loss(message), has_left or was_taken_away(message)
                if cause == "lost_worker" and not is_taken and number not in state.begun:
                    self._note_death_at_start(number, trial)
                state.manager.on_worker_lost(number, cause, message, is_taken=is_taken)
            if state.manager.is_postponed(number):
                state.allocator.ran_out(config)

    def _note_death_at_start(self, number: int, trial: Any) -> None:
        place = None
        with contextlib.suppress(Exception):  # Ray's control process is away
            place = node_of_worker(dead_worker(trial))
        if place:
            self._state.died_at_start(number, place)

    def _has_left(self, number: int) -> bool:
        with contextlib.suppress(Exception):  # Ray's control process is away
            return self._board.has_left(number)
        return False

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
            self._watch_handed_over(trials)
            hung = [] if self._ear.is_deaf else state.manager.hung(self._ear.heard())
            for trial in trials if hung else ():
                if not trial.is_finished() and state.numbers.get(trial.trial_id) in hung:
                    end_worker(trial)
        if now - self._followed_at >= CLUSTER_SECONDS:
            self._followed_at = now
            if state.allocator.machines:
                self._follow_machines()
            self._share_idle_workers()

    def _watch_handed_over(self, trials: list[Any]) -> None:
        """Watch workers that are being handed a trial: one that hangs just then would never start it."""
        state = self._state
        for trial in trials:
            number = state.numbers.get(trial.trial_id)
            if number in state.manager.running and not trial.is_finished() and has_worker(trial):
                state.manager.watchdog.handed_over(number)

    def _follow_machines(self) -> None:
        """Let the number of trials at once follow the machines that have joined or left."""
        manager, allocator = self._state.manager, self._state.allocator
        machines = machines_of(ray.nodes(), leaving=nodes_that_leave() | self._state.faults.unfit)
        if (newcomers := self._state.newcomers) is not None:
            machines = newcomers.known_of(machines)
            allocator.apart = newcomers.apart
            for text in newcomers.take_remarks():
                manager.say(text)
        said = allocator.follow(machines)
        if said:
            manager.say(said)
            manager.worker_time.resize(allocator.workers_expected)
        self._name_stranded(machines)

    def _name_stranded(self, machines: Sequence[Machine]) -> None:
        """Say which trials wait for a machine that the cluster does not have now."""
        state, found = self._state, dict[tuple[float, float], list[str]]()
        for number, request in state.waiting.items():
            if number not in self._named and state.allocator.has_no_machine_for(request, machines):
                self._named.add(number)
                found.setdefault((request.cpus, request.gpus), []).append(str(number))
        for (cpus, gpus), numbers in found.items():
            who = f"trial {numbers[0]} waits" if len(numbers) == 1 else f"trials {', '.join(numbers)} wait"
            size = f"{count_text(cpus, 'CPU')} and {count_text(gpus, 'GPU')}"
            state.manager.say(
                f"{who} for a machine with {size}: those of the cluster are smaller, or could not run it. "
                "Let one join, or stop the search and resume it later"
            )
        self._name_those_held_up()

    def _name_those_held_up(self) -> None:
        """Say which trials must run alone on a machine, of all of which something else takes a part now."""
        manager = self._state.manager
        for number, request in self._state.waiting.items():
            trial = manager.running.get(number)
            if number in self._named or trial is None or not trial.spec.is_alone:
                continue
            if manager.clock() - trial.started_at < _ALONE_SECONDS or self._may_have_room(request):
                continue
            self._named.add(number)
            manager.say(
                f"trial {number}, which ran out of memory, waits for a machine with "
                f"{count_text(request.cpus, 'CPU')} and {count_text(request.gpus, 'GPU')} to itself, and "
                "something else takes a part of it: it starts once that has ended"
            )

    def _may_have_room(self, request: ResourceRequest) -> bool:
        with contextlib.suppress(Exception):  # Ray's control process is away; the next look tries again
            return self._room_for(request) > 0
        return True

    def _room_for(self, request: ResourceRequest) -> int:
        """Number of such trials that the machines have room for right now."""
        without = {*self._state.faults.unfit, *request.avoids}
        return sum(request.fits_in(free) for free in free_resources(without))

    def _share_idle_workers(self) -> None:
        """Offer idle workers to trials that run on for long once nothing else is left; or want them back."""
        state = self._state
        left = state.seconds_left()
        state.shares_idle = max(left.values(), default=0.0) >= LONG_SECONDS
        found = {number: count for number, count in state.offers.items() if number in left}
        with contextlib.suppress(Exception):  # Ray's control process is away; the next look tries again
            if state.shares_idle:
                last = max(left, key=left.__getitem__)
                room = self._room_for(state.request_for_folds(last))
                found = offers(left, found, idle=state.unoffered(room), folds=state.manager.search.folds)
            for number in state.offers.keys() | found.keys():
                if state.offers.get(number, 0) != found.get(number, 0):
                    self._board.offer(number, found.get(number, 0))
            if found and len(state.allocator.machines) > 1 and state.depot is not None:
                state.depot.open()  # for a machine that has had no trial yet
            state.offers = found
