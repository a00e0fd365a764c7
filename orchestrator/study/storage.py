"""Storages of studies by URL: SQLite, PostgreSQL, MySQL, and a journal that several searches write.

    sqlite:///FILE                  one machine
    postgresql://USER@HOST/DATABASE several machines; extra `postgresql`
    mysql://USER@HOST/DATABASE      several machines; extra `mysql`
    journal:///FILE[?lock=open]     several machines with a shared folder, NFS included

A database may be restarted, and a network may fail for a while: what is asked of it is asked again until it
answers, or the patience of the search is at its end.
"""

import copy
import errno
import uuid
import weakref
from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, get_storage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from orchestrator.study.journal import SharedJournal
from orchestrator.study.journal_lock import LOCKS
from orchestrator.study.optuna_private import LongStudyStorage, begun_trial, id_of
from orchestrator.study.patience import Patience, disk_reason
from results.run.storage_url import JOURNAL, journal_of, with_driver, with_password, without_password
from trainables.common.errors import ConfigError

TICKET: Final = "ticket"  # attribute of a new trial, by which it is found if its making was not answered
TAKEN: Final = "taken_at"  # attribute of a trial that waited: when a search took it, with its time zone
# What a file server that was restarted leaves: files that it does not know any more, among them such as are
# locked, which cannot be read or written until they are opened again.
_RESTARTED: Final = (errno.ESTALE, errno.ETIMEDOUT, errno.EIO, errno.EBADF)

_Found = TypeVar("_Found")


def open_storage(url: str, patience: Patience, *, is_alone: bool = False) -> BaseStorage:
    """Open the storage of a URL.

    Args:
        url: URL as the user gave it; a password that is not in it comes from the environment.
        patience: Patience with a storage that does not answer later on; the first answer is not waited for.
        is_alone: Nobody else starts trials of the studies that are asked for.

    Raises:
        ConfigError: If its driver is not installed, or the URL of a journal cannot be understood.
        Exception: Of SQLAlchemy or the operating system, if it cannot be opened.
    """
    if url.startswith(JOURNAL):
        path, lock = journal_of(url)
        if lock not in LOCKS:
            raise ConfigError(f"{url}: the lock of a journal is {' or '.join(LOCKS)}, found {lock!r}")
        place = Path(path).absolute()
        place.parent.mkdir(parents=True, exist_ok=True)
        return PatientStorage(LongStudyStorage(SharedJournal(place, lock)), patience, url, is_alone=is_alone)
    from orchestrator.study.databases import open_database  # SQLAlchemy takes a third of a second

    database = open_database(with_driver(with_password(url)))
    storage = PatientStorage(get_storage(database), patience, url, is_alone=is_alone)
    weakref.finalize(storage, database.engine.dispose)  # closes its connections
    return storage


def what_was_said(error: BaseException) -> str:
    """Return the first line of what a database said with an error, without passwords.

    >>> from sqlalchemy import exc
    >>> what_was_said(exc.OperationalError("SELECT 1", {}, Exception(1045, "Access denied for user 'me'")))
    "Access denied for user 'me'"
    """
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__  # Optuna's own words suppose that data are invalid, whatever the cause is
    # SQLAlchemy's errors hold the driver's; those of MySQL have a number.
    driver = getattr(error, "orig", None)
    said = error if driver is None else driver
    has_number = driver is not None and len(said.args) == 2 and isinstance(said.args[0], int)
    text = without_password(str(said.args[1] if has_number else said).strip())
    return text.splitlines()[0] if text else type(error).__name__


