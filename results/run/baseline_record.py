"""The reference of a search that has no trial on colour and intensity only: what such a head scores here.

It is no trial: it has no number, is no member of any ensemble, and counts against no budget. It lies beside
the split, in `baseline/`, as a trial lies in `trials/`: its predictions are written before its record.
"""

import datetime
from typing import Any

from pydantic import FiniteFloat

from results.run.predictions_file import packed_predictions, unpacked_predictions
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.run.trial_checks import predictions_fault
from trainables.common.files import write_atomically
from trainables.common.frozen import FrozenModel


class BaselineRecord(FrozenModel):
    """`baseline/record.json`: a closed-form head on colour and intensity only, in the folds of the search.

    Attributes:
        config: Dotted setting -> value; the fixed settings of the search do not change it.
        fingerprint: Hash of images and labels.
        seed: Seed of the search.
        wall_seconds: Seconds that it took.
        error: Why it has no predictions; None where it has.
        finished_at: Time of its end, with time zone.
    """

    config: dict[str, Any]
    fingerprint: str
    seed: int
    wall_seconds: FiniteFloat
    error: str | None = None
    finished_at: datetime.datetime


def write_baseline(run: RunFolder, record: BaselineRecord, predictions: OutOfFold | None) -> None:
    """Write the reference of a search, in the place of the one that it may have.

    Args:
        run: Folder of the search.
        record: Its record.
        predictions: Its out-of-fold predictions; None where the record has an error.
    """
    if predictions is not None:
        write_atomically(run.baseline / "oof.npz", packed_predictions(predictions))
    write_atomically(run.baseline / "record.json", record.model_dump_json(indent=1))


def read_baseline(run: RunFolder) -> tuple[BaselineRecord, OutOfFold | None] | None:
    """Read the reference of a search, with its predictions where it has some.

    Returns:
        None where there is none, where its files are damaged, or where it is one of other data: it takes
        some seconds to make again.
    """
    try:
        record = BaselineRecord.model_validate_json((run.baseline / "record.json").read_bytes())
        if record.fingerprint != run.search().fingerprint:
            return None
        if record.error is not None:
            return record, None
        predictions = unpacked_predictions((run.baseline / "oof.npz").read_bytes())
    except (OSError, ValueError, MemoryError):
        return None
    return None if predictions_fault(predictions) else (record, predictions)
