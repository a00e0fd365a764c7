"""Points beside the best trials: the settings of one of them, with a few changed.

A proposal that would be too dear, or is known, has to be replaced. A point drawn at random is most often one
of the cheap and bad kinds, of which there are many; the best trials' own kinds are cheap as well, since their
passes are stored. So the replacement is one of the best trials with one to three settings changed, as in
evolution and in local search.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from orchestrator.study.window import violation

PARENTS: Final = 5  # best trials, of which each neighbour has one
_MOST_CHANGED: Final = 3  # settings
_STEP: Final = 0.2  # standard deviation of a change of a number, as a share of its range
_SHARED: Final = 2 / 3  # of its settings that a neighbour has in common with the trial

Draw = Callable[[str, BaseDistribution], Any]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A point beside a trial, before a space has been asked which settings it has.

    Attributes:
        trial: Settings of the trial.
        draw: Draws a setting of the neighbour.
    """

    trial: Mapping[str, Any]
    draw: Draw

    def is_near(self, drawn: Mapping[str, Any]) -> bool:
        """Tell whether the settings that were drawn are mostly those of the trial.

        Another value of a setting on which most others depend, as of the backbone, makes a point elsewhere.
        """
        shared = sum(name in drawn and drawn[name] == value for name, value in self.trial.items())
        return shared >= _SHARED * max(len(self.trial), len(drawn))


def beside_the_best(study: optuna.Study, seed: int, otherwise: Draw) -> Iterator[Neighbour]:
    """Yield, without end, neighbours of the best trials.

    Nothing is yielded before a trial is complete.

    Args:
        study: The study; of several objectives the best trials are those that no other beats in all.
        seed: Random seed.
        otherwise: Draws a setting that the trial did not have, or had outside of the range that it has now.
    """
    parents = _best(study)
    random = np.random.default_rng(seed)
    while parents:
        parent = parents[random.integers(len(parents))]
        free = [name for name, own in parent.distributions.items() if not own.single()]
        number = min(len(free), int(random.integers(1, _MOST_CHANGED + 1)))
        changed = {str(name) for name in random.choice(free, number, replace=False)} if free else set[str]()
        yield Neighbour(parent.params, _drawing(parent.params, changed, random, otherwise))


def moved(own: BaseDistribution, value: Any, random: np.random.Generator) -> Any:
    """Return another value of a setting: of a choice any other one, of a number one that is near.

    >>> moved(CategoricalDistribution(["lda", "ridge"]), "lda", np.random.default_rng(0))
    'ridge'
    """
    if isinstance(own, CategoricalDistribution):
        others = [choice for choice in own.choices if choice != value]
        return others[random.integers(len(others))] if others else value
    assert isinstance(own, (FloatDistribution, IntDistribution))
    scale, back = (math.log, math.exp) if own.log else (float, float)
    low, high = scale(own.low), scale(own.high)
    near = back(min(max(scale(value) + random.normal(0.0, _STEP) * (high - low), low), high))
    if own.step is not None and not own.log:
        near = own.low + own.step * round((near - own.low) / own.step)
    within = min(max(near, own.low), own.high)
    return round(within) if isinstance(own, IntDistribution) else within


def _best(study: optuna.Study) -> list[FrozenTrial]:
    """The best complete trials; those that keep the requirements come first."""
    if len(study.directions) > 1:
        return study.best_trials[:PARENTS]
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = -1.0 if study.direction is StudyDirection.MAXIMIZE else 1.0
    finite = [(violation(trial), sign * trial.value, trial) for trial in complete if trial.value is not None]
    best = heapq.nsmallest(PARENTS, finite, key=lambda own: (*own[:2], own[2].number))
    return [trial for _, _, trial in best]


def _drawing(
    values: Mapping[str, Any], changed: set[str], random: np.random.Generator, otherwise: Draw
) -> Draw:
    def draw(name: str, own: BaseDistribution) -> Any:
        if name not in values or not _holds(own, values[name]):
            return otherwise(name, own)
        return moved(own, values[name], random) if name in changed else values[name]

    return draw


def _holds(own: BaseDistribution, value: Any) -> bool:
    if isinstance(own, CategoricalDistribution):
        return value in own.choices
    assert isinstance(own, (FloatDistribution, IntDistribution))
    return isinstance(value, (int, float)) and own.low <= value <= own.high
