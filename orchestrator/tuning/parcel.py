"""What a trial leaves, on its way from a machine that does not see the run folder to the folder's owner.

A worker there keeps the files of its trial in memory, and hands them over with its next report. The owner
alone writes the run folder, in the order in which the worker kept them: predictions, weights, record.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from orchestrator.tuning.choices import FOLDER, is_choice, keep_choices
from results.errors import RecordExistsError, RunError
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.files import is_disk_full, write_atomically

PREDICTIONS: Final = "oof.npz"
RECORD: Final = "record.json"
CHECKPOINT: Final = "checkpoint.safetensors"
_WEIGHTS: Final = re.compile(r"folds/\d{1,6}\.safetensors")

Content = NDArray[np.uint8]


@dataclass(slots=True)
class Parcel:
    """Files of one trial.

    Attributes:
        number: Trial number.
        files: Name below the trial's folder, and content, in the order in which they are to be written; None
            in place of a content removes the file. Contents are arrays since Ray moves those without a copy.
    """

    number: int
    files: list[tuple[str, Content | None]] = field(default_factory=list)

    def put(self, name: str, content: bytes | None) -> None:
        """Add a file in the place of one of that name that waits to be sent."""
        self.files = [(own, value) for own, value in self.files if own != name]
        self.files.append((name, None if content is None else np.frombuffer(content, dtype=np.uint8)))

    def take(self) -> "Parcel | None":
        """Return what there is, and keep nothing; None if there is nothing."""
        if not self.files:
            return None
        taken, self.files = Parcel(self.number, self.files), []
        return taken


def deliver(parcel: Parcel, run: RunFolder) -> None:
    """Write the files of a trial into its run folder, and leave the parcel empty once all are there.

    It can be called again for a parcel that could not be written. What a trial can do without, a checkpoint
    and choices, is left out where there is no room for it. Choices that were measured elsewhere go to the
    store of the search, where it has none of that name. A trial that has a record has ended: what a worker
    that was given up as lost sends of it is dropped.

    Raises:
        RunError: If the parcel holds what no trial writes.
        OSError: If the folder cannot be written.
    """
    choices: dict[str, bytes] = {}
    for name, content in parcel.files:
        folder, _, last = name.partition("/")
        if folder == FOLDER and is_choice(last) and content is not None:
            choices[last] = content.tobytes()
        elif name not in (PREDICTIONS, RECORD, CHECKPOINT) and not _WEIGHTS.fullmatch(name):
            raise RunError(f"a worker of trial {parcel.number} sent {name!r}, which no trial writes")
    if choices:
        with _where_there_is_room():
            keep_choices(choices, Path(run.search().store))
    for name, content in () if run.has_record(parcel.number) else parcel.files:
        path = run.trial(parcel.number) / name
        if name.startswith(f"{FOLDER}/"):
            continue
        if content is None:
            path.unlink(missing_ok=True)
        elif name == RECORD:
            _add_record(parcel.number, content, run)
        else:
            with _where_there_is_room() if name == CHECKPOINT else contextlib.nullcontext():
                write_atomically(path, content.data)
    parcel.files = []


@contextlib.contextmanager
def _where_there_is_room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise


def _add_record(number: int, content: Any, run: RunFolder) -> None:
    try:
        record = TrialRecord.model_validate_json(content.tobytes())
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        raise RunError(f"a worker of trial {number} sent what is no record: {fault}") from error
    if record.number != number:
        raise RunError(f"a worker of trial {number} sent a record of trial {record.number}")
    try:
        run.add_record(record)
    except RecordExistsError:
        return  # the first one counts
