"""URLs of the storages of studies: their drivers, and passwords, which are neither written nor printed."""

import os
import re
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qs, quote

from trainables.common.errors import ConfigError

PASSWORD: Final = "ORCHESTRATE_STUDY_PASSWORD"  # environment variable
JOURNAL: Final = "journal:"  # scheme of a journal file that several searches write
# What a URL without a driver means; these are the drivers of the extras.
_DRIVERS: Final = MappingProxyType(
    {
        "postgresql": "postgresql+psycopg",
        "postgres": "postgresql+psycopg",
        "mysql": "mysql+pymysql",
        "mariadb": "mysql+pymysql",
    }
)
_IN_USER: Final = re.compile(r"(?P<before>\b[A-Za-z][\w+.-]*://[^\s/:@]*):\S*@")
_IN_QUERY: Final = re.compile(r"(?P<before>[?&])(?:password|passwd|pwd)=[^&#\s]*&?", re.IGNORECASE)
_NO_PASSWORD: Final = re.compile(r"(?P<before>^[A-Za-z][\w+.-]*://[^\s/:@]+)@")


def without_password(text: str) -> str:
    """Return a text, such as a URL or a message about one, without the passwords of URLs in it.

    >>> without_password("postgresql://me:se%40cret@host/db?sslmode=require&password=x")
    'postgresql://me@host/db?sslmode=require'
    >>> without_password("sqlite:///study.db"), without_password("at 10:30 me@host")
    ('sqlite:///study.db', 'at 10:30 me@host')
    """
    return _IN_QUERY.sub(r"\g<before>", _IN_USER.sub(r"\g<before>@", text)).rstrip("?&")


def with_password(url: str) -> str:
    """Return the URL of a database with the password that the environment holds, if it names a user only.

    >>> with_password("sqlite:///study.db")
    'sqlite:///study.db'
    """
    password = os.environ.get(PASSWORD)
    if not password:
        return url
    return _NO_PASSWORD.sub(lambda found: f"{found['before']}:{quote(password, safe='')}@", url)


def with_driver(url: str) -> str:
    """Return the URL of a database with the driver of our extras, where it names none.

    >>> with_driver("postgresql://me@host/db"), with_driver("postgresql+psycopg2://host/db")
    ('postgresql+psycopg://me@host/db', 'postgresql+psycopg2://host/db')
    """
    scheme, mark, rest = url.partition("://")
    return f"{_DRIVERS.get(scheme, scheme)}{mark}{rest}"


def journal_of(url: str) -> tuple[str, str]:
    """Return path and kind of lock of a journal that several searches write.

    Raises:
        ConfigError: If the URL names no file, or anything else than a lock.

    >>> journal_of("journal:///shared/study.log"), journal_of("journal:///shared/study.log?lock=open")
    (('/shared/study.log', 'symlink'), ('/shared/study.log', 'open'))
    """
    place, _, query = url.removeprefix(JOURNAL).partition("?")
    path, options = place.removeprefix("//"), parse_qs(query, keep_blank_values=True)
    if not path or path.endswith("/") or options.keys() - {"lock"}:
        raise ConfigError(
            f"{url}: the journal of several searches is named journal:///FOLDER/FILE, with ?lock=open where "
            "the file system has no symbolic links"
        )
    return path, options.get("lock", ["symlink"])[-1]


def with_absolute_path(url: str) -> str:
    """Return the URL of a journal or of SQLite with the absolute path of its file; any other as it is.

    >>> with_absolute_path("journal:///shared/study.log?lock=open"), with_absolute_path("sqlite://")
    ('journal:///shared/study.log?lock=open', 'sqlite://')
    """
    if url.startswith(JOURNAL):
        path, lock = journal_of(url)
        return f"journal://{Path(path).absolute()}" + (f"?lock={lock}" if lock != "symlink" else "")
    file = url.removeprefix("sqlite:///")
    if file in (url, "", ":memory:") or file.startswith(("file:", "?")):
        return url
    return f"sqlite:///{Path(file).absolute()}"


def check_has_no_password(url: str) -> None:
    """Refuse a password in a URL: a command line can be read by everybody on the machine, and is remembered.

    Raises:
        ConfigError: If the URL has one.
    """
    if without_password(url) != url:
        raise ConfigError(
            f"--study-storage {without_password(url)}: the password in this URL can be read in the list of "
            f"processes; leave it out, and set {PASSWORD}"
        )
