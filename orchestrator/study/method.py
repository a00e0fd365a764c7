"""How a search proposes and prunes: its sampler and its pruner, checked against what it optimises."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler

from orchestrator.study.allowance import Allowance
from orchestrator.study.experience import Experience
from orchestrator.study.pruner import Pruner, PruningFacts
from orchestrator.study.pruners import DEFAULT, NONE, default_pruner, pruner_named
from orchestrator.study.sampler import FiniteSampler, Sampler, SamplingFacts
from orchestrator.study.samplers import sampler_named, sampler_names, samplers
from orchestrator.study.unrepeated import Configure, UnrepeatedSampler, configured
from results.run.records import SearchRecord
from results.run.search_request import DEFAULT_TRIALS, SearchRequest
from results.scores.ranking import Objectives, objectives_of
from search_spaces.learned import TriedElsewhere, tried_digest, tried_elsewhere
from trainables.common.errors import ConfigError
from trainables.config.same_model import model_of
from trainables.config.trial_config import TrialConfig


@dataclass(frozen=True, slots=True)
class SearchMethod:
    """How a search proposes and prunes.

    Attributes:
        objectives: What it optimises and requires.
        sampler: What proposes configurations.
        pruner: What stops trials that are worse than others.
        seed: Random seed of the sampler.
        trials: Largest number of trials.
        epochs: Largest number of epochs of a trial.
        folds: Number of folds; 1 for a hold-out.
        tried: What was tried on other sets, of which the search takes what looks promising here; empty for
            nothing.
        expected_trials: Number of trials by which a sampler plans, where its time limit ends the search; None
            for `trials`.
    """

    objectives: Objectives
    sampler: Sampler
    pruner: Pruner
    seed: int
    trials: int
    epochs: int
    folds: int
    tried: Sequence[TriedElsewhere] = ()
    expected_trials: int | None = None

    def build_sampler(
        self,
        settings: Callable[[], Mapping[str, BaseDistribution]],
        *,
        drawn: int,
        configure: Configure,
        allowance: Allowance,
        model_of: Callable[[TrialConfig], str] = model_of,
        experience: Experience | None = None,
    ) -> BaseSampler:
        """Make the Optuna sampler.

        Ours propose nothing twice; the user's own may want to.

        Args:
            settings: Returns every setting that points of the space have.
            drawn: Number of trials that were handed out before; without this shift of its seed a sampler with
                one stream of random numbers would draw the same points again as at its start. Ours have a
                stream for each trial, and go on as if nothing had happened.
            configure: Returns the configuration of a point.
            allowance: What a trial may cost.
            model_of: Returns a text that two configurations share if they are the same model.
            experience: Ranks what was tried on other sets; None for none.

        Raises:
            ConfigError: If the user's own function makes no sampler.
        """
        facts = SamplingFacts(
            self.seed + drawn,
            self.trials if self.expected_trials is None else self.expected_trials,
            self.objectives.directions,
            self.epochs,
            settings,
            search_seed=self.seed,
            is_whole=lambda params: configured(configure, params) is not None,
        )
        made: BaseSampler = _made(self.sampler.build, facts, BaseSampler, f"--sampler {self.sampler.name}")
        if self.sampler.name not in sampler_names() or isinstance(made, FiniteSampler):
            return made
        return UnrepeatedSampler(
            made,
            configure,
            allowance,
            model_of=model_of,
            seed=self.seed,
            learns=self.sampler.learns,
            experience=experience,
        )

    def build_pruner(self) -> optuna.pruners.BasePruner:
        """Make the Optuna pruner.

        Raises:
            ConfigError: If the user's own function makes no pruner.
        """
        facts = PruningFacts(self.epochs, self.folds, not self.objectives.main.higher_is_better)
        return _made(self.pruner.build, facts, optuna.pruners.BasePruner, f"--pruner {self.pruner.name}")


def _made(build: Callable[[Any], Any], facts: Any, kind: type, option: str) -> Any:
    try:
        found = build(facts)
    except Exception as error:  # the user's own code
        raise ConfigError(f"{option} failed: {error!r}") from error
    if not isinstance(found, kind):
        raise ConfigError(f"{option} must return an Optuna {kind.__name__}, found {type(found).__name__}")
    return found


def method_of(search: SearchRecord) -> SearchMethod:
    """Return how a recorded search proposes and prunes.

    Raises:
        OrchestrateError: If its sampler or pruner is not there, or cannot work for it.
    """
    request, sampler, pruner = search.request, sampler_named(search.sampler), pruner_named(search.pruner)
    _check(sampler, pruner, search.metrics, search.folds)
    return SearchMethod(
        objectives_of(search),
        sampler,
        pruner,
        seed=request.seed,
        trials=request.most_trials,
        epochs=request.epochs,
        folds=search.folds,
        tried=tried_elsewhere() if search.tried_elsewhere == tried_digest() else (),
        expected_trials=DEFAULT_TRIALS if request.fills_its_time else None,
    )


def asked_method(request: SearchRequest, *, folds: int | None = None) -> tuple[Sampler, Pruner]:
    """Return sampler and pruner of a search that is asked for.

    Args:
        request: Options of the search.
        folds: Number of folds, where it is known; None takes that of the request.

    Raises:
        UnknownNameError: If there is no such sampler or pruner.
        ConfigError: If one of them cannot work for this search.
    """
    sampler = sampler_named(request.sampler)
    pruner = pruner_named(request.pruner or default_pruner(request.metrics))
    _check(sampler, pruner, request.metrics, request.fold_count if folds is None else folds)
    return sampler, pruner


def _check(sampler: Sampler, pruner: Pruner, metrics: Sequence[str], folds: int) -> None:
    found = f"found {len(metrics)}: {', '.join(metrics)}"
    if len(metrics) > 1 and not sampler.takes_many_metrics:
        able = [name for name in sampler_names() if samplers()[name].takes_many_metrics]
        raise ConfigError(
            f"--sampler {sampler.name} optimises one metric, {found}; take one of {', '.join(able)}"
        )
    if len(metrics) > 1 and pruner.name != NONE:
        raise ConfigError(
            f"--pruner {pruner.name} compares trials by one metric, {found}; leave it out, and every trial "
            "runs to its end"
        )
    if folds < pruner.fewest_folds:
        held = "a hold-out, which has one" if folds == 1 else f"{folds}"
        raise ConfigError(
            f"--pruner {pruner.name} compares trials fold by fold and needs {pruner.fewest_folds} folds or "
            f"more, found {held}; give --folds {pruner.fewest_folds}, or --pruner {DEFAULT}"
        )
