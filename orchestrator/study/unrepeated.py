"""A sampler that proposes nothing twice: what has been tried, or is being tried, is drawn again.

Closed-form heads are chosen from a few values each, so that a sampler which has found good ones proposes the
same model again and again. Its result would be the same, a trial would be lost, and an ensemble would take
the copies for different members. Optuna's own samplers know nothing of conditions or of what a point means:
here the space is asked what would come of the drawn values, and models are compared, not values.
What would take more time than a search can give a single trial is drawn again, too: beside the best trials,
where the sampler learns from them.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
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

from orchestrator.study.allowance import Allowance
from orchestrator.study.experience import Experience
from orchestrator.study.neighbours import Draw, Neighbour, beside_the_best
from orchestrator.study.optuna_private import set_sampler_attr
from orchestrator.study.outcome import UNOPENED
from orchestrator.study.seeded import seed_of_trial
from trainables.config.same_model import model_of
from trainables.config.trial_config import TrialConfig, decode

DRAWS: Final = 6  # by the sampler, whose proposals cost much,
NEIGHBOURS: Final = 8  # after each of them beside the best trials,
KNOWN_DRAWS: Final = 24  # before all of them, of what was tried on other sets, where that has its turn
RANDOM_DRAWS: Final = 128  # and then at random; if nothing is new then, little can be left
KNOWN: Final = "tried on other sets"  # attribute of a trial
_BESIDE: Final = "beside the best"  # names of the streams of random numbers of these draws
_AT_RANDOM: Final = "at random"

Configure = Callable[["PointTrial"], TrialConfig]


@dataclass(frozen=True, slots=True)
class _Proposal:
    """What draws a point.

    Attributes:
        together: Values that were drawn together.
        one_by_one: Draws the others.
        beside: The neighbour that the point is to be, if it is one.
        is_random: The point is mere chance.
        is_known: It was good on other sets.
    """

    together: dict[str, Any]
    one_by_one: Draw
    beside: Neighbour | None = None
    is_random: bool = False
    is_known: bool = False


class PointTrial:
    """Stands for a trial before a space, so that a point can be seen before it is a trial.

    Args:
        draw: Returns the value of a setting from its name and range.
        number: Number of the trial.

    Attributes:
        params: Setting -> value, of all that the space has asked for.
    """

    def __init__(self, draw: Draw, number: int) -> None:
        self._draw, self.number = draw, number
        self.params: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Draw one of several choices."""
        return self._value(name, CategoricalDistribution(choices))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Any:
        """Draw a number."""
        return self._value(name, FloatDistribution(low, high, log=log, step=step))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Any:
        """Draw a whole number."""
        return self._value(name, IntDistribution(low, high, log=log, step=step))

    def _value(self, name: str, own: BaseDistribution) -> Any:
        if name not in self.params:
            self.params[name] = self._draw(name, own)
        return self.params[name]


