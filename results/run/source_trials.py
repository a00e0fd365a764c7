"""Trials of other runs that a search builds on: weights to start from, and types that they predict.

A search takes over the folds and the sealed test part of the run it builds on, so that the model of a fold
starts from, or takes the type from, a model that never saw that fold's patients.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from results.errors import RunError
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.source_trial import SourceTrial
from trainables.common.types import IntArray
from trainables.data.split_record import TRAINING, Split, read_split, some_of

_RESTORE: Final = "put the earlier run back in its place"


def source_record(source: SourceTrial) -> TrialRecord:
    """Return the record of a source trial.

    Raises:
        RunError: If it is gone, or another run or trial has taken its place.
    """
    run = RunFolder(Path(source.run))
    if run.search_file.is_file():
        source_search(source)
    record = run.record(source.trial)
    if record is None:
        raise RunError(
            f"trial {source.trial} of {source.run}, which this search builds on, is gone; restore its folder"
        )
    wanted, found = source.predictions_digest, record.predictions_digest
    if wanted is not None and found is not None and wanted != found:
        raise RunError(
            f"trial {source.trial} of {source.run} was trained again since this search was started, and does "
            f"not predict as it did then; {_RESTORE}"
        )
    return record


def source_search(source: SourceTrial) -> SearchRecord:
    """Return request and facts of the search that a source trial belongs to.

    Raises:
        RunError: If its folder is gone, or another search has taken its place.
    """
    search = RunFolder(Path(source.run)).search()
    recorded = ((source.started_at, search.started_at), (source.split_digest, search.split_digest))
    if any(wanted is not None and found is not None and wanted != found for wanted, found in recorded):
        raise RunError(
            f"{source.run} is not the run that this search was started from: another one lies there by now, "
            f"whose models may have seen the patients that this search scores or has sealed; {_RESTORE}"
        )
    return search


def checked_source(run: RunFolder, source: SourceTrial) -> TrialRecord:
    """Return the record of a source trial, once it is known to be the one that a run was started from.

    A run of an earlier version has recorded no more than its path, so that its folds are compared, where the
    split of the source is there: on the machine of a worker it is not.

    Args:
        run: Folder of the search that builds on it.
        source: The trial.

    Raises:
        RunError: If it is gone, or another run or trial has taken its place.
    """
    record, theirs = source_record(source), RunFolder(Path(source.run))
    if source.started_at is None and theirs.split_file.is_file():
        _check_same_parts(read_split(run.split_file), read_split(theirs.split_file), source)
    return record


def _check_same_parts(own: Split, theirs: Split, source: SourceTrial) -> None:
    """Make sure that no patient is scored or sealed here whom models of the source have seen in training."""
    if own.fingerprint != theirs.fingerprint and not (own.is_grouped and theirs.is_grouped):
        return  # groups are named by their rows, which are other images there
    parts = theirs.fold_of_group
    moved = [
        group for group, part in own.fold_of_group.items() if part not in (TRAINING, parts.get(group, part))
    ]
    if moved:
        raise RunError(
            f"{source.run} is not the run that this search was started from: {some_of(sorted(moved))} lies "
            f"in another part there, and its models may have seen what this search scores or has sealed; "
            f"{_RESTORE}"
        )


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
