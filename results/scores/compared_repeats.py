"""Repeats of models that are compared: matched within each repeat, and what all of them tell together.

Repeats of a cross-validation score the same images again, so that a mean over them varies with the patients
as each one does. Each repeat of a hold-out scores other images: models are matched within it, and a mean over
repeats varies less, the more so the fewer images they share. What it owes to the training parts, which share
most of their patients, stays. The correction of Nadeau and Bengio says how much that is, in the variance of
one repeat: `n / m` for `n` images that are held out and `m` that train; as in `auc_interval`, three quarters
of it are taken.

Source:
    Nadeau and Bengio (2003), "Inference for the generalization error", Machine Learning 52:239.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from results.run.records import OutOfFold
from results.scores.auc_interval import FOLD_CORRELATION, fold_inflation
from trainables.common.errors import DataError
from trainables.common.types import FloatArray


def matched_by_repeat(models: Sequence[Sequence[OutOfFold]]) -> list[list[OutOfFold]]:
    """Keep of each repeat the images that all models predicted in it, in order of their rows.

    Args:
        models: Predictions of each model in each repeat, as many repeats of each.

    Raises:
        DataError: If the models share no image in some repeat, or an image has two labels or patients.
    """
    by_repeat = [_on_same_images(parts) for parts in zip(*models, strict=True)]
    return [list(parts) for parts in zip(*by_repeat, strict=True)]


def together(parts: Sequence[OutOfFold]) -> OutOfFold:
    """Return the images of all repeats of a model, each once, in order of their rows.

    Args:
        parts: Predictions of the model in each repeat; of an image in several, the first counts.
    """
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in parts]) for name in OutOfFold.ARRAYS
    }
    return replace(parts[0], **arrays).where(np.unique(arrays["rows"], return_index=True)[1])


def repeats_apart(parts: Sequence[OutOfFold]) -> float:
    """Return by how much a mean over repeats varies less with its images than one repeat does.

    Args:
        parts: Predictions of a model in each repeat.

    Returns:
        1 where all repeats hold the same images, and the number of repeats where no two share one.

    >>> labels = np.array([0, 1])
    >>> first = OutOfFold(np.array([0, 1]), labels, labels, labels.astype(str), np.eye(2))
    >>> repeats_apart([first, first]), repeats_apart([first, replace(first, rows=np.array([2, 3]))])
    (1.0, 2.0)
    """
    times = np.unique(np.concatenate([one.rows for one in parts]), return_counts=True)[1]
    return float(len(parts) * times.sum() / (times**2).sum())


def inflation_of(parts: Sequence[OutOfFold], holdout: float | None) -> float:
    """Return the factor by which other training parts widen the variance of a mean over repeats.

    Args:
        parts: Predictions of a model in each repeat.
        holdout: Share that a hold-out validates on, in (0, 1); None where it is not known, or for folds.

    Returns:
        That of a single repeat where all hold the same images, see `fold_inflation`.
    """
    of_one, apart = max(fold_inflation(one.varying_parts) for one in parts), repeats_apart(parts)
    if apart <= 1.0:
        return of_one
    # Without the share it is taken to be the largest that it can be: as if all images had been held out once.
    share = float(np.mean([len(one.rows) for one in parts])) / len(together(parts).rows)
    share = share if holdout is None else holdout
    return max(of_one, 1.0 + FOLD_CORRELATION * apart * share / (1.0 - share))


def mean_influences(parts: Sequence[OutOfFold], moved: Sequence[FloatArray]) -> FloatArray:
    """Return the influence of each patient on a mean over repeats; 0 in a repeat without the patient.

    Args:
        parts: Predictions of a model in each repeat.
        moved: Influences of the patients of each repeat, sorted by their names, each of shape (patients of
            the repeat,).

    Returns:
        Shape (patients of all repeats,), sorted by their names.
    """
    patients = np.unique(np.concatenate([one.groups for one in parts]))
    found = np.zeros(len(patients))
    for one, own in zip(parts, moved, strict=True):
        found[np.searchsorted(patients, np.unique(one.groups))] += own / len(parts)
    return found


def _on_same_images(models: Sequence[OutOfFold]) -> list[OutOfFold]:
    """Predictions of the images that all models have, in order of their rows."""
    rows = models[0].rows
    for other in models[1:]:
        rows = np.intersect1d(rows, other.rows)
    if not len(rows):
        raise DataError("these models predicted no image in common; compare searches on the same data")
    found = []
    for one in models:
        order = np.argsort(one.rows, kind="stable")
        places = order[np.searchsorted(one.rows[order], rows)]
        found.append(one.where(places))
    for other in found[1:]:
        for name in ("labels", "groups"):
            if not np.array_equal(getattr(found[0], name), getattr(other, name)):
                raise DataError(f"these models were searched with other {name} for the same images")
    return found
