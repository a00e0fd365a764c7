"""The Optuna study of a search: it proposes configurations, prunes trials and learns every outcome.

Trials that crash, run out of memory or get a loss of NaN or infinity are reported to Optuna as PRUNED: the
sampler learns from pruned trials, but ignores failed ones and would keep proposing configurations that crash.
The true cause stays in the record and as a user attribute of the trial.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.storages import JournalStorage
from optuna.trial import TrialState

from orchestrator.study.journal import RunJournal
from orchestrator.study.optuna_private import open_trial
from orchestrator.study.pruners import REDUCTION, first_rung, is_rung
from orchestrator.study.samplers import BoundedSampler
from orchestrator.study.trial_spec import InvalidPointError, TrialSpec
from results.run.records import TrialRecord
from results.run.storage_url import PASSWORD, with_password, without_password
from results.scores.ranking import Direction
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint, matching_params, suggest_enqueued
from search_spaces.registry import Space
from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig, decode, flatten

_NEVER_PRUNED: Final = 4  # first trials that always finish
_SAMPLE: Final = 64


class MissingStudyError(ConfigError):
    """A study that is not in its storage, or cannot be read there."""


class OptunaStudy:
    """The trials of one Optuna study: asks for them, prunes them and tells their results.

    Args:
        study: Optuna study from `open_study`.
        space: Search space.
        context: Facts that the conditions of the space depend on.
        fixed_params: Settings held fixed.
        trials: Number of trials, those already in the study included.

    Attributes:
        handed_out: Number of trials that were asked for, finished ones included.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        context: SpaceContext,
        fixed_params: Mapping[str, Any],
        *,
        trials: int,
    ) -> None:
        self.study, self.space, self.context, self.fixed_params, self.trials = (
            study,
            space,
            context,
            fixed_params,
            trials,
        )
        self._first_rung = first_rung(context.epochs)
        self._running: dict[int, optuna.Trial] = {}
        self._orphans: list[optuna.Trial] = []
        # Counted once: reading all trials at each ask would make a search slower as it grows.
        states = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        self.handed_out = len(study.get_trials(deepcopy=False, states=states))

    def enqueue(self, points: Sequence[InitialPoint]) -> None:
        """Put points in the queue, which Optuna empties before the sampler proposes anything."""
        for point in points:
            config = point.configure(self.fixed_params, epochs=self.context.epochs)
            self.study.enqueue_trial(
                matching_params(self.space.function, self.context, config),
                user_attrs={"recipe": point.recipe, "settings": flatten(config.model_dump(mode="json"))},
            )

    @property
    def has_more(self) -> bool:
        """True if `ask` has a trial to hand out."""
        return bool(self._orphans) or self.handed_out < self.trials

    def adopt(self, records: Mapping[int, TrialRecord]) -> int:
        """Take over trials that an interrupted search left running.

        If the record of a trial was written, its result is told to Optuna; the others will be run again under
        their own numbers.

        Args:
            records: Trial number -> record in the run folder.

        Returns:
            The number of trials that will be run again.
        """
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._running[frozen.number] = open_trial(self.study, frozen)
            record = records.get(frozen.number)
            if record is not None:
                self.tell(record)
            else:
                self._orphans.append(self._running.pop(frozen.number))
        return len(self._orphans)

    def ask(self) -> TrialSpec | None:
        """Return the next trial, or None when all have been handed out.

        Raises:
            InvalidPointError: If the space proposes a point that cannot run.
        """
        if self._orphans:
            trial = self._orphans.pop(0)
        elif self.handed_out >= self.trials:
            return None
        else:
            trial = self.study.ask()
            self.handed_out += 1
        self._running[trial.number] = trial
        try:
            config = self._configure(trial)
        except ConfigError as error:
            raise InvalidPointError(trial.number, dict(trial.params), str(error)) from error
        except Exception as error:  # a space may be the user's own code
            message = f"space {self.space.name} failed: {error!r}"
            raise InvalidPointError(trial.number, dict(trial.params), message) from error
        return TrialSpec(trial.number, config, dict(trial.params), trial.user_attrs.get("recipe", ""))

    def _configure(self, trial: optuna.Trial) -> TrialConfig:
        settings = trial.user_attrs.get("settings")
        if settings is None:
            return self.space.configure(trial, self.context, self.fixed_params)
        config = decode(settings)
        suggest_enqueued(self.space.function, self.context, config, trial)
        return config

    def should_prune(self, number: int, epoch: int, value: float) -> bool:
        """Report an epoch (1-based) and return whether the trial is worse than its peers at that epoch.

        Initial points always finish, as a reference for all others, and so do the first few trials: with two
        or three at an epoch, "the better half" is chance. Between rungs nothing is decided, so nothing is
        written either.
        """
        if not is_rung(epoch, self._first_rung):
            return False
        trial = self._running[number]
        trial.report(value, epoch)
        is_worse = trial.should_prune()  # called for every trial: the pruner records its rungs in this call
        return is_worse and number >= _NEVER_PRUNED and "recipe" not in trial.user_attrs

    def tell(self, record: TrialRecord) -> None:
        """Tell Optuna the result of a trial."""
        trial = self._running.pop(record.number)
        trial.set_user_attr("state", record.state)
        if record.cause is not None:
            trial.set_user_attr("cause", record.cause)
        if record.state == "complete":
            self.study.tell(trial, record.value)
        elif record.cause == "environment":
            self.study.tell(trial, state=TrialState.FAIL)  # it says nothing about the configuration
        else:
            # The sampler ranks unfinished trials by their last epoch.
            if record.value is not None and record.epochs > 0:
                trial.report(record.value, record.epochs)
            self.study.tell(trial, state=TrialState.PRUNED)


