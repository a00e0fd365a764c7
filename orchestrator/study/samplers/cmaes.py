"""`cmaes`: CMA-ES over the numbers of the space, TPE over its other choices.

The state of the evolution strategy is made again from the trials, never read from the study: Optuna's own
CMA-ES sampler keeps it there as a pickle, which would run code when a foreign run folder is resumed.

Source: Hansen (2016), "The CMA evolution strategy: a tutorial".
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from orchestrator.study.optuna_private import set_sampler_attr
from orchestrator.study.sampler import Sampler, SamplingFacts
from orchestrator.study.samplers.tpe import TPE
from orchestrator.study.seeded import seed_of_trial
from orchestrator.study.whole_space import WholeSpaceSampler, is_number
from orchestrator.study.window import merits
from trainables.common.types import FloatArray

if TYPE_CHECKING:  # it takes a second to import, and every search lists the samplers
    from cmaes import CMA

_GENERATION: Final = "cmaes:generation"
_DRAWN: Final = "cmaes:drawn"  # what was drawn last for a trial, which may have taken another proposal
_SIGMA: Final = 1 / 6  # of the range of every number, as in Optuna


class CmaEs(BaseSampler):
    """CMA-ES over a fixed space of numbers, each scaled to [0, 1].

    A generation is told as soon as enough of its trials have ended; trials of earlier ones come too late. Of
    a trial that took another proposal nothing is told, since the strategy learns from what it drew.

    Args:
        facts: Facts of the search; it has one metric.
    """

    def __init__(self, facts: SamplingFacts) -> None:
        self._facts, self._seed = facts, facts.lasting_seed
        self._strategy: CMA | None = None
        self._drawn_for = -1  # trial

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: the space is given."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw a point of the present generation; nothing while trials are few, or with a single number."""
        ended = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        if len(ended) < self._facts.startup_trials or len(search_space) < 2:
            return {}
        if self._strategy is None:
            self._strategy = _strategy(len(search_space), self._seed)
        self._tell(ended, search_space)
        if trial.number != self._drawn_for:  # of several draws for a trial each is another one
            self._strategy.reseed_rng(seed_of_trial(self._seed, trial.number))
            self._drawn_for = trial.number
        point = self._strategy.ask()
        drawn = {
            name: from_unit(range_, float(own))
            for (name, range_), own in zip(search_space.items(), point, strict=True)
        }
        set_sampler_attr(study, trial, _GENERATION, self._strategy.generation)
        set_sampler_attr(study, trial, _DRAWN, drawn)
        return drawn

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Raise: other settings are drawn by another sampler."""
        raise NotImplementedError

    def _tell(self, ended: Sequence[FrozenTrial], search_space: Mapping[str, BaseDistribution]) -> None:
        """Go on to the first generation of which too few trials have ended; after a resume from the start."""
        assert self._strategy is not None
        while True:
            generation, size = self._strategy.generation, self._strategy.population_size
            own = [trial for trial in ended if _is_of(trial, generation)][:size]
            if len(own) < size:
                return
            self._strategy.tell(
                [(_point(trial, search_space), -merits(trial, self._facts.directions)[0]) for trial in own]
            )


def _strategy(dimension: int, seed: int) -> "CMA":
    from cmaes import CMA

    bounds = np.tile([0.0, 1.0], (dimension, 1))
    return CMA(mean=np.full(dimension, 0.5), sigma=_SIGMA, bounds=bounds, seed=seed)


def _is_of(trial: FrozenTrial, generation: int) -> bool:
    """True for a trial whose point was drawn in a generation; earlier versions left no note of the point."""
    drawn = trial.system_attrs.get(_DRAWN, trial.params)
    is_taken = all(trial.params[name] == value for name, value in drawn.items())
    return is_taken and trial.system_attrs.get(_GENERATION) == generation


def _point(trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]) -> FloatArray:
    return np.array([to_unit(range_, trial.params[name]) for name, range_ in search_space.items()])


def to_unit(range_: BaseDistribution, value: float) -> float:
    """Return where a value lies in its range, in [0, 1]; whole numbers lie in the middle of equal parts.

    >>> to_unit(FloatDistribution(1e-4, 1e-2, log=True), 1e-3)
    0.5
    """
    low, high = _ends(range_)
    found = np.log(value) if range_.log else value  # type: ignore[attr-defined]
    return round(float((found - low) / (high - low)), 12)


def from_unit(range_: BaseDistribution, place: float) -> float | int:
    """Return the value at a place of a range, the inverse of `to_unit`."""
    assert isinstance(range_, (FloatDistribution, IntDistribution))
    low, high = _ends(range_)
    found = low + min(max(place, 0.0), 1.0) * (high - low)
    value = float(np.exp(found)) if range_.log else float(found)
    step = range_.step
    if step is not None:
        value = range_.low + step * round((value - range_.low) / step)
    value = min(max(value, range_.low), range_.high)
    return int(value) if isinstance(range_, IntDistribution) else value


def _ends(range_: BaseDistribution) -> tuple[float, float]:
    """Ends of a range, half a step wider on either side, on the scale on which it is drawn."""
    assert isinstance(range_, (FloatDistribution, IntDistribution))
    margin = 0.0 if range_.step is None else 0.5 * range_.step
    low, high = range_.low - margin, range_.high + margin
    return (float(np.log(low)), float(np.log(high))) if range_.log else (low, high)


def _build(facts: SamplingFacts) -> optuna.samplers.BaseSampler:
    others = TPE.build(facts)
    return WholeSpaceSampler(CmaEs(facts), facts, takes=is_number, independent=others, remembers=True)


CMAES = Sampler(
    "cmaes",
    _build,
    "an evolution strategy over the numbers of the space, TPE over its other choices; one metric",
    takes_many_metrics=False,
)
