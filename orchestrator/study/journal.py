"""The study's journal file, for one writer."""

import json
import os
import time
from pathlib import Path
from typing import Any, Final

from optuna.storages.journal import JournalFileBackend

_FLUSH_SECONDS: Final = 1.0


class RunJournal(JournalFileBackend):
    """Optuna's journal file without the locks that several writers need.

    Optuna locks the file and waits for the disk at every setting of every trial, some twenty-five times a
    trial. Here the run folder's lock keeps other writers out, and the disk is waited for once a second: a
    killed search loses nothing, a power failure the proposals of the last second.

    Args:
        path: Path of the journal file; created if it is missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path, self._flushed = path, time.monotonic()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append operations, each on a line of its own."""
        text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._path.open("ab") as file:
            file.write(text.encode())
            if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
                file.flush()
                os.fsync(file.fileno())
                self._flushed = time.monotonic()