def open_study(
    *,
    storage: str | None,
    journal: Path,
    name: str,
    seed: int,
    epochs: int,
    direction: Direction = "maximize",
    is_new: bool,
) -> optuna.Study:
    """Create the study of a run, or open it again.

    Args:
        storage: Any Optuna storage URL; None for a journal file.
        journal: Path of the journal file; a damaged one is cut back to its last whole line.
        name: Name of the study within its storage.
        seed: Random seed of the sampler.
        epochs: Largest number of epochs of a trial.
        direction: Direction in which the metric is optimised.
        is_new: Create the study, which must not exist yet; else it must exist.

    Raises:
        MissingStudyError: If there is no such study to open again, or its journal cannot be understood.
        ConfigError: If a new study exists, an old one has the other direction, or the storage cannot be
            opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A resumed trial reports epochs again that the study has; the first report counts.
    warnings.filterwarnings("ignore", message="The reported value is ignored")
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    pruner = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=first_rung(epochs), reduction_factor=REDUCTION
    )
    shown = without_password(storage) if storage else ""
    try:
        place: Any = with_password(storage) if storage else JournalStorage(RunJournal(journal))
        if is_new:
            study = optuna.create_study(storage=place, study_name=name, direction=direction, pruner=pruner)
        else:
            study = optuna.load_study(storage=place, study_name=name, pruner=pruner)
            study.get_trials(deepcopy=False)
    except optuna.exceptions.DuplicatedStudyError as error:
        raise ConfigError(
            f"{shown} holds a study {name!r} already; give the search another --name"
        ) from error
    except KeyError as error:
        raise MissingStudyError(f"{shown or journal} holds no study {name!r}") from error
    except Exception as error:
        needed = f"; a password is read from {PASSWORD}" if shown else ""
        reason = without_password(str(error))
        message = f"the Optuna storage {shown or journal} cannot be opened: {reason}{needed}"
        raise (ConfigError if storage else MissingStudyError)(message) from error
    known = study.direction.name.lower()
    if known != direction:
        raise ConfigError(
            f"study {name} in {shown or journal} {known}s its values; this search {direction}s them, give it "
            "another --name"
        )
    # Without the shift of the seed a resumed search would draw the same points again as at its start.
    study.sampler = BoundedSampler(seed + len(study.get_trials(deepcopy=False)))
    return study


def check_space(space: Space, context: SpaceContext, fixed_params: Mapping[str, Any]) -> list[TrialConfig]:
    """Draw points at random before anything runs, so that a broken space stops the search before it starts.

    Returns:
        The drawn configurations.

    Raises:
        ConfigError: If a point is not a valid configuration, or the space fails.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    configs: list[TrialConfig] = []
    for _ in range(_SAMPLE):
        trial = study.ask()
        try:
            configs.append(space.configure(trial, context, fixed_params))
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"space {space.name} failed on {trial.params}: {error!r}") from error
    return configs
