"""The study's journal file: of one writer in a run folder, or of several searches in a shared folder."""

import contextlib
import fcntl
import json
import os
import time
from io import FileIO
from pathlib import Path
from typing import Any, Final

from orchestrator.study.journal_lock import NameLock
from orchestrator.study.optuna_private import ENDS_TRIAL, OPERATION, LongJournalFile
from orchestrator.study.patience import Patience, disk_reason
from trainables.common.appending import append_whole
from trainables.common.files import free_name, write_atomically

_FLUSH_SECONDS: Final = 1.0
_BLOCK_BYTES: Final = 1 << 12


class RunJournal(LongJournalFile):
    """Optuna's journal file without the locks that several writers need.

    Optuna locks the file and waits for the disk at every setting of every trial, some twenty-five times a
    trial. Here the run folder's lock keeps other writers out, and the disk is waited for whenever a trial
    ends, and else once a second: neither a killed search nor a power failure loses the end of a trial.

    A journal that a power failure or a full disk has damaged is cut back to its last whole line. Where the
    disk is full, the search waits for room.

    Args:
        path: Path of the journal file; created if it is missing.
        patience: How long room is waited for; None for as long as the default.
    """

    def __init__(self, path: Path, patience: Patience | None = None) -> None:
        mend(path)
        super().__init__(str(path))
        self._path, self._flushed, self._patience = path, time.monotonic(), patience or Patience()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations, each on a line of its own."""
        text = _lines(logs)
        is_end = any(log[OPERATION] == ENDS_TRIAL for log in logs)
        is_synced = is_end or time.monotonic() - self._flushed >= _FLUSH_SECONDS

        def append() -> None:
            with self._path.open("ab", buffering=0) as file:
                append_whole(file, text, is_synced=is_synced)

        self._patience.done(append, disk_reason)
        if is_synced:
            self._flushed = time.monotonic()


class SharedJournal(LongJournalFile):
    """A journal file that several searches write, under a lock that also holds on NFS.

    One that was killed in the middle of a line leaves half of it: the next one cuts it off before it writes,
    since Optuna reads nothing beyond. A lock that its holder cannot give back any more is broken after 30 s.
    A holder that comes back after all waits its turn by a lock of the kernel, where those reach that far.

    Args:
        path: Absolute path of the journal file; created if it is missing.
        lock: Kind of lock, a key of `journal_lock.LOCKS`.
    """

    def __init__(self, path: Path, lock: str = "symlink") -> None:
        super().__init__(str(path))
        self._path, self._guard = path, NameLock(path, lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations, each on a line of its own."""
        self._guard.acquire()
        try:
            with self._path.open("r+b", buffering=0) as file:
                with contextlib.suppress(OSError):  # a file system without locks, such as NFS with `nolock`
                    fcntl.flock(file, fcntl.LOCK_EX)
                _cut_half_line(file)
                append_whole(file, _lines(logs), is_synced=True)
        finally:
            self._guard.release()


def _lines(logs: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()


def _cut_half_line(file: FileIO) -> None:
    """Cut off what follows the last line end of a file."""
    end = file.seek(0, os.SEEK_END)
    keep = end
    while keep:
        start = max(0, keep - _BLOCK_BYTES)
        file.seek(start)
        place = file.read(keep - start).rfind(b"\n")
        if place >= 0:
            keep = start + place + 1
            break
        keep = start
    if keep < end:
        file.truncate(keep)


def mend(path: Path) -> Path | None:
    """Cut a journal back to its last whole line, since Optuna reads nothing beyond a damaged one.

    Args:
        path: Path of the journal file; it need not exist.

    Returns:
        Path of the file `<name>.damaged` that keeps what was cut off; None if nothing was.
    """
    if not path.exists():
        return None
    content = path.read_bytes()
    whole = _whole_bytes(content)
    if whole == len(content) and (content.endswith(b"\n") or not content):
        return None
    kept, cut = content[:whole], content[whole:]
    aside = None
    if cut:
        aside = free_name(path, "damaged")
        write_atomically(aside, cut)
    write_atomically(path, kept if kept.endswith(b"\n") or not kept else kept + b"\n")
    return aside


def _whole_bytes(content: bytes) -> int:
    """Number of bytes before the first line that is no operation."""
    reached = 0
    for line in content.split(b"\n"):
        try:
            log = json.loads(line)
        except ValueError:
            break
        if not isinstance(log, dict) or not isinstance(log.get(OPERATION), int):
            break
        reached = min(reached + len(line) + 1, len(content))
    return reached
