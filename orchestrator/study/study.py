"""The Optuna study of a search: it proposes configurations, prunes trials and learns every outcome."""

import contextlib
import math
import warnings
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from orchestrator.study.allowance import Allowance
from orchestrator.study.drawn_points import settings_of
from orchestrator.study.experience import Experience
from orchestrator.study.journal import RunJournal
from orchestrator.study.method import SearchMethod
from orchestrator.study.neighbours import Draw
from orchestrator.study.optuna_private import LongStudyStorage, open_trial, sampler_attr
from orchestrator.study.outcome import UNOPENED, is_unopened, outcome_of
from orchestrator.study.patience import OutOfPatienceError, Patience
from orchestrator.study.pruner import FOLD_VALUES, is_reference
from orchestrator.study.sampler import FiniteSampler
from orchestrator.study.shared import FOLDS, SharedTrials, StudyExistsError
from orchestrator.study.storage import open_storage, what_was_said
from orchestrator.study.trial_spec import EXPERIENCE, InvalidPointError, TrialSpec, is_first_point
from orchestrator.study.turns import Turns
from orchestrator.study.unrepeated import KNOWN, PointTrial
from results.run.records import TrialRecord
from results.run.storage_url import PASSWORD, without_password
from results.scores.ranking import Direction
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint, matching_params, suggest_enqueued
from search_spaces.registry import Space
from trainables.common.errors import ConfigError, OrchestrateError
from trainables.config.same_model import model_of
from trainables.config.trial_config import TrialConfig, decode, flatten
from trainables.models.columns import normal_on

_ALONE: Final = "alone"  # attribute of a trial that ran out of memory beside others


class MissingStudyError(ConfigError):
    """A study that is not in its storage, or cannot be read there."""


