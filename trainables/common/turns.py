"""Turns of processes on one machine: a few at once do what all of them are about to do."""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_POLL_SECONDS: Final = 0.05


@contextlib.contextmanager
def in_turn(what: str, *, at_once: int, seconds: float) -> Iterator[None]:
    """Wait until fewer than so many other processes of this user are in a block of this name.

    A place is a file of the folder for temporary files that is locked, so it is free once its process has
    ended, however that came about. Where files cannot be made or locked, nobody waits.

    Args:
        what: Name of the block, for the names of the files.
        at_once: Number of places, at least 1.
        seconds: Longest wait, after which the block is entered in any case.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            folder = Path(tempfile.gettempdir())
            places = [
                held.enter_context(_opened(folder / f"orchestrate-{os.getuid()}-{what}-{place}"))
                for place in range(at_once)
            ]
            end = time.monotonic() + seconds
            while not any(map(_is_taken, places)) and time.monotonic() < end:
                time.sleep(_POLL_SECONDS)
        yield


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_uid != os.getuid():
            raise PermissionError(f"{path} is another user's")
        yield descriptor
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int) -> bool:
    """Take the place if it is free; True if it is this process's now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
