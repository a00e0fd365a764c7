"""Recovery of a study from the records of a run, which are the truth about the trials that have ended.

A power failure can take the end of the study's storage, and a hand or a disk all of it. A study that went on
from there would hand out the numbers of finished trials again. So before a search goes on, study and records
are compared both ways: what is recorded is in the study, and what the study holds as ended but is recorded
nowhere is run again.
"""

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

from orchestrator.study.outcome import UNOPENED, is_unopened, outcome_of
from orchestrator.study.patience import Patience
from orchestrator.study.shared import SharedTrials, begun_or_joined, check_facts
from orchestrator.study.storage import open_storage
from orchestrator.study.study import MissingStudyError, open_study
from orchestrator.study.trial_spec import is_first_point
from results.run.records import TrialRecord
from results.scores.ranking import Direction, Objectives
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint, matching_params, suggest_enqueued
from search_spaces.fixed_params import FixedParamsTrial
from search_spaces.registry import Space
from trainables.common.errors import ConfigError
from trainables.common.files import free_name, write_atomically
from trainables.config.trial_config import decode, flatten

_OPEN: Final = (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True, slots=True)
class WaitingTrial:
    """A trial of the study that is yet to run.

    Attributes:
        params: Parameters that it is to have; the sampler proposes those that are missing.
        attributes: Recipe and settings, for a first point.
    """

    params: Mapping[str, Any]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TrialSource:
    """What trials of a study are made from again.

    Attributes:
        space: Search space.
        context: Facts that the conditions of the space depend on.
        fixed_params: Settings held fixed.
        objectives: What the search optimises and requires.
        initial_points: Points that the search tries first, in order: point k is trial k.
    """

    space: Space
    context: SpaceContext
    fixed_params: Mapping[str, Any]
    objectives: Objectives
    initial_points: Sequence[InitialPoint] = ()

    def ended(self, record: TrialRecord) -> FrozenTrial:
        """Return the trial of a record, with the parameters that the space still has."""
        distributions = self._distributions(record)
        params = {name: record.params[name] for name in distributions}
        outcome = _outcome(record, self.objectives)
        with contextlib.suppress(ValueError):  # a parameter that is outside of the space by now
            return create_trial(params=params, distributions=distributions, **outcome)
        return create_trial(**outcome)

    def to_run(self, number: int) -> WaitingTrial:
        """Return a trial that is recorded nowhere: a first point, or one that the sampler proposes."""
        if number >= len(self.initial_points):
            return WaitingTrial({}, {})
        point = self.initial_points[number]
        config = point.configure(self.fixed_params, epochs=self.context.epochs)
        return WaitingTrial(
            matching_params(self.space.function, self.context, config),
            {"recipe": point.recipe, "settings": flatten(config.model_dump(mode="json"))},
        )

    def _distributions(self, record: TrialRecord) -> dict[str, Any]:
        """Distributions of a record's parameters, found by asking the space for its configuration again."""
        trial = FixedTrial(dict(record.params))
        with contextlib.suppress(Exception):  # the space may be the user's own, or have changed since
            if is_first_point(record.recipe):
                suggest_enqueued(self.space.function, self.context, decode(record.config), trial)
            else:
                asked = FixedParamsTrial(trial, self.fixed_params)
                self.space.function(asked, self.context)  # type: ignore[arg-type]
        return {name: own for name, own in trial.distributions.items() if name in record.params}


def _outcome(record: TrialRecord, objectives: Objectives) -> dict[str, Any]:
    """State, values and remarks of a trial, as `OptunaStudy.tell` would have left them."""
    attributes: dict[str, Any] = {"state": record.state, "cause": record.cause}
    if is_first_point(record.recipe):  # by its settings others are known not to repeat it
        attributes |= {"recipe": record.recipe, "settings": dict(record.config)}
    if is_unopened(record):
        attributes[UNOPENED] = True
    outcome = outcome_of(record, objectives)
    return {
        "user_attrs": {name: value for name, value in attributes.items() if value is not None},
        "state": outcome.state,
        "values": outcome.values,
        "constraints": dict(outcome.constraints),
        "intermediate_values": dict(outcome.intermediate_values),
    }


def reconciled(
    stored: Sequence[FrozenTrial], records: Mapping[int, TrialRecord], source: TrialSource
) -> list[FrozenTrial | WaitingTrial]:
    """Return the trials that a study must hold, in order of their numbers.

    Args:
        stored: Trials of the study, in order of their numbers; trials that stay are returned as they are.
        records: Trial number -> record, for trials that have ended and are not to be run again.
        source: What missing trials are made from.
    """
    count = max(len(stored), max(records, default=-1) + 1, len(source.initial_points))
    wanted: list[FrozenTrial | WaitingTrial] = []
    for number in range(count):
        kept = stored[number] if number < len(stored) else None
        record = records.get(number)
        if record is not None:
            wanted.append(kept if kept is not None and _fits(kept, record) else source.ended(record))
        elif kept is None:
            wanted.append(source.to_run(number))
        else:
            wanted.append(kept if kept.state in _OPEN else _again(kept))
    return wanted


def _again(trial: FrozenTrial) -> WaitingTrial:
    attributes: dict[str, Any] = {
        name: value for name, value in trial.user_attrs.items() if name in ("recipe", "settings")
    }
    return WaitingTrial(trial.params, attributes)