class OptunaStudy:
    """The trials of one Optuna study: asks for them, prunes them and tells their results.

    Args:
        study: Optuna study from `open_study`.
        space: Search space.
        context: Facts that the conditions of the space depend on.
        fixed_params: Settings held fixed.
        method: How the search proposes and prunes, and its number of trials, those already in the study
            included.
        driver: Identity of this search among those that work on the study; empty for a study of its own.
        patience: Patience with the storage of the study; None if it has none.
        allowance: What a trial may cost; None for whatever it costs.

    Raises:
        ConfigError: If sampler or pruner, which may be the user's own, cannot be made.
    """

    def __init__(  # noqa: PLR0913 - a study, its space, how it proposes, and whom it shares it with
        self,
        study: optuna.Study,
        space: Space,
        context: SpaceContext,
        fixed_params: Mapping[str, Any],
        method: SearchMethod,
        *,
        driver: str = "",
        patience: Patience | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self.patience = patience or Patience()
        self.allowance = allowance or Allowance()
        self.study, self.space, self.context, self.fixed_params = study, space, context, fixed_params
        self.method, self.trials = method, method.trials
        self._running: dict[int, optuna.Trial] = {}
        self._orphans: list[optuna.Trial] = []
        self.shared = SharedTrials(study, driver) if driver else None
        self._taken_over = (UpdateFinishedTrialError,) if driver else ()
        # Counted once: reading all trials at each ask would make a search slower as it grows.
        states = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        self._handed_out = len(study.get_trials(deepcopy=False, states=states))
        drawn = len(study.get_trials(deepcopy=False))
        if driver:  # two drivers that start at once must not draw the same points
            drawn += zlib.crc32(driver.encode()) % 1_000_000
        study.sampler = method.build_sampler(
            self._settings,
            drawn=drawn,
            configure=self._configured,
            allowance=self.allowance,
            model_of=self._model_of,
            experience=self._experience() if method.tried else None,
        )
        study.pruner = method.build_pruner()
        self._turns = Turns(study, self.allowance, is_shared=bool(driver))

    def _settings(self) -> Mapping[str, BaseDistribution]:
        return settings_of(self.space, self.context, self.fixed_params)

    def _configured(self, point: PointTrial) -> TrialConfig:
        return self.space.configure(point, self.context, self.fixed_params)  # type: ignore[arg-type]

    def _normal(self, config: TrialConfig) -> TrialConfig:
        try:
            return normal_on(config, self.context.sizes_px, self.context.image_channels)
        except OrchestrateError:  # a net, or a level of one, that a user's own space has invented
            return config

    def _model_of(self, config: TrialConfig) -> str:
        return model_of(self._normal(config))

    def _experience(self) -> Experience:
        def usual(settings: Mapping[str, Any]) -> Mapping[str, Any]:
            try:
                return self._described(decode(settings))
            except OrchestrateError:  # of an earlier version
                return settings

        return Experience(self.method.tried, self._params_of, self._settings_of, usual)

    def _described(self, config: TrialConfig) -> Mapping[str, Any]:
        """Settings of a configuration that are not their defaults, in its normal form."""
        return flatten(self._normal(config).model_dump(mode="json", exclude_defaults=True))

    def _params_of(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Parameters with which the space proposes what was tried elsewhere; empty where it cannot.

        The search has its own epochs, and fixed settings of which neither the space nor what was tried says
        anything: like its images, those are the same in all of its trials.
        """
        point = InitialPoint("", settings)
        try:
            tried = point.configure({}, epochs=self.context.epochs)
            params = matching_params(self.space.function, self.context, tried)
            found = self._configured(PointTrial(_drawn(params), 0))
            said = {*settings, *(name.partition("@")[0] for name in params)}
            others = {name: value for name, value in self.fixed_params.items() if name not in said}
            others["training.epochs"] = found.training.epochs
            expected = point.configure(others, epochs=self.context.epochs)
        except Exception:  # it cannot run here, or has a value that the space does not propose
            return {}
        return params if self._model_of(found) == self._model_of(expected) else {}

    def _settings_of(self, trial: FrozenTrial) -> Mapping[str, Any]:
        """Settings of a trial that are not their defaults; empty where it has none that can run."""
        full = trial.user_attrs.get("settings")
        try:
            config = (
                decode(full) if full else self._configured(PointTrial(_drawn(trial.params), trial.number))
            )
        except Exception:  # the space, which may be the user's own, of an earlier version
            return {}
        return self._described(config)

    def enqueue(self, points: Sequence[InitialPoint]) -> None:
        """Put points in the queue, which Optuna empties before the sampler proposes anything."""
        self._turns.enqueued()
        for point in points:
            config = point.configure(self.fixed_params, epochs=self.context.epochs)
            self.study.enqueue_trial(
                matching_params(self.space.function, self.context, config),
                user_attrs={"recipe": point.recipe, "settings": flatten(config.model_dump(mode="json"))},
            )

    @property
    def handed_out(self) -> int:
        """Number of trials that were asked for, by any driver of the study, finished ones included."""
        return self._handed_out if self.shared is None else self.shared.handed_out

    @property
    def left(self) -> int:
        """Number of trials that are to be handed out, here or by another driver."""
        return len(self._orphans) + max(0, self.trials - self.handed_out)

    @property
    def has_more(self) -> bool:
        """True if `ask` has a trial to hand out."""
        return bool(self._orphans) or (self.handed_out < self.trials and not self.is_exhausted)

    @property
    def is_exhausted(self) -> bool:
        """True if the sampler has nothing more to propose, and no point waits."""
        sampler = self.study.sampler
        if not isinstance(sampler, FiniteSampler) or not sampler.is_exhausted(self.study):
            return False
        return not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def adopt(self, records: Mapping[int, TrialRecord]) -> int:
        """Take over trials that an interrupted search left running, and what all others say of heads.

        If the record of a trial was written, its result is told to Optuna; the others will be run again under
        their own numbers.

        Args:
            records: Trial number -> record in the run folder.

        Returns:
            The number of trials that will be run again.
        """
        told = set[int]()
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if self.shared is not None and not self.shared.is_own(frozen):
                continue
            self._running[frozen.number] = open_trial(self.study, frozen)
            record = records.get(frozen.number)
            if record is not None:
                self.tell(record)
                told.add(frozen.number)
            else:
                self._orphans.append(self._running.pop(frozen.number))
        for number in records.keys() - told:
            self.allowance.learn(records[number])
        return len(self._orphans)

    def ask(self) -> TrialSpec | None:
        """Return the next trial, or None when all have been handed out.

        Raises:
            InvalidPointError: If the space proposes a point that cannot run.
            OutOfPatienceError: If the storage of the study does not come back in time.
        """
        if self._orphans:
            trial = self._orphans.pop(0)
        elif (asked := self._asked()) is None:
            return None
        else:
            trial = asked
        self._running[trial.number] = trial
        try:
            config = self._configure(trial)
        except ConfigError as error:
            raise InvalidPointError(trial.number, dict(trial.params), str(error)) from error
        except OutOfPatienceError:  # the storage in which the space's choices are kept, not the space
            raise
        except Exception as error:  # a space may be the user's own code
            message = f"space {self.space.name} failed: {error!r}"
            raise InvalidPointError(trial.number, dict(trial.params), message) from error
        self._turns.handed_out(config)
        self.allowance.begin_trial(trial.number, config)
        return TrialSpec(
            trial.number,
            config,
            dict(trial.params),
            trial.user_attrs.get("recipe") or (EXPERIENCE if sampler_attr(trial, KNOWN) else ""),
            compared_at=self._comparisons(config.training.epochs),
            is_alone=bool(trial.user_attrs.get(_ALONE)),
        )

    def _asked(self) -> optuna.Trial | None:
        if not self.has_more and not (self.shared and self.shared.release_lost()):
            return None
        if self.shared is not None:
            return self.shared.ask(self.trials)
        trial = self._turns.next_trial(self.trials - self.handed_out)
        self._handed_out += 1
        return trial

    def has_points(self) -> bool:
        """Tell whether a point to try first has not been handed out yet, or is to be run again."""
        again = (own.user_attrs.get("recipe", "") for own in self._orphans)
        return self._turns.has_points() or any(map(is_first_point, again))

    def note_alone(self, number: int) -> None:
        """Note that a running trial must run alone, also if the search is interrupted before it does."""
        self.allowance.postpone_trial(number)
        self._running[number].set_user_attr(_ALONE, True)

    def note_open(self, number: int) -> None:
        """Note that a running trial has opened its features, which other trials find from now on."""
        self.allowance.open_trial(number)

    def has_interrupted(self) -> bool:
        """Tell whether a trial that ran when the search was interrupted waits to be run again."""
        return bool(self._orphans)

    def ended_elsewhere(self) -> list[TrialRecord]:
        """Return what is known of complete trials of other drivers that ended since the last call."""
        if self.shared is None or len(self.method.objectives.metrics) > 1:
            return []
        metric = self.method.objectives.metrics[0]
        return [
            TrialRecord(
                number=trial.number,
                state="complete",
                config={},
                value=trial.value,
                values={
                    own.metric: own.value_at(trial.constraints[own.metric])
                    for own in self.method.objectives.requirements
                    if math.isfinite(trial.constraints.get(own.metric, math.inf))
                },
                fold_metrics=tuple({metric: own} for own in trial.user_attrs.get(FOLDS, ())),
                fingerprint="",
                seed=self.method.seed,
                finished_at=(trial.datetime_complete or datetime.now()).astimezone(),
            )
            for trial in self.shared.ended_elsewhere()
        ]

    def _comparisons(self, epochs: int) -> tuple[int, ...]:
        """Epochs at which a trial of this many epochs is compared with others."""
        decides_at, longest = self.method.pruner.decides_at, self.context.epochs
        return tuple(epoch for epoch in range(1, epochs + 1) if decides_at(epoch, longest))

    def _configure(self, trial: optuna.Trial) -> TrialConfig:
        settings = trial.user_attrs.get("settings")
        if settings is None:
            return self.space.configure(trial, self.context, self.fixed_params)
        config = decode(settings)
        suggest_enqueued(self.space.function, self.context, config, trial)
        return config

    def should_prune(self, number: int, epoch: int, value: float, fold_values: Sequence[float] = ()) -> bool:
        """Report an epoch (1-based) and return whether the pruner stops the trial there.

        A trial that `is_reference` always finishes. Between comparisons nothing is decided, so nothing is
        written either.
        """
        if self.shared is not None:
            self.shared.live()
        if not self.method.pruner.decides_at(epoch, self.context.epochs):
            return False
        trial = self._running[number]
        with contextlib.suppress(*self._taken_over):
            trial.report(value, epoch)
            if self.method.pruner.compares_folds:
                trial.set_user_attr(f"{FOLD_VALUES}{epoch}", list(fold_values))
            is_worse = trial.should_prune()  # called for every trial: a pruner may take notes in this call
            return is_worse and not is_reference(number, is_first_point="recipe" in trial.user_attrs)
        return False

    def tell(self, record: TrialRecord) -> None:
        """Tell Optuna the result of a trial, unless another driver has taken it over meanwhile."""
        trial = self._running.pop(record.number)
        with contextlib.suppress(*self._taken_over):
            if is_unopened(record):
                trial.set_user_attr(UNOPENED, True)
            else:
                self.allowance.open_trial(record.number)
            self.allowance.end_trial(record.number)
            self.allowance.learn(record)
            trial.set_user_attr("state", record.state)
            if record.cause is not None:
                trial.set_user_attr("cause", record.cause)
            outcome = outcome_of(record, self.method.objectives)
            if self.shared is not None and record.state == "complete":
                metric = self.method.objectives.metrics[0]
                trial.set_user_attr(FOLDS, [own[metric] for own in record.fold_metrics if metric in own])
            for name, violation in outcome.constraints.items():
                trial.set_constraint(name, violation)
            for epoch, value in outcome.intermediate_values.items():
                trial.report(value, epoch)
            self.study.tell(trial, outcome.values, outcome.state)


def open_study(
    *,
    storage: str | None,
    journal: Path,
    name: str,
    directions: Sequence[Direction] = ("maximize",),
    is_new: bool,
    patience: Patience | None = None,
    is_alone: bool = False,
) -> optuna.Study:
    """Create the study of a run, or open it again.

    Args:
        storage: Any Optuna storage URL; None for a journal file.
        journal: Path of the journal file; a damaged one is cut back to its last whole line.
        name: Name of the study within its storage.
        directions: Direction in which each metric is optimised.
        is_new: Create the study, which must not exist yet; else it must exist.
        patience: How long is waited for a storage that does not answer, or for room on its disk, once it is
            open; None for as long as the default.
        is_alone: The study is of one search alone.

    Raises:
        MissingStudyError: If there is no such study to open again, or its journal cannot be understood.
        StudyExistsError: If a new study exists.
        ConfigError: If an old study has other directions, or the storage cannot be opened.

    Returns:
        The study, whose sampler and pruner `OptunaStudy` makes.
    """
    _say_only_errors()
    shown = without_password(storage) if storage else ""
    waits = patience or Patience()
    try:
        if storage:
            place = open_storage(storage, waits, is_alone=is_alone)
        else:
            place = LongStudyStorage(RunJournal(journal, waits))
        if is_new:
            study = optuna.create_study(storage=place, study_name=name, directions=list(directions))
        else:
            study = optuna.load_study(storage=place, study_name=name)
            study.get_trials(deepcopy=False)
    except optuna.exceptions.DuplicatedStudyError as error:
        raise StudyExistsError(
            f"{shown} holds a study {name!r} already; give the search another --name, or let both work on "
            "one study that --study names"
        ) from error
    except KeyError as error:
        raise MissingStudyError(f"{shown or journal} holds no study {name!r}") from error
    except ConfigError:
        raise
    except Exception as error:
        needed = f"; a password is read from {PASSWORD}" if shown else ""
        message = f"the Optuna storage {shown or journal} cannot be opened: {what_was_said(error)}{needed}"
        raise (ConfigError if storage else MissingStudyError)(message) from error
    known = [direction.name.lower() for direction in study.directions]
    if known != list(directions):
        raise ConfigError(
            f"study {name} in {shown or journal} {_said(known)} its values; this search {_said(directions)} "
            "them, give it another --name"
        )
    return study


def study_in_memory() -> optuna.Study:
    """Create a study that maximises one metric and is kept nowhere, for simulations."""
    _say_only_errors()
    return optuna.create_study(direction="maximize")


def _say_only_errors() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A resumed trial reports epochs again that the study has; the first report counts.
    warnings.filterwarnings("ignore", message="The reported value is ignored")
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def _said(directions: Sequence[str]) -> str:
    """Directions as a verb: `maximizes`, or `maximizes and minimizes` for two metrics."""
    return " and ".join(f"{direction}s" for direction in directions)


def _drawn(params: Mapping[str, Any]) -> Draw:
    return lambda name, own: params[name]
