"""Locks between the processes of a node; the kernel releases them when their process ends, in any way."""

import contextlib
import fcntl
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trainables.common.files import open_own
from trainables.common.progress import waited

NO_LOCK: Final = "no lock can be taken"  # how the error of a file system without locks begins


@contextlib.contextmanager
def held(path: Path, *, may_wait: bool) -> Iterator[bool]:
    """Hold the exclusive lock of a file, created if missing; yields False if another process holds it.

    Raises:
        OSError: If the file can be neither opened nor created, is a link, or its file system has no locks.
    """
    descriptor = _locked(path, may_wait=may_wait)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(path: Path, *, may_wait: bool) -> int | None:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = open_own(path, os.O_RDWR | os.O_CREAT)  # less the umask, which says who shares
        except FileNotFoundError:
            continue  # the folder was empty and has just been tidied away
        try:
            if may_wait:  # asked for again and again: a worker that waits here is not taken for hung
                waited(functools.partial(_taken, descriptor))
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise OSError(
                error.errno,
                f"{NO_LOCK} ({error.strerror}): mount the file system with locks, such as Lustre "
                "with `-o flock`",
                str(path),
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        if is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # the file was tidied away while this process waited: its lock protects nothing


def _taken(descriptor: int) -> bool | None:
    """True if the lock was free; None while another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    return True


def share(descriptor: int) -> None:
    """Lock an open file as one of its readers, as long as a copy of the descriptor is open."""
    fcntl.flock(descriptor, fcntl.LOCK_SH)


def is_at(descriptor: int, path: Path) -> bool:
    """True while the path still names the open file, and not a replacement of it."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


@contextlib.contextmanager
def unread(path: Path) -> Iterator[bool]:
    """Lock readers out of a file for a moment; yields False if it is read, is gone, or cannot be locked."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield is_at(descriptor, path)
    finally:
        os.close(descriptor)