def _fits(trial: FrozenTrial, record: TrialRecord) -> bool:
    """Tell whether a trial of the study is, or while it runs will be, the one that was recorded."""
    if trial.state is TrialState.WAITING:
        return False
    if trial.state.is_finished() and (trial.state is TrialState.COMPLETE) != (record.state == "complete"):
        return False
    return bool(json.loads(json.dumps(trial.params, default=str)) == dict(record.params))


@dataclass(frozen=True, slots=True)
class Recovery:
    """A study that was opened again.

    Attributes:
        study: The study; it fits the records.
        run_again: Number of trials that it held as ended, and that are run again for want of a record.
        messages: What had to be mended, in sentences.
    """

    study: optuna.Study
    run_again: int
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StudyPlace:
    """Where the study of a run lies, and how it is opened.

    Attributes:
        storage: Any Optuna storage URL; None for the journal file.
        journal: Path of the journal file.
        name: Name of the study within its storage.
        directions: Direction in which each metric is optimised.
        driver: Identity of this search among those that work on the study; empty for a study of its own.
        facts: What all of them must agree about.
        patience: Patience with the storage.
    """

    storage: str | None
    journal: Path
    name: str
    directions: Sequence[Direction]
    driver: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)

    def open(self, *, is_new: bool) -> optuna.Study:
        """Create the study, or open it again; see `open_study`."""
        return open_study(
            storage=self.storage,
            journal=self.journal,
            name=self.name,
            directions=self.directions,
            is_new=is_new,
            patience=self.patience,
            is_alone=not self.driver,
        )

    def begin(self) -> tuple[optuna.Study, bool]:
        """Create the study, or join the one that another search has made; returns whether it is new.

        Raises:
            ConfigError: If that is not possible.
        """
        if not self.driver:
            return self.open(is_new=True), True
        return begun_or_joined(lambda is_new: self.open(is_new=is_new), self.facts)

    def recovered(self, records: Mapping[int, TrialRecord], source: TrialSource) -> "Recovery":
        """Open the study again, and bring it up to date with the records.

        What it held before stays beside a journal file that is replaced, as `study.log.replaced`.

        Raises:
            ConfigError: If the storage cannot be opened, or a study of several searches has lost trials.
        """
        if self.driver:
            return self._rejoined(records)
        messages = []
        try:
            study: optuna.Study | None = self.open(is_new=False)
        except MissingStudyError as error:
            study = None
            messages.append(f"{error}; the study is made anew from {len(records)} records")
        stored = [] if study is None else study.get_trials(deepcopy=False)
        wanted = reconciled(stored, records, source)
        if study is None or any(new is not old for new, old in zip(wanted, stored, strict=False)):
            study = self._replaced(wanted)
        else:
            _add(study, wanted[len(stored) :])
        added = sum(number >= len(stored) for number in records)
        if added and not messages:
            messages.append(f"the study had lost the end of {added} of its trials; the records have it")
        ended = [new for new, old in zip(wanted, stored, strict=False) if old.state.is_finished()]
        return Recovery(study, sum(isinstance(new, WaitingTrial) for new in ended), tuple(messages))

    def _rejoined(self, records: Mapping[int, TrialRecord]) -> "Recovery":
        """Open a study that others work on, too: nothing that it holds is replaced."""
        try:
            study = self.open(is_new=False)
        except MissingStudyError as error:
            raise ConfigError(
                f"{error}; other searches have trials in it, so that it cannot be made anew from the records "
                "of this one: bring its database back"
            ) from error
        check_facts(study, self.facts)
        trials = SharedTrials(study, self.driver)
        own = {trial.number for trial in study.get_trials(deepcopy=False) if trials.is_own(trial)}
        foreign = sorted(records.keys() - own)
        if foreign:
            raise ConfigError(
                f"study {self.name} does not know trial {foreign[0]} of this run any more"
                + (f", nor {len(foreign) - 1} others" if len(foreign) > 1 else "")
                + ": its database is older than the records. Bring the newer one back; the records stay"
            )
        again = trials.ended_without(records)
        for trial in again:
            trials.run_again(trial)
        lost = trials.release_lost()
        messages = [
            f"{len(again)} trials of this run are tried again under new numbers, by whichever search asks "
            "first"
        ]
        if lost:
            messages.append(f"{lost} trials that a killed search had taken and not begun are tried again")
        return Recovery(study, 0, tuple(messages if again else messages[1:]))

    def _replaced(self, wanted: Sequence[FrozenTrial | WaitingTrial]) -> optuna.Study:
        """A study of these trials in the place of the former one."""
        if self.storage is not None:
            with contextlib.suppress(KeyError):
                optuna.delete_study(storage=open_storage(self.storage, self.patience), study_name=self.name)
            study = self.open(is_new=True)
            _add(study, wanted)
            return study
        draft = self.journal.with_name(f"{self.journal.name}.new")
        draft.unlink(missing_ok=True)
        _add(replace(self, journal=draft).open(is_new=True), wanted)
        if self.journal.exists() and self.journal.stat().st_size:
            shutil.copyfile(self.journal, free_name(self.journal, "replaced"))
        write_atomically(self.journal, draft.read_bytes())
        draft.unlink()
        return self.open(is_new=False)


def _add(study: optuna.Study, trials: Sequence[FrozenTrial | WaitingTrial]) -> None:
    for trial in trials:
        if isinstance(trial, WaitingTrial):
            study.enqueue_trial(dict(trial.params), user_attrs=dict(trial.attributes))
        else:
            study.add_trial(trial)
