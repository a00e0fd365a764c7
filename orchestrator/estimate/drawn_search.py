"""Searches that are drawn and added up, trial by trial: time, passes and disk, without running anything."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from heapq import heapreplace
from typing import Final

import numpy as np

from orchestrator.estimate.cost_model import FeatureRequirement, TrialCost
from orchestrator.study.allowance import BRIEF, BRIEF_BETWEEN, SHARE
from orchestrator.study.pruner import Pruner, is_cheap, is_reference

START_SECONDS: Final = 12.0  # Ray, workers that import torch, the closing leaderboard
_TRIAL_SECONDS: Final = 0.3  # building the models, writing weights and record


@dataclass(slots=True)
class SimulatedSearch:
    """A simulated search: time, passes and disk, counted without running anything.

    Attributes:
        durations: Seconds of each trial, in order.
        prefix_seconds: Backbone -> seconds of passes through frozen stages.
        training_seconds: Backbone -> seconds of training, of a head on several backbones for its first.
        trials: Backbone -> number of trials that use it; one on several backbones counts for each.
        passes: (key, view) of every pass, in order.
        stored_bytes: Backbone -> bytes of stored features.
    """

    durations: list[float] = field(default_factory=list)
    prefix_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    training_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    trials: Counter[str] = field(default_factory=Counter)
    passes: list[tuple[str, str]] = field(default_factory=list)
    stored_bytes: Counter[str] = field(default_factory=Counter)


def simulate_search(
    trials: Sequence[tuple[TrialCost, int]], warm: AbstractSet[FeatureRequirement], *, is_stored: bool = True
) -> SimulatedSearch:
    """Add up the time and disk of a search, trial by trial; later trials read what earlier ones stored.

    Args:
        trials: Costs of the trials, each with the number of epochs that it runs.
        warm: Features that are in the store already.
        is_stored: False if every trial computes its features for itself.
    """
    held, outcome = set(warm), SimulatedSearch()
    for point, epochs in trials:
        held = held if is_stored else set()
        prefix = 0.0
        for own in point.passes:
            if own.needs <= held:
                continue
            new = {need: size for need, size in own.stores.items() if need not in held}
            held |= new.keys()
            prefix += own.seconds
            outcome.passes.append((own.key, own.view))
            outcome.prefix_seconds[own.backbone] += own.seconds
            outcome.stored_bytes[own.backbone] += sum(new.values()) if is_stored else 0
        training = epochs * point.epoch_seconds + _TRIAL_SECONDS
        outcome.trials.update(point.backbones)
        outcome.training_seconds[point.backbone] += training
        outcome.durations.append(prefix + training)
    return outcome


def finish_times(durations: Sequence[float], slots: int) -> list[float]:
    """Return the end of each trial in seconds, if each starts on the slot that is free first.

    >>> finish_times([3.0, 1.0, 1.0, 4.0], slots=2)
    [3.0, 1.0, 2.0, 6.0]
    """
    free, found = [0.0] * slots, []
    for seconds in durations:
        end = free[0] + seconds
        heapreplace(free, end)
        found.append(end)
    return found


def draw_epochs(
    point: TrialCost, number: int, pruner: Pruner, random: np.random.Generator, *, longest: int
) -> int:
    """Draw the number of epochs that a trial runs.

    Its best epoch may be any; patience stops it some epochs later. At every comparison the pruner stops its
    share of the trials, apart from those that a search always finishes.

    Args:
        point: Cost of the trial.
        number: Trial number, from 0.
        pruner: Pruner of the search.
        random: Random generator.
        longest: Largest number of epochs of any trial, by which the pruner compares them.
    """
    epochs = point.epochs
    if point.patience is not None:
        epochs = min(epochs, int(random.integers(1, point.epochs + 1)) + point.patience)
    if is_reference(number, is_first_point=point.is_recipe) or is_cheap(point.epoch_seconds, point.epochs):
        return epochs
    for epoch in range(1, epochs):
        if pruner.decides_at(epoch, longest) and random.random() > pruner.survival:
            return epoch
    return epochs


@dataclass(slots=True)
class TimeShares:
    """What the next trial of a search with a time limit may cost, as `orchestrator.study.allowance` has it.

    Args:
        seconds: Time limit of the search.
        slots: Number of trials at once.
        warm: Features that are in the store already.
    """

    seconds: float
    slots: int
    warm: AbstractSet[FeatureRequirement]
    _held: set[FeatureRequirement] = field(default_factory=set, init=False)
    _used: float = field(default=0.0, init=False)
    _to_be_brief: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._held = set(self.warm)

    def allowed(self, points: Sequence[TrialCost]) -> Sequence[TrialCost]:
        """Return the points that may be proposed now; where all are too dear, those that cost least."""
        limit = self._limit * (BRIEF if self._to_be_brief else 1.0)
        if limit <= 0:
            return points  # what comes after the end is not looked at
        costs = [self._cost(point, point.epochs) for point in points]
        most = max(limit, min(costs))
        return [point for point, cost in zip(points, costs, strict=True) if cost <= most]

    def add(self, point: TrialCost, epochs: int) -> None:
        """Count a trial that is handed out, which runs for so many epochs."""
        is_brief = self._cost(point, point.epochs) <= BRIEF * self._limit
        self._to_be_brief = max(0, self._to_be_brief - 1) if is_brief else BRIEF_BETWEEN
        self._used += self._cost(point, epochs)
        self._held |= point.needs

    @property
    def _limit(self) -> float:
        """Seconds that a trial may take."""
        return SHARE * max(0.0, self.slots * self.seconds - self._used)

    def _cost(self, point: TrialCost, epochs: int) -> float:
        """Seconds that a trial takes now: its training, and the passes that no trial has made yet."""
        passes = sum(own.seconds for own in point.passes if not own.needs <= self._held)
        return passes + epochs * point.epoch_seconds + _TRIAL_SECONDS


def draw_search(
    points: Sequence[TrialCost],
    trials: int,
    pruner: Pruner,
    random: np.random.Generator,
    *,
    longest: int,
    shares: TimeShares | None = None,
) -> Iterator[tuple[TrialCost, int]]:
    """Draw the trials of a search: recipes first, then others at random, each with its epochs.

    Args:
        points: Points that the trials are drawn from.
        trials: Number of trials.
        pruner: Pruner of the search.
        random: Random generator.
        longest: Largest number of epochs of any trial.
        shares: What each trial may cost; None for a search without a time limit.
    """
    recipes = [point for point in points if point.is_recipe]
    others = [point for point in points if not point.is_recipe] or recipes
    for number in range(trials):
        if number < len(recipes):
            point = recipes[number]
        else:
            among = others if shares is None else shares.allowed(others)
            point = among[int(random.integers(len(among)))]
        epochs = draw_epochs(point, number, pruner, random, longest=longest)
        if shares is not None:
            shares.add(point, epochs)
        yield point, epochs