class UnrepeatedSampler(BaseSampler):
    """A sampler whose proposals differ from all earlier ones.

    A whole point is drawn before its trial asks for the first value, settings that the sampler draws one by
    one included; the trial then gets these values.

    Args:
        sampler: Sampler that proposes.
        configure: Asks the space for a point and returns its configuration. It raises if the point cannot
            run.
        allowance: What a trial may cost.
        model_of: Returns a text that two configurations share if they are the same model on the images of
            the search.
        seed: Random seed of the search, the same after a resume.
        learns: The sampler learns from trials, so that points beside the best ones may stand for its own.
        experience: Ranks what was tried on other sets; None for none.

    Attributes:
        learns: As given.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        configure: Configure,
        allowance: Allowance,
        *,
        model_of: Callable[[TrialConfig], str] = model_of,
        seed: int,
        learns: bool = True,
        experience: Experience | None = None,
    ) -> None:
        self._sampler, self._configure, self._allowance, self._seed = sampler, configure, allowance, seed
        self._model_of, self.learns = model_of, learns
        self._experience = experience if learns else None
        self._models = set[str]()  # of all earlier trials
        self._known = 0  # all trials before this number are among them,
        self._later = set[int]()  # and of the others these
        self._running = dict[int, TrialConfig]()  # of them; what they make is there once they have ended
        self._ahead: tuple[int, Mapping[str, Any]] = (-1, {})  # trial, and the values that were drawn for it
        self._found_nothing_new = False

    def is_exhausted(self, study: optuna.Study) -> bool:
        """Tell whether so many draws found nothing new that the space can hold little that is."""
        return self._found_nothing_new

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the settings that are drawn together."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw the settings that are drawn together, until a point is a new model that is not too dear."""
        self._learn(study, but=trial.number)
        limit = self._allowance.limit
        first: dict[str, Any] | None = None
        chosen: tuple[float, _Proposal, PointTrial] | None = None
        for proposal in self._draws(study, trial, search_space):
            together = proposal.together
            first = together if first is None else first
            point = PointTrial(_drawn_before(together, proposal.one_by_one), trial.number)
            try:
                config = self._configure(point)
            except Exception:  # the point cannot run, or the space, which may be the user's own, failed
                if proposal.beside is not None:
                    continue
                return together
            is_elsewhere = proposal.beside is not None and not proposal.beside.is_near(point.params)
            if is_elsewhere or self._model_of(config) in self._models:
                continue
            cost = self._allowance.cost(config) if limit < math.inf else 0.0
            # Where all is too dear, the cheapest that was not drawn at random is better than chance.
            if chosen is None or cost <= limit or (not proposal.is_random and cost < chosen[0]):
                chosen = cost, proposal, point
            if cost <= limit:
                break
        if chosen is None:
            self._found_nothing_new = True
            return first or {}
        _, proposal, point = chosen
        self._ahead = trial.number, point.params
        if proposal.is_known:
            set_sampler_attr(study, trial, KNOWN, True)
        return proposal.together

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the value that was drawn for the trial, or draw one."""
        number, values = self._ahead
        if number == trial.number and param_name in values:
            return values[param_name]
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def _draws(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> Iterator[_Proposal]:
        """Proposals of the sampler, each with some beside the best trials after it, and then of chance.

        Before them comes what other sets recommend, in the turns of experience.
        """

        def by_sampler(name: str, own: BaseDistribution) -> Any:
            return self._sampler.sample_independent(study, trial, name, own)

        at_random = RandomSampler(seed=seed_of_trial(self._seed, trial.number, _AT_RANDOM))

        def randomly(name: str, own: BaseDistribution) -> Any:
            return at_random.sample_independent(study, trial, name, own)

        beside = beside_the_best(study, seed_of_trial(self._seed, trial.number, _BESIDE), randomly)
        if self._experience is not None and self._experience.has_a_turn(trial.number):
            for params in itertools.islice(self._experience.promising(study), KNOWN_DRAWS):
                yield _Proposal({}, _drawn_before(params, _missing), is_known=True)
        for _ in range(DRAWS):
            yield _Proposal(self._sampler.sample_relative(study, trial, dict(search_space)), by_sampler)
            for own in itertools.islice(beside, NEIGHBOURS if self.learns else 0):
                yield _Proposal({}, own.draw, beside=own)
        for _ in range(RANDOM_DRAWS):
            together = {name: randomly(name, own) for name, own in search_space.items()}
            yield _Proposal(together, randomly, is_random=True)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Pass on that a trial begins."""
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Pass on that a trial has ended."""
        self._sampler.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Pass on that other random numbers are wanted."""
        self._sampler.reseed_rng()

    def _learn(self, study: optuna.Study, *, but: int) -> None:
        """Take note of the models of trials that were handed out since the last proposal, or wait."""
        trials = study.get_trials(deepcopy=False)
        for trial in trials[self._known :]:
            if trial.number in self._later or trial.number == but:
                continue
            if "settings" in trial.user_attrs:  # a point of the queue, which the space may not have just so
                self._models.add(self._model_of(decode(trial.user_attrs["settings"])))
            config = None
            if trial.state is not TrialState.FAIL:  # its machine failed, not the model
                config = configured(self._configure, trial.params, trial.number)
            if config is not None:
                self._models.add(self._model_of(config))
                self._running[trial.number] = config
            if config is not None or trial.state.is_finished():
                self._later.add(trial.number)
        while self._known in self._later:
            self._later.remove(self._known)
            self._known += 1
        for number in [own for own in self._running if trials[own].state.is_finished()]:
            config, trial = self._running.pop(number), trials[number]
            if trial.state is not TrialState.FAIL and not trial.user_attrs.get(UNOPENED):
                self._allowance.hand_out(config)


def configured(configure: Configure, params: Mapping[str, Any], number: int = 0) -> TrialConfig | None:
    """Return the configuration of parameters; None if some are missing, or the point cannot run.

    Args:
        configure: Asks the space for a point and returns its configuration.
        params: Setting -> value; those of a trial that another process still draws may be incomplete.
        number: Number of the trial.
    """
    with contextlib.suppress(Exception):  # the space may be the user's own
        return configure(PointTrial(_drawn_before(params, _missing), number))
    return None


def _drawn_before(values: Mapping[str, Any], otherwise: Draw) -> Draw:
    return lambda name, own: values[name] if name in values else otherwise(name, own)


def _missing(name: str, own: BaseDistribution) -> Any:
    raise KeyError(name)
