"""Who searches a run folder, for other machines: the kernel's lock tells only those that it reaches.

A lock of the kernel ends with its process, so it is what counts on one machine, and on a network file system
that carries locks. Where it carries none (NFS mounted with `nolock`, some FUSE file systems), a second
machine gets the lock, too. So the process that has it writes its name into a file, with a count that goes on
every few seconds; another machine that finds such a file watches it for a while before it takes the folder
over. No clock is compared: clocks of machines differ. A process that was paused meanwhile finds the other's
name before its next beat, and stops its search.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

from trainables.common.files import open_own, read_plain

BEAT_SECONDS: Final = 5.0
WATCHED_SECONDS: Final = 4 * BEAT_SECONDS  # without a beat, after which a folder is taken over
_WIDTH: Final = 512  # bytes of the file, always the same: it is written in place


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that searches a run folder.

    Attributes:
        host: Name of its machine.
        boot: Mark of the running kernel of that machine, whose locks reach its own processes.
        pid: Process id there.
        beats: Count that goes on as long as the process lives.
    """

    host: str
    boot: str
    pid: int
    beats: int = 0

    @property
    def said(self) -> str:
        """The process, for people."""
        return f"process {self.pid} on {self.host}"

    def is_same_process(self, other: "Owner") -> bool:
        """Tell whether both are one process, whatever their beats."""
        return (self.host, self.boot, self.pid) == (other.host, other.boot, other.pid)


def this_process() -> Owner:
    """Return this process as an owner."""
    return Owner(socket.gethostname(), _boot(), os.getpid())


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # no Linux: the name of the machine must do
        return socket.gethostname()


def read_owner(path: Path) -> Owner | None:
    """Return who wrote the file last; None if nobody has, or it cannot be read just now."""
    try:
        return Owner(**json.loads(read_plain(path)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def lives_elsewhere(
    path: Path,
    *,
    seconds: float = WATCHED_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
    say: Callable[[str], None] = lambda message: None,
) -> Owner | None:
    """Return the owner of a run folder on another machine that shows signs of life; None without one.

    It takes time only where a process of another machine had the folder and did not leave it by itself.

    Args:
        path: The file.
        seconds: Time in which it must give a sign.
        sleep: Function that waits for seconds.
        say: Function called with a message before the file is watched.
    """
    first = read_owner(path)
    if first is None or first.boot == _boot():
        return None
    say(f"{first.said} had this search; looking for {seconds:.0f} s whether it still runs")
    for _ in range(max(1, round(seconds))):
        sleep(1.0)
        now = read_owner(path)
        if now is not None and now != first:
            return now
    return None


class Lease:
    """The claim of this process to a run folder; it may lose it while it is paused, to another machine.

    Attributes:
        taken_by: The process that has taken the folder over; None while it is ours.
    """

    def __init__(self) -> None:
        self.taken_by: Owner | None = None
        self._tell: Callable[[str], None] | None = None
        self._lock = threading.Lock()

    def when_taken(self, tell: Callable[[str], None]) -> None:
        """Have a function called with a sentence once the folder is taken over, or now if it is already.

        Args:
            tell: The function; any thread may call it.
        """
        with self._lock:
            self._tell = tell
            if self.taken_by is not None:
                tell(_said(self.taken_by))

    def take(self, other: Owner) -> None:
        """Take note of the process that has taken the folder over."""
        with self._lock:
            self.taken_by = other
            if self._tell is not None:
                self._tell(_said(other))


def _said(other: Owner) -> str:
    return (
        f"{other.said} has taken this search over, since this process gave no sign of life for a while; it "
        "ends here, so that no two processes write to one run folder: leave the search to that one, or stop "
        "it and resume"
    )


@contextlib.contextmanager
def owned(path: Path, *, seconds: float = BEAT_SECONDS) -> Iterator[Lease]:
    """Name this process as the owner as long as the context lasts, with a beat every few seconds.

    A file that cannot be written, as on a full disk, is no reason not to search. One that names another owner
    is left as it is, and the lease is told.
    """
    is_over, owner, lease = threading.Event(), this_process(), Lease()

    def beat() -> None:
        beats = 1
        while not is_over.wait(seconds):
            found = read_owner(path)
            if found is not None and not found.is_same_process(owner):
                lease.take(found)
                return
            _write(path, replace(owner, beats=beats))
            beats += 1

    _write(path, owner)
    thread = threading.Thread(target=beat, name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        is_over.set()
        thread.join()
        last = read_owner(path)
        if last is not None and last.is_same_process(owner):
            with contextlib.suppress(OSError):
                path.unlink()


def _write(path: Path, owner: Owner) -> None:
    """Write in place: another machine then sees the new content, not the old file, when it opens it again."""
    with contextlib.suppress(OSError):
        descriptor = open_own(path, os.O_WRONLY | os.O_CREAT)
        try:
            os.pwrite(descriptor, json.dumps(asdict(owner)).ljust(_WIDTH).encode(), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