class PatientStorage(BaseStorage):
    """A storage that is asked again when it does not answer.

    What may have been done although no answer came is not done twice: a trial that was made is found by its
    ticket, which each gets here, and one that was ended stays so. One that waited and runs now was started by
    the try before, if nobody else starts any; where several searches do, it may be another one's, and
    `SharedTrials.release_lost` puts its point back if it is nobody's.

    Args:
        inner: The storage.
        patience: How long it is waited for.
        url: Its URL, for messages.
        is_alone: Nobody else starts trials of the studies that are asked for.
    """

    def __init__(self, inner: BaseStorage, patience: Patience, url: str, *, is_alone: bool = False) -> None:
        self.inner, self.patience, self._shown = inner, patience, without_password(url)
        self._is_alone = is_alone

    def _asked(self, act: Callable[[], _Found]) -> _Found:
        return self.patience.done(act, self._reason)

    def _reason(self, error: Exception) -> str | None:
        cause: BaseException | None = error
        if isinstance(error, OSError):
            return f"{self._shown}: {error.strerror}" if error.errno in _RESTARTED else disk_reason(error)
        if isinstance(error, StorageInternalError):
            cause = error.__cause__
        from orchestrator.study.databases import LOST_BETWEEN, PASSING

        if not isinstance(cause, PASSING):
            return None
        if isinstance(cause, LOST_BETWEEN):  # Optuna has asked a second time on the connection that broke
            return f"the study's storage {self._shown} does not answer (the connection was lost)"
        return f"the study's storage {self._shown} does not answer ({what_was_said(cause)})"

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Make a study."""
        return self._asked(lambda: self.inner.create_new_study(directions, study_name))

    def delete_study(self, study_id: int) -> None:
        """Remove a study."""
        self._asked(lambda: self.inner.delete_study(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of a study."""
        self._asked(lambda: self.inner.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of a study that samplers keep."""
        self._asked(lambda: self.inner.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        """Find a study."""
        return self._asked(lambda: self.inner.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        """Read the name of a study."""
        return self._asked(lambda: self.inner.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Read the directions of a study."""
        return self._asked(lambda: self.inner.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Read the attributes of a study."""
        return self._asked(lambda: self.inner.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Read the attributes of a study that samplers keep."""
        return self._asked(lambda: self.inner.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[Any]:
        """List all studies."""
        return self._asked(self.inner.get_all_studies)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial, once."""
        made = begun_trial() if template_trial is None else copy.copy(template_trial)
        ticket = uuid.uuid4().hex
        made.user_attrs = {**made.user_attrs, TICKET: ticket}  # a trial that was copied has an old one
        tries = 0

        def act() -> int:
            nonlocal tries
            tries += 1
            if tries > 1:
                for trial in self.inner.get_all_trials(study_id, deepcopy=False):
                    if trial.user_attrs.get(TICKET) == ticket:
                        return id_of(trial)
            return self.inner.create_new_trial(study_id, made)

        return self._asked(act)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter of a trial."""
        self._asked(
            lambda: self.inner.set_trial_param(trial_id, param_name, param_value_internal, distribution)
        )

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Find a trial by its number."""
        return self._asked(lambda: self.inner.get_trial_id_from_study_id_trial_number(study_id, trial_number))

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Start or end a trial; one that was ended by an earlier try stays as it is.

        Returns:
            False if the trial was to be started, and somebody else has.
        """
        tries = 0
        if state is TrialState.RUNNING and not self._is_alone:
            # Databases keep the start of a trial as the clock on the wall shows it where the search runs.
            self.set_trial_user_attr(trial_id, TAKEN, datetime.now(UTC).isoformat())

        def act() -> bool:
            nonlocal tries
            tries += 1
            try:
                is_set = self.inner.set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if tries == 1 or not state.is_finished():
                    raise
                return True
            if is_set or tries == 1 or not self._is_alone:
                return is_set
            return self.inner.get_trial(trial_id).state is state  # the try before has started it

        return self._asked(act)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Set the value of an epoch."""
        self._asked(lambda: self.inner.set_trial_intermediate_value(trial_id, step, intermediate_value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        self._asked(lambda: self.inner.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial that samplers keep."""
        self._asked(lambda: self.inner.set_trial_system_attr(trial_id, key, value))

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Read a trial."""
        return self._asked(lambda: self.inner.get_trial(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Read the trials of a study in some states, in order of their numbers."""
        return self._asked(lambda: self.inner.get_all_trials(study_id, deepcopy, states))

    def remove_session(self) -> None:
        """Give the connection of this thread back."""
        self.inner.remove_session()
