"""A conditional space as one of fixed dimension, for samplers that know no conditions.

Of the settings of a space a point has some: a net from scratch has no cut, a linear head no dropout. Optuna's
samplers for fixed spaces use what all points share, which may be nothing. Here they see every setting: what
a point does not have is filled in, and of what they propose a point takes what it asks for.

Trials that were stopped or crashed are shown with the value that they reached, or with the worst of all, so
that these samplers learn from them too.
"""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from orchestrator.study.optuna_private import StudyView, set_sampler_attr, shown_as
from orchestrator.study.sampler import SamplingFacts
from orchestrator.study.seeded import SeededByTrial
from orchestrator.study.window import merits
from results.scores.ranking import Direction

_PROPOSAL: Final = "proposal"  # of a trial: settings that it did not ask for are in it, too


@dataclass(frozen=True, slots=True)
class CodedSetting:
    """A setting as a sampler sees it.

    Attributes:
        own: Range of the setting in the space.
        seen: Range that the sampler sees: the positions of numbers in increasing order, or `own`.
    """

    own: BaseDistribution
    seen: BaseDistribution

    def encode(self, value: Any) -> Any:
        """Return a value of the space as the sampler sees it."""
        return value if self.seen is self.own else self._choices.index(value)

    def decode(self, value: Any) -> Any:
        """Return what the sampler proposes as a value of the space."""
        return value if self.seen is self.own else self._choices[value]

    @property
    def middle(self) -> Any:
        """The value, as the sampler sees it, that stands for a setting which a point does not have."""
        if isinstance(self.seen, CategoricalDistribution):
            return self.seen.choices[0]
        assert isinstance(self.seen, (FloatDistribution, IntDistribution))
        low, high = self.seen.low, self.seen.high
        if isinstance(self.seen, IntDistribution):
            return int(low + (high - low) // 2 // self.seen.step * self.seen.step)
        return (low * high) ** 0.5 if self.seen.log else 0.5 * (low + high)

    @property
    def _choices(self) -> tuple[Any, ...]:
        assert isinstance(self.own, CategoricalDistribution)
        return self.own.choices


def coded(own: BaseDistribution) -> CodedSetting:
    """Return a setting for a sampler that knows numbers: choices of increasing numbers become positions.

    >>> coded(CategoricalDistribution((0.0, 0.2, 0.5))).seen
    IntDistribution(high=2, log=False, low=0, step=1)
    """
    if isinstance(own, CategoricalDistribution) and _are_ordered(own.choices):
        return CodedSetting(own, IntDistribution(0, len(own.choices) - 1))
    return CodedSetting(own, own)


def _are_ordered(choices: Sequence[Any]) -> bool:
    are_numbers = all(isinstance(own, (int, float)) and not isinstance(own, bool) for own in choices)
    return are_numbers and len(choices) > 2 and all(low < high for low, high in itertools.pairwise(choices))


class WholeSpaceSampler(BaseSampler):
    """Shows a sampler for fixed spaces a conditional one as if every point had every setting.

    Args:
        sampler: The sampler; only its joint proposals are used.
        facts: Facts that it was built from.
        takes: Tells whether the sampler proposes a setting, from its range as it sees it.
        independent: Sampler of the other settings; None draws them at random.
        orders_numbers: Choices of increasing numbers are shown as their positions.
        remembers: A setting that a trial did not ask for has the value that was proposed, as a gene that is
            not expressed; else the middle of its range, as if it did not matter.
        choose: Trials that the sampler sees, of all; None shows all.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        facts: SamplingFacts,
        *,
        takes: Callable[[BaseDistribution], bool] = lambda seen: True,
        independent: BaseSampler | None = None,
        orders_numbers: bool = True,
        remembers: bool = False,
        choose: Callable[[Sequence[FrozenTrial]], Sequence[FrozenTrial]] | None = None,
    ) -> None:
        self._sampler, self._facts, self._takes = sampler, facts, takes
        self._random = SeededByTrial(lambda seed: RandomSampler(seed=seed), facts.lasting_seed)
        self._independent = independent or self._random
        self._orders_numbers, self._remembers, self._choose = orders_numbers, remembers, choose
        self._settings: dict[str, CodedSetting] | None = None
        self._filled: dict[int, FrozenTrial] = {}  # of trials that have ended, which change no more

    @property
    def settings(self) -> Mapping[str, CodedSetting]:
        """The settings that the sampler proposes."""
        if self._settings is None:
            every = {
                name: coded(own) if self._orders_numbers else CodedSetting(own, own)
                for name, own in self._facts.settings().items()
                if not own.single()
            }
            self._settings = {name: own for name, own in every.items() if self._takes(own.seen)}
        return self._settings

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all settings that the sampler proposes, with their ranges in the space."""
        return {name: own.own for name, own in self.settings.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose a value of every setting, of which the trial takes those that it asks for."""
        seen = {name: own.seen for name, own in self.settings.items()}
        if not seen:
            return {}
        shown: Any = StudyView(study, self._shown(study.get_trials(deepcopy=False), trial.number))
        proposed = self._sampler.sample_relative(shown, trial, seen)
        if not proposed:  # it has not learned anything yet
            draw = self._random.sample_independent
            proposed = {name: draw(study, trial, name, own) for name, own in seen.items()}
        proposal = {name: self.settings[name].decode(value) for name, value in proposed.items()}
        if self._remembers:
            set_sampler_attr(study, trial, _PROPOSAL, json.dumps(proposal))
        return proposal

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one of the other settings."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _shown(self, trials: Sequence[FrozenTrial], asked_for: int) -> list[FrozenTrial]:
        """The trials as the sampler sees them, without the one that is asked for."""
        ended = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
        worst = _worst_values(ended, self._facts.directions)
        constraints = _worst_constraints(ended)
        shown = []
        for trial in trials if self._choose is None else self._choose(trials):
            if trial.state is TrialState.RUNNING and trial.number != asked_for:
                shown.append(self._fill(trial, None, {}))
            elif trial.state is TrialState.COMPLETE:
                if trial.number not in self._filled:
                    missing = {} if trial.constraints else constraints
                    self._filled[trial.number] = self._fill(trial, trial.values, missing)
                shown.append(self._filled[trial.number])
            elif trial.state is TrialState.PRUNED and worst is not None:
                shown.append(self._fill(trial, _reached(trial) or worst, constraints))
        return shown

    def _fill(
        self, trial: FrozenTrial, values: Sequence[float] | None, constraints: Mapping[str, float]
    ) -> FrozenTrial:
        proposal = json.loads(trial.system_attrs.get(_PROPOSAL, "{}")) if self._remembers else {}
        params = {}
        for name, own in self.settings.items():
            value = trial.params[name] if trial.distributions.get(name) == own.own else proposal.get(name)
            params[name] = own.middle if value is None else own.encode(value)
        seen = {name: own.seen for name, own in self.settings.items()}
        return shown_as(trial, params=params, distributions=seen, values=values, constraints=constraints)


def _reached(trial: FrozenTrial) -> list[float] | None:
    """Value that a trial had when it was stopped; None if it never had one."""
    return None if trial.last_step is None else [trial.intermediate_values[trial.last_step]]


def _worst_values(trials: Sequence[FrozenTrial], directions: Sequence[Direction]) -> list[float] | None:
    """The worst value of each metric that a trial has; None if none has any."""
    complete = [merits(trial, directions) for trial in trials if trial.state is TrialState.COMPLETE]
    if not complete:
        return None
    worst = [min(column) for column in zip(*complete, strict=True)]
    return [
        own if direction == "maximize" else -own for own, direction in zip(worst, directions, strict=True)
    ]


def _worst_constraints(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """What a trial that was not measured is taken to miss of each requirement: as much as the worst one."""
    worst: dict[str, float] = {}
    for trial in trials:
        for name, value in trial.constraints.items():
            worst[name] = max(worst.get(name, value), value)
    return worst


def is_number(seen: BaseDistribution) -> bool:
    """Tell whether a sampler sees a setting as a number."""
    return isinstance(seen, (FloatDistribution, IntDistribution))
