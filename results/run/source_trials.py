"""Trials of other runs that a search builds on: weights to start from, and types that they predict.

A search takes over the folds and the sealed test part of the run it builds on, so that the model of a fold
starts from, or takes the type from, a model that never saw that fold's patients.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from results.errors import RunError
from results.run.records import SearchRecord, SourceTrial, TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.types import IntArray


def source_record(source: SourceTrial) -> TrialRecord:
    """Return the record of a source trial.

    Raises:
        RunError: If it is gone.
    """
    record = RunFolder(Path(source.run)).record(source.trial)
    if record is None:
        raise RunError(
            f"trial {source.trial} of {source.run}, which this search builds on, is gone; restore its folder"
        )
    return record


def source_search(source: SourceTrial) -> SearchRecord:
    """Return request and facts of the search that a source trial belongs to."""
    return RunFolder(Path(source.run)).search()


def type_probabilities(source: SourceTrial, rows: IntArray) -> NDArray[np.float64]:
    """Return the out-of-fold probability of the positive class that a source trial predicts.

    Args:
        source: Finished trial on the same data, with the same folds.
        rows: Rows of the patch set, shape (n,).

    Returns:
        Probabilities in [0, 1], shape (n,).

    Raises:
        RunError: If it does not predict all of the rows.
    """
    predictions = RunFolder(Path(source.run)).out_of_fold(source.trial)
    place = {int(row): position for position, row in enumerate(predictions.rows)}
    missing = [int(row) for row in rows if int(row) not in place]
    if missing:
        raise RunError(
            f"trial {source.trial} of {source.run} has no out-of-fold prediction of {len(missing)} of "
            f"{len(rows)} images; it must be a search with folds, not a hold-out, on the same data"
        )
    return predictions.probabilities[[place[int(row)] for row in rows], -1].astype(np.float64)
