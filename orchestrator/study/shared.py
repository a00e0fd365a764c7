"""A study that several searches work on together: whose a trial is, which trials count, what must agree.

Each search, which is a driver of the study, has a run folder of its own, with the records of its own trials.
The study hands out the numbers, so that none is given twice, and `--trials` counts the trials of all drivers.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from orchestrator.study.optuna_private import started_trial
from orchestrator.study.storage import TAKEN
from results.run.records import SearchRecord
from trainables.common.errors import ConfigError

DRIVER: Final = "driver"  # attribute of a trial: the search that runs it
FOLDS: Final = "fold_values"  # attribute of a complete trial: the metric of each fold, for the terminator
_FACTS: Final = "search"  # attribute of a study: what all its drivers must agree about
_DISCARDED: Final = "discarded"  # attribute of a trial that was one too many
_RUN_AGAIN: Final = "run_again:"  # attribute of a study, with the number of a trial that was replaced
_ALIVE: Final = "alive:"  # attribute of a study, with the name of a driver: when it last gave a sign of life
_LOST_AFTER: Final = timedelta(minutes=10)  # whoever took a trial and did not note it was killed
_GONE_AFTER: Final = timedelta(
    days=1
)  # a driver that gave no sign; should it come back, its trials are others'
_UNKNOWN_ZONE: Final = timedelta(hours=26)  # between the earliest and the latest clock on a wall of the earth
_SIGN_SECONDS: Final = 600.0  # between two signs of life
_FACTS_SECONDS: Final = 5.0  # between the making of a study and its facts lie milliseconds
_LOOK_SECONDS: Final = 0.1


class StudyExistsError(ConfigError):
    """A study that is there already."""


class SharedTrials:
    """The trials of a shared study, as one of its drivers sees them.

    Args:
        study: The study.
        driver: Identity of this search among the drivers.
    """

    def __init__(self, study: optuna.Study, driver: str) -> None:
        self.study, self.driver = study, driver
        self._sign_at = -math.inf
        self._heard = set[int]()  # numbers of trials of others whose end is known
        self._again = {  # they have been replaced
            int(name.removeprefix(_RUN_AGAIN)) for name in study.user_attrs if name.startswith(_RUN_AGAIN)
        }

    def is_own(self, trial: FrozenTrial) -> bool:
        """Tell whether a trial was handed out to this search."""
        return bool(trial.user_attrs.get(DRIVER) == self.driver)

    def counted(self) -> list[FrozenTrial]:
        """Trials that count as such, waiting ones included, in order of their numbers."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if self._counts(trial)]

    @property
    def handed_out(self) -> int:
        """Number of trials that were handed out to any driver."""
        return sum(trial.state is not TrialState.WAITING for trial in self.counted())

    def ask(self, limit: int) -> optuna.Trial | None:
        """Start a trial; None if as many as that have been started.

        Two drivers may both see that one trial is left, and both start it. Their numbers decide which of the
        two is one too many, and it is given back.

        Args:
            limit: Number of trials of all drivers.
        """
        self.live()
        trial = started_trial(self.study, {DRIVER: self.driver})
        if sum(other.number < trial.number for other in self.counted()) < limit:
            return trial
        trial.set_user_attr(_DISCARDED, True)
        self.study.tell(trial, state=TrialState.FAIL)
        return None

    def live(self) -> None:
        """Give a sign of life, by which others know that the trials of this driver are worked at."""
        now = time.monotonic()
        if now - self._sign_at >= _SIGN_SECONDS:
            self._sign_at = now
            self.study.set_user_attr(f"{_ALIVE}{self.driver}", datetime.now(UTC).isoformat())

    def ended_elsewhere(self) -> list[FrozenTrial]:
        """Complete trials of other drivers that this search has not heard of yet, by their numbers."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        found = [own for own in complete if not self.is_own(own) and own.number not in self._heard]
        self._heard.update(trial.number for trial in found)
        return found

    def ended_without(self, recorded: Mapping[int, Any]) -> list[FrozenTrial]:
        """Trials of this search that the study holds as ended, but that have no record any more."""
        return [
            trial
            for trial in self.counted()
            if self.is_own(trial) and trial.state.is_finished() and trial.number not in recorded
        ]

    def run_again(self, trial: FrozenTrial) -> None:
        """Put the point of an ended trial in the queue again, with a new number; the old one counts not."""
        self.study.set_user_attr(f"{_RUN_AGAIN}{trial.number}", True)
        self._again.add(trial.number)
        self._enqueue(trial)

    def release_lost(self) -> int:
        """Put points back that a search took and will not end; returns how many.

        It was killed before it noted them, or has given no sign of life for a day. One of an earlier version
        gives none: its trials stay its own.
        """
        count, signs = 0, self.study.user_attrs
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            driver = trial.user_attrs.get(DRIVER)
            sign = signs.get(f"{_ALIVE}{driver}")
            is_gone = sign is not None and driver != self.driver and _is_older(sign, _GONE_AFTER)
            if not (_is_taken_and_lost(trial) if driver is None else is_gone):
                continue
            try:
                self.study.tell(trial.number, state=TrialState.FAIL)
            except (ValueError, UpdateFinishedTrialError):
                continue  # another driver was faster
            if driver is None:
                self._enqueue(trial)
            else:
                self.run_again(trial)
            count += 1
        return count

    def _enqueue(self, trial: FrozenTrial) -> None:
        kept = {name: own for name, own in trial.user_attrs.items() if name in ("recipe", "settings")}
        params = trial.params or trial.system_attrs.get("fixed_params", {})
        self.study.enqueue_trial(dict(params), user_attrs=kept)

    def _counts(self, trial: FrozenTrial) -> bool:
        if trial.user_attrs.get(_DISCARDED) or trial.number in self._again:
            return False
        return trial.state is not TrialState.FAIL or DRIVER in trial.user_attrs


def _is_older(moment: str, age: timedelta) -> bool:
    """Tell whether a moment in ISO 8601, with its time zone, is longer ago than that."""
    return datetime.now(UTC) - datetime.fromisoformat(moment) > age


def _is_taken_and_lost(trial: FrozenTrial) -> bool:
    """Tell whether a trial was taken so long ago that whoever did has not lived to note it."""
    taken = trial.user_attrs.get(TAKEN)
    if taken is not None:
        return _is_older(taken, _LOST_AFTER)
    start = trial.datetime_start  # of an earlier version, by a clock on the wall somewhere
    return start is not None and datetime.now() - start.replace(tzinfo=None) > _LOST_AFTER + _UNKNOWN_ZONE


def facts_of(search: SearchRecord, split_digest: str) -> dict[str, Any]:
    """Return what all drivers of a study must agree about: else their values could not be compared.

    Args:
        search: Request and facts of the search.
        split_digest: Digest of its split.
    """
    request = search.request
    return {
        "task": _digest(search.task_definition.__dict__ if request.own_task else search.task),
        "data": search.fingerprint[:16],
        "split": split_digest[:16],
        "unit": request.unit,
        "metrics": list(search.metrics),
        "requirements": list(request.requirements),
        "folds": search.folds,
        "seed": request.seed,
        "epochs": request.epochs,
        "space": request.space_name,
        "set": _digest(request.fixed_params),
        "pruner": search.pruner,
        "weights": _digest(search.weights),
        "space_context": {name: _digest(own) for name, own in search.space_context.items()},
    }


def begun_or_joined(
    open_study: Callable[[bool], optuna.Study], facts: Mapping[str, Any]
) -> tuple[optuna.Study, bool]:
    """Make a shared study, or join the one that another search has made.

    Args:
        open_study: Function that makes the study if it is given True, and opens it if it is given False.
        facts: What all drivers must agree about.

    Returns:
        The study, and whether it was made here.

    Raises:
        ConfigError: If the study is of another search, or its storage cannot be opened.
    """
    try:
        study = open_study(True)
    except StudyExistsError:
        study = open_study(False)
        check_facts(study, facts)
        return study, False
    study.set_user_attr(_FACTS, dict(facts))
    return study, True


def check_facts(study: optuna.Study, facts: Mapping[str, Any]) -> None:
    """Refuse a study whose trials could not be compared with those of this search.

    Raises:
        ConfigError: If it is of one search alone, or of searches that differ from this one.
    """
    end = time.monotonic() + _FACTS_SECONDS
    while (theirs := study.user_attrs.get(_FACTS)) is None and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    if not isinstance(theirs, Mapping):
        raise ConfigError(
            f"study {study.study_name} is of one search alone, which did not name it by --study; name another"
        )
    ours = json.loads(json.dumps(facts))
    different = [name for name in ours if theirs.get(name) != ours[name]]
    if different:
        said = "; ".join(_difference(name, theirs.get(name), ours[name]) for name in different)
        raise ConfigError(
            f"study {study.study_name} is of other searches than this one: {said}. Searches of one study "
            "have the same data, split, space and metrics; name another --study, or give the same options"
        )


def _difference(name: str, theirs: Any, ours: Any) -> str:
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        keys = [key for key in sorted(theirs.keys() | ours.keys()) if theirs.get(key) != ours.get(key)]
        return f"{', '.join(keys)} of {name} differ"
    return f"{name} is {_said(theirs)} there and {_said(ours)} here"


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
