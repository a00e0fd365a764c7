"""Estimate of a nested search before it runs: its inner searches read the features of the search itself."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

import numpy as np

from orchestrator.estimate.cost_model import FeatureRequirement, TrialCost
from orchestrator.estimate.drawn_search import (
    START_SECONDS,
    SimulatedSearch,
    TimeShares,
    draw_search,
    finish_times,
    simulate_search,
)
from orchestrator.study.pruner import Pruner

_MOST_DRAWS: Final = 40  # each is as many searches as there are outer folds


@dataclass(frozen=True, slots=True)
class NestedEstimate:
    """Estimate of what a nested search takes besides the search itself.

    Attributes:
        folds: Number of outer folds, each with a search of its own.
        prefix_seconds: Worker seconds for features that the search itself has not left in the store, mean.
        training_seconds: Worker seconds for training, mean.
        ratio: Worker seconds of the searches inside for each one of the search itself, mean.
        seconds: Seconds from the end of the search to that of the last one inside: 10th, 50th and 90th
            percentile of the simulated searches. Predictions of the outer folds are not in it.
    """

    folds: int
    prefix_seconds: float
    training_seconds: float
    ratio: float
    seconds: tuple[float, float, float]


def estimate_nested(  # noqa: PLR0913 - the search, the machine, and the chance
    searches: Sequence[Sequence[tuple[TrialCost, int]]],
    points: Sequence[TrialCost],
    warm: AbstractSet[FeatureRequirement],
    pruner: Pruner,
    *,
    longest: int,
    folds: int,
    slots: int,
    budget_seconds: float | None,
    is_stored: bool,
    random: np.random.Generator,
) -> NestedEstimate:
    """Simulate the searches inside of the outer folds; they read what the search before them has stored.

    Args:
        searches: Trials of simulated searches, each with its epochs.
        points: Points that the searches inside draw their trials from.
        warm: Features that were in the store before the search.
        pruner: Pruner of the search.
        longest: Largest number of epochs of any trial.
        folds: Number of outer folds, at least 2.
        slots: Number of trials at once.
        budget_seconds: Time budget of each search; None for no limit.
        is_stored: False if every trial computes its features for itself.
        random: Random generator.
    """
    share = (folds - 1) / folds  # of the patients, on which a search inside trains
    smaller = [replace(point, epoch_seconds=point.epoch_seconds * share) for point in points]
    known = warm | {need for point in points for need in point.needs} if is_stored else frozenset()

    def shares() -> TimeShares | None:
        return None if budget_seconds is None else TimeShares(budget_seconds, slots, known)

    plain, nested, walls = [], [], []
    for trials in searches[:_MOST_DRAWS]:
        inner = [
            list(draw_search(smaller, len(trials), pruner, random, longest=longest, shares=shares()))
            for _ in range(folds)
        ]
        before = simulate_search(trials, warm, is_stored=is_stored)
        whole = simulate_search([*trials, *(one for own in inner for one in own)], warm, is_stored=is_stored)
        plain.append(_seconds(before))
        nested.append(tuple(after - first for after, first in zip(_seconds(whole), plain[-1], strict=True)))
        parts = np.split(np.array(whole.durations[len(trials) :]), folds)
        ends = [max(finish_times(part.tolist(), slots)) for part in parts]
        walls.append(sum(START_SECONDS + min(end, budget_seconds or np.inf) for end in ends))
    low, middle, high = (float(value) for value in np.percentile(walls, (10, 50, 90)))
    return NestedEstimate(
        folds=folds,
        prefix_seconds=fmean(prefix for prefix, _ in nested),
        training_seconds=fmean(training for _, training in nested),
        ratio=sum(map(sum, nested)) / sum(map(sum, plain)),
        seconds=(low, middle, high),
    )


def _seconds(search: SimulatedSearch) -> tuple[float, float]:
    """Worker seconds for features and for training."""
    return sum(search.prefix_seconds.values()), sum(search.training_seconds.values())
