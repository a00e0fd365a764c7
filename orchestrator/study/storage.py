"""Storages of studies by URL: SQLite, PostgreSQL, MySQL, and a journal that several searches write.

    sqlite:///FILE                  one machine
    postgresql://USER@HOST/DATABASE several machines; extra `postgresql`
    mysql://USER@HOST/DATABASE      several machines; extra `mysql`
    journal:///FILE[?lock=open]     several machines with a shared folder, NFS included

A database may be restarted, and a network may fail for a while: what is asked of it is asked again until it
answers, or the patience of the search is at its end.
"""

import errno
import random
import time
import weakref
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event, exc, make_url

from orchestrator.study.journal import SharedJournal
from orchestrator.study.journal_lock import LOCKS
from orchestrator.study.optuna_private import LongStudyStorage, id_of
from orchestrator.study.patience import Patience, disk_reason
from results.run.storage_url import JOURNAL, journal_of, with_driver, with_password, without_password
from trainables.common.errors import ConfigError

TICKET: Final = "ticket"  # attribute of a new trial, by which it is found if its making was not answered
_OPEN_AGAIN: Final = 10  # times: two that open an empty database at once both make its tables
_OPEN_AGAIN_SECONDS: Final = (0.05, 0.25)  # between two of these tries, drawn so that they do not keep step
_LOST_BETWEEN: Final = exc.PendingRollbackError  # a query after one whose connection was lost
_PASSING: Final = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,
    exc.TimeoutError,
    _LOST_BETWEEN,
)
# What a file server that was restarted leaves: files that it does not know any more, among them such as are
# locked, which cannot be read or written until they are opened again.
_RESTARTED: Final = (errno.ESTALE, errno.ETIMEDOUT, errno.EIO, errno.EBADF)

_Found = TypeVar("_Found")


def open_storage(url: str, patience: Patience) -> BaseStorage:
    """Open the storage of a URL.

    Args:
        url: URL as the user gave it; a password that is not in it comes from the environment.
        patience: Patience with a storage that does not answer later on; the first answer is not waited for.

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
        return PatientStorage(LongStudyStorage(SharedJournal(place, lock)), patience, url)
    database = _database(with_driver(with_password(url)))
    storage = PatientStorage(get_storage(database), patience, url)
    weakref.finalize(storage, database.engine.dispose)  # closes its connections
    return storage


def _database(url: str) -> RDBStorage:
    """A database, with connections that notice when the other end is gone.

    Two searches that open an empty database at once both make its tables; one of them is refused, and finds
    them made at its next try.
    """
    options: dict[str, Any] = {"pool_pre_ping": True, "connect_args": _connection(url)}
    for left in reversed(range(_OPEN_AGAIN)):
        try:
            database = RDBStorage(url, engine_kwargs=options)
            if make_url(url).drivername.startswith("sqlite"):
                _exclude_others(database)
            return database
        except ImportError as error:
            name = "mysql" if url.startswith("mysql") else "postgresql"
            raise ConfigError(
                f"the driver of {without_password(url)} is not installed: {error.__cause__ or error}; "
                f"install it with: pip install 'breast-image-orchestrator[{name}]'"
            ) from error
        except (exc.ProgrammingError, exc.IntegrityError, exc.OperationalError) as error:
            # SQLite and MySQL say so with the error that also stands for a storage which does not answer.
            is_of_the_race = not isinstance(error, exc.OperationalError) or "already exists" in str(error)
            if not left or not is_of_the_race:
                raise
            time.sleep(random.uniform(*_OPEN_AGAIN_SECONDS))  # the other makes a dozen tables meanwhile
    raise AssertionError("the last try returns or raises")


def _exclude_others(database: RDBStorage) -> None:
    """Let a transaction of SQLite exclude all others from its first read on.

    SQLite cannot lock a row, which Optuna asks for: two searches would both read that a point waits, and both
    take it.
    """

    def leave_transactions_to_us(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # else Python's driver begins one at the first change

    event.listen(database.engine, "connect", leave_transactions_to_us)
    event.listen(database.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    database.engine.dispose()  # connections that were opened before


def _connection(url: str) -> dict[str, Any]:
    """Arguments of a connection: a server that vanished without a word is noticed within a minute."""
    driver = make_url(url).drivername
    if driver in ("postgresql+psycopg", "postgresql+psycopg2"):
        alive = {"keepalives": 1, "keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3}
        # The encoding: of a database without one, texts come as bytes, which SQLAlchemy does not expect.
        return {"connect_timeout": 10, "tcp_user_timeout": 60_000, "client_encoding": "utf8", **alive}
    if driver == "mysql+pymysql":
        return {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}
    if driver.startswith("sqlite"):
        return {"timeout": 60}  # while another search writes
    return {}


def what_was_said(error: BaseException) -> str:
    """Return the first line of what a database said with an error, without passwords.

    >>> what_was_said(exc.OperationalError("SELECT 1", {}, Exception(1045, "Access denied for user 'me'")))
    "Access denied for user 'me'"
    """
    driver = getattr(
        error, "orig", None
    )  # SQLAlchemy's errors hold the driver's; those of MySQL have a number
    said = error if driver is None else driver
    has_number = driver is not None and len(said.args) == 2 and isinstance(said.args[0], int)
    text = without_password(str(said.args[1] if has_number else said).strip())
    return text.splitlines()[0] if text else type(error).__name__


class PatientStorage(BaseStorage):
    """A storage that is asked again when it does not answer.

    What may have been done although no answer came is not done twice: a trial that was made is found by its
    ticket, and one that was ended stays so.

    Args:
        inner: The storage.
        patience: How long it is waited for.
        url: Its URL, for messages.
    """

    def __init__(self, inner: BaseStorage, patience: Patience, url: str) -> None:
        self.inner, self.patience, self._shown = inner, patience, without_password(url)

    def _asked(self, act: Callable[[], _Found]) -> _Found:
        return self.patience.done(act, self._reason)

    def _reason(self, error: Exception) -> str | None:
        cause: BaseException | None = error
        if isinstance(error, OSError):
            return f"{self._shown}: {error.strerror}" if error.errno in _RESTARTED else disk_reason(error)
        if isinstance(error, StorageInternalError):
            cause = error.__cause__
        if not isinstance(cause, _PASSING):
            return None
        if isinstance(cause, _LOST_BETWEEN):  # Optuna has asked a second time on the connection that broke
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
        ticket = None if template_trial is None else template_trial.user_attrs.get(TICKET)
        tries = 0

        def act() -> int:
            nonlocal tries
            tries += 1
            if tries > 1 and ticket is not None:
                for trial in self.inner.get_all_trials(study_id, deepcopy=False):
                    if trial.user_attrs.get(TICKET) == ticket:
                        return id_of(trial)
            return self.inner.create_new_trial(study_id, template_trial)

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
        """Start or end a trial; one that was ended by an earlier try stays as it is."""
        tries = 0

        def act() -> bool:
            nonlocal tries
            tries += 1
            try:
                return self.inner.set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if tries == 1 or not state.is_finished():
                    raise
                return True

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
