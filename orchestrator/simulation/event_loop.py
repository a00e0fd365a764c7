"""The event loop of a replayed search: what happens when, by a clock that only counts.

Events are that features are there, the epochs at which trials are compared, and the ends of trials. What runs
when a time limit is up is stopped without a value.
"""

import datetime
import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.simulation.replayed import ReplayedSearch, ReplayedTrial
from orchestrator.simulation.set_clock import SetClock
from orchestrator.simulation.table import Trajectory
from orchestrator.study.price import Pass
from orchestrator.study.pruner import is_cheap
from orchestrator.study.study import OptunaStudy
from orchestrator.study.terminator import Terminator
from orchestrator.study.trial_spec import TrialSpec
from results.run.records import Cause, State, Termination, TrialRecord
from trainables.config.trial_config import flatten
from trainables.features.feature_use import FeatureUse

_BEGAN: Final = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_METRIC: Final = "auc"
_OPENED: Final = -1  # in the place of an epoch: the features are there; a trial that fails ends with epoch 0

Nearest = Callable[[Mapping[str, Any]], tuple[int, float]]


@dataclass(slots=True)
class _Running:
    """A trial that runs: from its start it opens features until `opened`, and then its epochs follow."""

    spec: TrialSpec
    index: int
    distance: float
    trajectory: Trajectory | None
    epoch_seconds: Sequence[float]
    started: float
    opening_seconds: float
    opened: float
    comparisons: list[int] = field(default_factory=list)

    def ends_at(self, epochs: int) -> float:
        """Seconds since the start of the search at which so many epochs are trained."""
        return self.opened + math.fsum(self.epoch_seconds[: max(1, epochs)])


