"""Proposals that were good on other sets, before a search has results of its own to learn from.

A sampler that learns draws its first trials at random, and for long knows little. So some of its first trials
are points that past results speak for: nearly all at the start, then fewer, until the search is guided by its
own results alone. Showing the sampler those results as if they were its own did not work: TPE prefers a
choice that it has never seen to one that was good.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FixedTrial, FrozenTrial, create_trial

from search_spaces.context import SpaceContext
from search_spaces.enqueue import SpaceFunction, matching_params, suggest_enqueued
from search_spaces.learned import LearnedPoint
from trainables.common.errors import OrchestrateError
from trainables.config.trial_config import TrialConfig, decode, flatten

PriorTrial = FrozenTrial  # the name under which what knows no Optuna passes them on
LAST: Final = 64  # number of the trial from which none is a learned point
_MAKE_A_POINT: Final = ("model.backbone", "classical.name")  # with others held there it is another point


class LearnedStart(BaseSampler):
    """A sampler some of whose first trials are points that were good on other sets.

    Trial n is one with probability 1 - n / `LAST`, drawn by merit among those that were not tried yet. What a
    point does not decide, the sampler proposes.

    Args:
        sampler: Sampler of all other trials.
        prior: Points as trials from `prior_trials`; each is tried once.
        seed: Random seed.
    """

    def __init__(self, sampler: BaseSampler, prior: Sequence[FrozenTrial], *, seed: int) -> None:
        self._sampler, self._prior, self._seed = sampler, tuple(prior), seed
        self._given: tuple[int, FrozenTrial | None] = (-1, None)
        self._used: set[int] = set()  # places in the prior

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the settings that are decided together; Optuna calls this first for each trial."""
        point = self._point(study, trial.number)
        if point is not None:
            return dict(point.distributions)
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the settings of the point, or what the sampler draws together."""
        point = self._point(study, trial.number)
        if point is not None:
            return dict(point.params)
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one setting by itself."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def _point(self, study: optuna.Study, number: int) -> FrozenTrial | None:
        """The learned point that a trial is, the same however often it is asked."""
        if number >= LAST or not self._prior:
            return None
        if self._given[0] != number:
            self._given = number, self._drawn(study, number)
        return self._given[1]

    def _drawn(self, study: optuna.Study, number: int) -> FrozenTrial | None:
        random = np.random.default_rng([self._seed, number])
        if random.random() < number / LAST:
            return None
        tried = [own.params for own in study.get_trials(deepcopy=False)]
        left = [
            place
            for place, own in enumerate(self._prior)
            if place not in self._used and not any(own.params.items() <= params.items() for params in tried)
        ]
        if not left:
            return None
        merits = np.array([self._prior[place].value for place in left], dtype=np.float64)
        place = left[int(random.choice(len(left), p=merits / merits.sum()))]
        self._used.add(place)
        return self._prior[place]


def prior_trials(
    function: SpaceFunction,
    context: SpaceContext,
    fixed_params: Mapping[str, Any],
    points: Sequence[LearnedPoint],
) -> list[FrozenTrial]:
    """Return learned points as trials of a search, the best first, without those that it cannot propose.

    Args:
        function: Function of the space.
        context: Facts that its conditions depend on.
        fixed_params: Settings held fixed.
        points: What was tried on other sets.

    Returns:
        Complete trials whose only value is the merit of the point.
    """
    found = []
    for point in sorted(points, key=lambda own: -own.merit):
        config = _config(point.settings, context)
        if config is None or config.model.backbone not in context.choices:
            continue
        settings = flatten(config.model_dump(mode="json"))
        if any(settings[name] != fixed_params.get(name, settings[name]) for name in _MAKE_A_POINT):
            continue
        walk = _walked(function, context, config)
        kept = {
            name: own
            for name, own in walk.distributions.items()
            if name.partition("@")[0] not in fixed_params
        }
        if kept:
            params = {name: walk.params[name] for name in kept}
            found.append(create_trial(params=params, distributions=kept, value=point.merit))
    return found


def numbers_of(
    function: SpaceFunction, context: SpaceContext, settings: Mapping[str, Any]
) -> dict[str, tuple[float, tuple[float, float]]]:
    """Return number parameter -> value and ends of its range, as a space would propose a configuration.

    Args:
        function: Function of the space.
        context: Facts that its conditions depend on.
        settings: Dotted setting -> value of the configuration.
    """
    config = _config(settings, context)
    if config is None:
        return {}
    walk = _walked(function, context, config)
    return {
        name: (float(walk.params[name]), (own.low, own.high))
        for name, own in walk.distributions.items()
        if isinstance(own, FloatDistribution) and own.log
    }


def _config(settings: Mapping[str, Any], context: SpaceContext) -> TrialConfig | None:
    try:
        return decode({"training.epochs": context.epochs} | dict(settings))
    except OrchestrateError:
        return None  # it names what is registered no more


def _walked(function: SpaceFunction, context: SpaceContext, config: TrialConfig) -> FixedTrial:
    walk = FixedTrial(matching_params(function, context, config))
    suggest_enqueued(function, context, config, walk)
    return walk
