"""The study's journal file, for one writer."""

import json
import os
import time
from pathlib import Path
from typing import Any, Final

from optuna.storages.journal import JournalFileBackend

from orchestrator.study.optuna_private import ENDS_TRIAL, OPERATION
from trainables.common.files import free_name, write_atomically

_FLUSH_SECONDS: Final = 1.0


class RunJournal(JournalFileBackend):
    """Optuna's journal file without the locks that several writers need.

    Optuna locks the file and waits for the disk at every setting of every trial, some twenty-five times a
    trial. Here the run folder's lock keeps other writers out, and the disk is waited for whenever a trial
    ends, and else once a second: neither a killed search nor a power failure loses the end of a trial.

    A journal that a power failure or a full disk has damaged is cut back to its last whole line.

    Args:
        path: Path of the journal file; created if it is missing.
    """

    def __init__(self, path: Path) -> None:
        mend(path)
        super().__init__(str(path))
        self._path, self._flushed = path, time.monotonic()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations, each on a line of its own."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        is_end = any(log[OPERATION] == ENDS_TRIAL for log in logs)
        with self._path.open("ab") as file:
            file.write(text.encode())
            if is_end or time.monotonic() - self._flushed >= _FLUSH_SECONDS:
                file.flush()
                os.fsync(file.fileno())
                self._flushed = time.monotonic()


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
