"""URLs of databases without their passwords, which are neither written to a run folder nor printed."""

import os
import re
from typing import Final
from urllib.parse import quote

PASSWORD: Final = "ORCHESTRATE_STUDY_PASSWORD"  # environment variable
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
