"""Checks of a trial's files when they are read: what a disk, a copy or a hand may have done to them."""

from typing import Final

import numpy as np

from results.run.records import OutOfFold, SearchRecord, TrialRecord

_SUM_TOLERANCE: Final = 1e-3  # of the probabilities of an image, in single precision


def record_fault(record: TrialRecord, number: int, search: SearchRecord | None) -> str | None:
    """Return what is wrong with a record, as the end of a sentence; None if nothing is.

    Args:
        record: The record.
        number: Number of the trial whose folder it lies in.
        search: Request and facts of the search, which knows the ranges of its metrics; None if it is lost.
    """
    if record.number != number:
        return f"it is the record of trial {record.number}"
    if search is not None:
        main = {} if record.value is None else {search.metric: record.value}
        for metric, value in {**record.values, **main}.items():
            low, high = _range(search, metric)
            if not low <= value <= high:
                return f"its value {value:g} cannot be: {metric} lies between {low:g} and {high:g}"
    if record.state == "complete" and record.value is None:
        return "it is complete and has no value"
    return None


def _range(search: SearchRecord, metric: str) -> tuple[float, float]:
    """Smallest and largest possible value of a metric, as the search knew it when it began."""
    low, high = search.ranges.get(metric, (None, None))
    return -np.inf if low is None else low, np.inf if high is None else high


def predictions_fault(found: OutOfFold) -> str | None:
    """Return what is wrong with out-of-fold predictions, as the end of a sentence; None if nothing is."""
    shape = found.probabilities.shape
    columns = [getattr(found, name) for name in ("rows", "labels", "folds", "groups")]
    if len(shape) != 2 or any(column.shape != shape[:1] for column in columns):
        return "its arrays do not have one entry for each image"
    if found.probabilities.dtype.kind != "f" or any(column.dtype.kind not in "iu" for column in columns[:3]):
        return "its arrays are not of numbers"
    if not np.isfinite(found.probabilities).all():
        return "it holds probabilities that are not numbers"
    sums = found.probabilities.sum(axis=1)
    if (found.probabilities < 0.0).any() or (np.abs(sums - 1.0) > _SUM_TOLERANCE).any():
        return "its probabilities do not sum to 1 within [0, 1]"
    if ((found.labels < 0) | (found.labels >= shape[1])).any():
        return f"it holds labels beyond its {shape[1]} classes"
    return None
