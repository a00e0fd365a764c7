"""A run on a machine that does not see its folder: a copy to read, and a parcel for what is written."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from orchestrator.tuning.choices import FOLDER, choices_in, keep_choices
from orchestrator.tuning.invoice import DepotClient
from orchestrator.tuning.parcel import CHECKPOINT, PREDICTIONS, RECORD, Parcel
from results.errors import RecordExistsError
from results.run.predictions_file import packed_predictions
from results.run.records import OutOfFold, TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.files import write_atomically

_ASK_AGAIN_SECONDS: Final = 2.0  # the depot is asked whether there is a score no more often than that


class RunCopy:
    """A run whose folder lies on another machine; a `RunStore`.

    Args:
        local: Run folder that this machine has filled from the depot.
        number: Trial that this copy is for.
        depot: The depot; None in a process that has none, such as that of a single fold.
    """

    def __init__(self, local: RunFolder, number: int, depot: DepotClient | None) -> None:
        self._local, self.number, self.depot = local, number, depot
        self.parcel = Parcel(number)
        self._has_score, self._asked_at = False, -_ASK_AGAIN_SECONDS
        self._store = Path(local.search().store)
        self._choices = set(choices_in(self._store))
        if depot is not None:
            new = depot.choices(sorted(self._choices))
            keep_choices(new, self._store)
            self._choices |= set(new)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what another process cannot use: it knows what was known when it started."""
        return {**self.__dict__, "depot": None, "parcel": Parcel(self.number)}

    def leave(self) -> Parcel | None:
        """Return what the trial has left since the last time, choices that it measured included."""
        for name, content in choices_in(self._store, but=self._choices).items():
            self.parcel.put(f"{FOLDER}/{name}", content)
            self._choices.add(name)
        return self.parcel.take()

    @property
    def local(self) -> RunFolder:
        """Folder on this machine that search and split are read from."""
        return self._local

    def has_score(self) -> bool:
        """Tell whether a trial of the search is complete, as of two seconds ago."""
        now = time.monotonic()
        if self.depot is not None and not self._has_score and now - self._asked_at >= _ASK_AGAIN_SECONDS:
            self._has_score, self._asked_at = self.depot.has_score(), now
        return self._has_score

    def has_record(self, number: int) -> bool:
        """Tell whether a trial has ended."""
        is_sent = any(name == RECORD for name, _ in self.parcel.files)
        return is_sent or (self.depot is not None and self.depot.has_record(number))

    def write_out_of_fold(self, number: int, out_of_fold: OutOfFold) -> None:
        """Keep a trial's out-of-fold predictions until the next report."""
        self.parcel.put(PREDICTIONS, packed_predictions(out_of_fold))

    def write_weights(self, number: int, files: Iterable[tuple[str, bytes]]) -> None:
        """Keep the weights of a trial's folds until the next report."""
        for name, content in files:
            self.parcel.put(f"folds/{name}", content)

    def add_record(self, record: TrialRecord) -> None:
        """Keep the record of a trial until the next report.

        Raises:
            RecordExistsError: If the trial has ended.
        """
        if self.has_record(record.number):
            raise RecordExistsError(f"trial {record.number} has a record already, which is kept")
        self.parcel.put(RECORD, record.model_dump_json(indent=1).encode())

    def checkpoint(self, number: int) -> Path:
        """Fetch a trial's checkpoint; returns where it lies then, or would."""
        path = self.local.checkpoint_file(number)
        size = None if self.depot is None else self.depot.checkpoint_bytes(number)
        if self.depot is None or size is None:
            path.unlink(missing_ok=True)
            return path
        content = b"".join(piece.tobytes() for piece in self.depot.pieces(f"checkpoint/{number}", size))
        write_atomically(path, content)
        return path

    def write_checkpoint(self, number: int, content: bytes, *, is_last: bool = False) -> None:
        """Keep the checkpoint of a trial until the next report; the last one goes to the depot at once."""
        if is_last and self.depot is not None:
            self.depot.keep_checkpoint(number, np.frombuffer(content, dtype=np.uint8))
        else:
            self.parcel.put(CHECKPOINT, content)

    def discard_checkpoint(self, number: int) -> None:
        """Let the next report remove the checkpoint of a trial that has ended."""
        self.local.checkpoint_file(number).unlink(missing_ok=True)
        self.parcel.put(CHECKPOINT, None)
