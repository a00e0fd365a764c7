"""Checks of a trial's files when they are read: what a disk, a copy or a hand may have done to them."""

from types import MappingProxyType
from typing import Final

import numpy as np

from results.run.records import OutOfFold, TrialRecord

# Metrics that do not lie in [0, 1].
_RANGES: Final = MappingProxyType({"mcc": (-1.0, 1.0), "log_loss": (0.0, np.inf)})
_SUM_TOLERANCE: Final = 1e-3  # of the probabilities of an image, in single precision


def record_fault(record: TrialRecord, number: int, metric: str | None) -> str | None:
    """Return what is wrong with a record, as the end of a sentence; None if nothing is.

    Args:
        record: The record.
        number: Number of the trial whose folder it lies in.
        metric: Metric that the search optimises; None if it is not known.
    """
    if record.number != number:
        return f"it is the record of trial {record.number}"
    if metric is not None and record.value is not None:
        low, high = _RANGES.get(metric, (0.0, 1.0))
        if not low <= record.value <= high:
            return f"its value {record.value:g} cannot be: {metric} lies between {low:g} and {high:g}"
    if record.state == "complete" and record.fold_metrics and record.value is None:
        return "it is complete and has no value"
    return None


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
