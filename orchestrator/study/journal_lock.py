"""The lock of a journal that several machines write: a name beside the file, which only one of them can make.

Optuna's own locks break a lock that looks old, and then fail, or take the next one's lock away, when its
holder gives it back. A holder looks old when a file server is restarted: it must wait until the server opens
files again, and one that only looks at names need not.
"""

import contextlib
import os
import random
import stat
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

_BROKEN_SECONDS: Final = 30.0
_PAUSES: Final = (0.001, 0.2)  # seconds between two looks: the first, and the longest


def _link(place: Path, token: str) -> None:
    place.symlink_to(token)


def _file(place: Path, token: str) -> None:
    os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


# Ways to make the name: a symbolic link holds on every NFS, a file on those that have no symbolic links.
LOCKS: Final[Mapping[str, Callable[[Path, str], None]]] = MappingProxyType({"symlink": _link, "open": _file})


class NameLock:
    """A lock that is broken if its holder was killed, and never taken from the one who broke it.

    The 30 seconds after which it is broken are those in which the waiting process could have written the
    journal itself: while a file server is away, or opens no files yet, nobody's time runs out.

    Args:
        journal: Path of the journal file, which exists when the lock is asked for.
        kind: Key of `LOCKS`.
        sleep: Function that waits for seconds; injected for tests.
    """

    def __init__(self, journal: Path, kind: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._journal, self._place = journal, journal.with_name(f"{journal.name}.lock")
        self._make, self._sleep = LOCKS[kind], sleep
        self._mine: str | None = None

    def acquire(self) -> None:
        """Wait for the lock, and take it."""
        token = f"{self._journal.name}.{uuid.uuid4()}"
        pause, watched, seen = _PAUSES[0], 0.0, None
        while True:
            with contextlib.suppress(FileExistsError):
                self._make(self._place, token)
                self._mine = _holder(self._place)
                return
            now = _holder(self._place)
            if now == token:  # made by a first call of which the server's answer was lost
                self._mine = now
                return
            if now is None or now != seen:
                seen, watched = now, 0.0
            elif watched >= _BROKEN_SECONDS:
                self._take_away(now)
                continue
            with self._journal.open("r+b"):  # waits as long as the holder must wait to open it
                pass
            drawn = pause * random.uniform(0.5, 1.0)
            self._sleep(drawn)
            watched, pause = watched + drawn, min(2.0 * pause, _PAUSES[1])

    def release(self) -> None:
        """Give the lock back; one that was broken meanwhile, and is another's now, stays as it is."""
        mine, self._mine = self._mine, None
        if mine is not None:
            self._take_away(mine)

    def _take_away(self, holder: str) -> None:
        if _holder(self._place) == holder:
            self._place.unlink(missing_ok=True)


def _holder(place: Path) -> str | None:
    """Who made a lock, in letters that nobody else has; None if there is no lock."""
    try:
        found = place.lstat()
        return str(place.readlink()) if stat.S_ISLNK(found.st_mode) else f"{found.st_ino} {found.st_mtime_ns}"
    except FileNotFoundError:
        return None
