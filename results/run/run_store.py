"""What a worker asks of the run that its trial belongs to, wherever the folder of the run lies."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from results.run.records import OutOfFold, TrialRecord

if TYPE_CHECKING:  # the folder is one implementation of the protocol
    from results.run.run_folder import RunFolder


class RunStore(Protocol):
    """A run, as the worker of one of its trials sees it.

    The run folder is such a store. A worker on a machine that does not see the folder has another one, which
    sends what it is given to the folder's owner.
    """

    @property
    def local(self) -> "RunFolder":
        """Folder on this machine that search and split are read from."""
        ...

    def has_score(self) -> bool:
        """Tell whether a trial of the search is complete."""
        ...

    def has_record(self, number: int) -> bool:
        """Tell whether a trial has ended."""
        ...

    def write_out_of_fold(self, number: int, out_of_fold: OutOfFold) -> None:
        """Keep a trial's out-of-fold predictions."""
        ...

    def write_weights(self, number: int, files: Iterable[tuple[str, bytes]]) -> None:
        """Keep the weights of a trial's folds, given as names of files and their contents."""
        ...

    def add_record(self, record: TrialRecord) -> None:
        """Keep the record of a trial that has just ended; it comes last.

        Raises:
            RecordExistsError: If it has a record already; that one stays.
        """
        ...

    def checkpoint(self, number: int) -> Path:
        """Return where on this machine a trial's checkpoint lies; it need not exist."""
        ...

    def write_checkpoint(self, number: int, content: bytes, *, is_last: bool = False) -> None:
        """Keep the checkpoint of a trial in the place of an earlier one.

        Args:
            number: Number of the trial.
            content: The checkpoint.
            is_last: This process is about to end, so that it sends no further report.
        """
        ...

    def discard_checkpoint(self, number: int) -> None:
        """Remove the checkpoint of a trial that has ended."""
        ...