class EventLoop:
    """Runs a study on the trajectories of a set.

    Args:
        search: How the search is replayed.
        study: Its study.
        found: Trajectory of each configuration of the table; None for one that failed.
        clock: Clock of the set.
        nearest: Returns from settings the index of the nearest configuration, and its distance.
        terminator: Tells when little is left to gain; None to go on to the last trial.

    Attributes:
        now: Seconds since the start of the search.
        ended: Trials that have ended, in this order.
        terminated: Why no trial starts any more although there are more; None while there is no reason.
    """

    def __init__(
        self,
        search: ReplayedSearch,
        study: OptunaStudy,
        found: Sequence[Trajectory | None],
        clock: SetClock,
        nearest: Nearest,
        terminator: Terminator | None = None,
    ) -> None:
        self._search, self._study, self._found, self._clock = search, study, found, clock
        self._nearest, self._terminator = nearest, terminator
        self.now = 0.0
        self.ended: list[ReplayedTrial] = []
        self.terminated: Termination | None = None
        self._ready: dict[Pass, float] = {}  # when a pass that has been made, or is being made, is there
        self._events: list[tuple[float, int, int]] = []  # time, trial, epoch; of equals the older trial first
        self._running: dict[int, _Running] = {}

    @property
    def seconds_left(self) -> float:
        """Seconds until the search is out of time."""
        deadline = self._search.deadline
        return math.inf if deadline is None else deadline - self.now

    def run(self) -> None:
        """Run until no trial is left, or the time is up."""
        self._fill()
        while self._events:
            at, number, epoch = heapq.heappop(self._events)
            if self._search.deadline is not None and at > self._search.deadline:
                self._stop_all(self._search.deadline)
                return
            self.now = at
            if epoch == _OPENED:
                self._study.note_open(number)
                continue
            self._advance(self._running[number], epoch)
            self._fill()

    def _fill(self) -> None:
        """Hand out trials to all workers that are free."""
        while len(self._running) < self._search.workers and not self._is_over():
            spec = self._study.ask()
            if spec is None:
                return
            running = self._started(spec)
            self._running[spec.number] = running
            heapq.heappush(self._events, (self.now + running.opening_seconds, spec.number, _OPENED))
            self._next(running)

    def _is_over(self) -> bool:
        if self.terminated is not None or self.seconds_left <= 0:
            return True
        return self._search.ends is not None and self._search.ends(self.ended)

    def _started(self, spec: TrialSpec) -> _Running:
        settings = flatten(spec.config.model_dump(mode="json", exclude_defaults=True))
        index, far = self._nearest(settings)
        trajectory = self._found[index]
        length = len(trajectory.folds) if trajectory else 0
        stops = [epoch for epoch in spec.compared_at if epoch < length]
        passed = self._open(spec)
        return _Running(
            spec,
            index,
            far,
            trajectory,
            self._clock.epochs[index],
            started=self.now,
            opening_seconds=passed - self.now,
            opened=passed + self._search.trial_seconds,
            comparisons=[*stops, length],
        )

    def _open(self, spec: TrialSpec) -> float:
        """Make the passes that nobody has made, wait for the others; returns when all are there."""
        there = self.now
        for own, seconds in self._clock.price(spec.config).passes.items():
            there = max(there, self._ready[own]) if own in self._ready else there + seconds
            self._ready.setdefault(own, there)
        return there

    def _next(self, running: _Running) -> None:
        epoch = running.comparisons.pop(0)
        heapq.heappush(self._events, (running.ends_at(epoch), running.spec.number, epoch))

    def _advance(self, running: _Running, epoch: int) -> None:
        own = running.trajectory
        if own is None:
            self._end(running, "failed", "exception", 0)
        elif not running.comparisons:
            self._end(running, "complete", None, epoch)
        elif self._is_pruned(running, own, epoch):
            self._end(running, "pruned", "pruner", epoch)
        else:
            self._next(running)

    def _is_pruned(self, running: _Running, own: Trajectory, epoch: int) -> bool:
        mean_seconds = math.fsum(running.epoch_seconds[:epoch]) / epoch
        if is_cheap(mean_seconds, running.spec.config.training.epochs):
            return False
        return self._study.should_prune(running.spec.number, epoch, own.value_at(epoch), own.folds[epoch - 1])

    def _stop_all(self, deadline: float) -> None:
        self.now = deadline
        for running in list(self._running.values()):
            epochs = sum(
                running.ends_at(epoch + 1) <= deadline for epoch in range(len(running.epoch_seconds))
            )
            self._end(running, "pruned", "time_budget", epochs)

    def _end(self, running: _Running, state: State, cause: Cause | None, epochs: int) -> None:
        spec = running.spec
        del self._running[spec.number]
        record = self._record(running, state, cause, epochs)
        self._study.tell(record)
        self.ended.append(
            ReplayedTrial(
                spec.number,
                running.index,
                running.distance,
                running.started,
                self.now,
                min(running.opening_seconds, self.now - running.started),
                epochs,
                record.value if state == "complete" else None,
            )
        )
        if self._terminator is not None and self.terminated is None:
            self._terminator.add(record)
            if not self._study.has_points():
                recipes = [spec.recipe, *(own.spec.recipe for own in self._running.values())]
                self.terminated = self._terminator.verdict(recipes)

    def _record(self, running: _Running, state: State, cause: Cause | None, epochs: int) -> TrialRecord:
        """The record that study and terminator are told of."""
        spec, own = running.spec, running.trajectory
        reached = own.value_at(epochs) if own and epochs else None
        folds = own.folds[epochs - 1] if own and epochs else ()
        opening = FeatureUse(
            "stored views", None, views=1, computed=0, read=0, opening_seconds=running.opening_seconds
        )
        return TrialRecord(
            number=spec.number,
            config=flatten(spec.config.model_dump(mode="json")),
            params=spec.params,
            state=state,
            cause=cause,
            value=own.value if own and state == "complete" else reached,
            fold_metrics=tuple({_METRIC: value} for value in folds),
            prefix=opening,
            wall_seconds=self.now - running.started,
            epoch_seconds=math.fsum(running.epoch_seconds[:epochs]) / epochs if epochs else None,
            epochs=epochs,
            fingerprint="replayed",
            seed=self._search.seed,
            finished_at=_BEGAN + datetime.timedelta(seconds=self.now),
        )
