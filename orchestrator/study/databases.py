"""Databases of studies: SQLite, PostgreSQL and MySQL, through SQLAlchemy."""

import random
import time
from typing import Any, Final

from optuna.storages import RDBStorage
from sqlalchemy import event, exc, make_url

from results.run.storage_url import without_password
from trainables.common.errors import ConfigError

_OPEN_AGAIN: Final = 10  # times: two that open an empty database at once both make its tables
_OPEN_AGAIN_SECONDS: Final = (0.05, 0.25)  # between two of these tries, drawn so that they do not keep step
LOST_BETWEEN: Final = exc.PendingRollbackError  # a query after one whose connection was lost
PASSING: Final = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,
    exc.TimeoutError,
    LOST_BETWEEN,
)


def open_database(url: str) -> RDBStorage:
    """Open a database, with connections that notice when the other end is gone.

    Two searches that open an empty database at once both make its tables; one of them is refused, and finds
    them made at its next try.

    Args:
        url: Its URL, with driver and password.

    Raises:
        ConfigError: If its driver is not installed.
        SQLAlchemyError: If it cannot be opened.
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
