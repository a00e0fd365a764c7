"""The trials that a proposal is drawn from: the best and the newest, so that its cost does not grow."""

import heapq
import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from orchestrator.study.optuna_private import StudyView, as_read
from results.scores.ranking import Direction, front_of

BEST: Final = 25  # TPE counts at most this many trials as good
RECENT: Final = 75
RUNNING: Final = 64  # TPE reads each once for each group of settings: 512 would be most of its time
_OPEN: Final = (TrialState.RUNNING, TrialState.WAITING)


def window(
    trials: Sequence[FrozenTrial],
    *,
    best: int = BEST,
    recent: int = RECENT,
    directions: Sequence[Direction] = ("maximize",),
) -> list[FrozenTrial]:
    """Return the trials that a proposal is drawn from, in order of their numbers.

    Args:
        trials: All trials of a study, in order of their numbers.
        best: Number of best complete trials to keep, whatever their age: those that keep the requirements
            first, and with several metrics those nearest to the front.
        recent: Number of other finished trials to keep, the newest first. Of those that run, the newest
            `RUNNING` are kept.
        directions: Direction of each metric.
    """
    open_ones = [trial.number for trial in trials if trial.state in _OPEN]
    if len(trials) <= best + recent:
        return list(trials)
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    kept = {trial.number for trial in _best(complete, best, directions)}
    newest = (trial for trial in reversed(trials) if trial.state not in _OPEN and trial.number not in kept)
    kept.update([trial.number for trial in itertools.islice(newest, recent)])
    kept.update(open_ones[-RUNNING:])
    return [trial for trial in trials if trial.number in kept]


def violation(trial: FrozenTrial) -> float:
    """Return the sum of what a trial misses of its requirements; 0 if it keeps them all."""
    return sum(own for own in trial.constraints.values() if own > 0)


def merits(trial: FrozenTrial, directions: Sequence[Direction]) -> tuple[float, ...]:
    """Return a number for each metric of a complete trial that is larger for better values."""
    return tuple(
        own if direction == "maximize" else -own
        for own, direction in zip(trial.values, directions, strict=True)
    )


def _best(
    trials: Sequence[FrozenTrial], count: int, directions: Sequence[Direction]
) -> Iterable[FrozenTrial]:
    if len(directions) == 1:
        return heapq.nlargest(count, trials, key=lambda trial: (-violation(trial), merits(trial, directions)))
    able = [trial for trial in trials if violation(trial) == 0]
    found = list(itertools.islice(_by_layers(able, directions), count))
    unable = (trial for trial in trials if violation(trial) > 0)
    return [*found, *heapq.nsmallest(count - len(found), unable, key=violation)]


def _by_layers(trials: Sequence[FrozenTrial], directions: Sequence[Direction]) -> Iterable[FrozenTrial]:
    """Trials in order of the number of fronts before theirs, within a front in order of their numbers."""
    left = np.array([merits(trial, directions) for trial in trials]).reshape(len(trials), len(directions))
    places = np.arange(len(trials))
    while len(places):
        inside = np.array(front_of(left[places]))
        yield from (trials[place] for place in places[inside])
        places = places[~inside]


class GrowingWindow:
    """The window of a study that grows, for one metric: a trial that has ended is ranked once.

    Ranking all trials at each proposal would make the 10,000th one cost three times as much as the first.

    Args:
        direction: Direction of the metric.
    """

    def __init__(self, direction: Direction) -> None:
        self._directions = (direction,)
        self._best: list[tuple[tuple[float, float], int, FrozenTrial]] = []  # a heap, the worst of them first
        self._ended = 0  # all trials before this number have ended and are ranked
        self._ranked = set[int]()  # later ones that are ranked, too

    def of(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return what `window` returns.

        Args:
            trials: All trials of the study, in order of their numbers, which are their places.
        """
        for trial in trials[self._ended :]:
            if trial.state not in _OPEN and trial.number not in self._ranked:
                self._rank(trial)
        while self._ended in self._ranked:
            self._ranked.remove(self._ended)
            self._ended += 1
        if len(trials) <= BEST + RECENT:
            return list(trials)
        kept = {trial.number: trial for _, _, trial in self._best}
        newest = (own for own in reversed(trials) if own.state not in _OPEN and own.number not in kept)
        kept |= {trial.number: trial for trial in itertools.islice(newest, RECENT)}
        running = [trial for trial in trials[self._ended :] if trial.state in _OPEN]
        kept |= {trial.number: trial for trial in running[-RUNNING:]}
        return [kept[number] for number in sorted(kept)]

    def _rank(self, trial: FrozenTrial) -> None:
        self._ranked.add(trial.number)
        if trial.state is TrialState.COMPLETE:
            key = (-violation(trial), merits(trial, self._directions)[0])
            heapq.heappush(self._best, (key, -trial.number, trial))  # of equals the older one stays
            if len(self._best) > BEST:
                heapq.heappop(self._best)


class BoundedSampler(BaseSampler):
    """A sampler over a window of the study.

    Args:
        sampler: Sampler that is shown the window.
        directions: Direction of each metric.
    """

    def __init__(self, sampler: BaseSampler, directions: Sequence[Direction]) -> None:
        self._sampler, self._directions = sampler, directions
        self._view: tuple[int, StudyView] | None = None
        self._window = GrowingWindow(directions[0]) if len(directions) == 1 else None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the settings that are drawn together; Optuna calls this first for each trial."""
        return self._sampler.infer_relative_search_space(self._windowed(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw the settings that are drawn together."""
        return self._sampler.sample_relative(self._windowed(study, trial), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one setting by itself."""
        return self._sampler.sample_independent(
            self._windowed(study, trial), trial, param_name, param_distribution
        )

    def _windowed(self, study: optuna.Study, trial: FrozenTrial) -> Any:
        """The study as it was when the trial was asked for, reduced to the window."""
        if self._view is None or self._view[0] != trial.number:
            trials = study.get_trials(deepcopy=False)
            seen = self._window.of(trials) if self._window else window(trials, directions=self._directions)
            self._view = trial.number, StudyView(study, [as_read(own) for own in seen])
        return self._view[1]
