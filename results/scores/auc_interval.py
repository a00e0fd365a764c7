"""Intervals of an AUC that hold with few patients, with a perfect score, and over training runs.

Three things make the usual bootstrap interval too narrow, and each is answered here:

- **Few patients and high AUCs.** A bootstrap of a perfect score is `1.00 [1.00, 1.00]`. The ends are instead
  the AUCs at which the estimate would just be surprising (Newcombe's method 5, a score interval), whose
  standard error does not vanish at 1.
- **Patients with several images.** The variance is multiplied by a design effect, measured on patients
  (Obuchowski) and drawn towards the size of the clusters where few patients tell it.
- **Cross-validation.** Folds train each other's models, and another training part would give other models.
  The variance of `K` folds is multiplied by `1 + r K / (K - 1)`. With `r = 1` that is the correction of
  Nadeau and Bengio; `r = 0.75` is what makes the intervals cover the AUC of a configuration in 92 to 97 % of
  simulated data sets (`python -m benchmarks.coverage`). A hold-out of a quarter or less needs no factor:
  its few validation patients vary so much more than what other training patients add that they cover both.

Source:
    Newcombe (2006), Statistics in Medicine 25:559; Obuchowski (1997), Biometrics 53:567; Nadeau and Bengio
    (2003), Machine Learning 52:239; Bates, Hastie and Tibshirani (2023), JASA 119:1434.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.run.records import OutOfFold
from results.scores.auc_influence import auc_influences, fold_parts
from results.scores.cross_fitting import fewest_patients
from results.scores.decisions import scored_classes
from results.scores.interval import QUANTILE, Interval
from results.scores.metrics import mean_fold_auc
from trainables.common.types import FloatArray, IntArray

FOLD_CORRELATION: Final = 0.75  # share of Nadeau and Bengio's correction; see the module's text

_PRIOR_PATIENTS: Final = 10  # patients of the smallest class at which the measured design effect counts half
_BISECTIONS: Final = 60


def auc_interval(predictions: OutOfFold) -> Interval:
    """Return the mean fold AUC of out-of-fold predictions with its 95 % interval.

    The interval covers the choice of patients and of training parts: it is one of the configuration, not of
    these fold models.

    Raises:
        OneClassError: If no fold holds two classes.
    """
    estimate = float(mean_fold_auc(predictions.labels, predictions.probabilities, predictions.folds))
    shape = _Shape(predictions)
    variance_factor = _design_effect(predictions, estimate, shape) * fold_inflation(predictions.varying_parts)
    return shape.interval(estimate, variance_factor)


def fold_inflation(varying_parts: int) -> float:
    """Return the factor by which parts that share images widen a variance; 1 for a trial of a hold-out.

    Args:
        varying_parts: Number of parts by which scores vary, at least 1; see `OutOfFold.varying_parts`.

    >>> fold_inflation(4)
    2.0
    """
    return 1.0 + FOLD_CORRELATION * varying_parts / (varying_parts - 1) if varying_parts > 1 else 1.0


class _Shape:
    """Numbers of positives and negatives in each fold, which give the variance at any AUC."""

    def __init__(self, predictions: OutOfFold) -> None:
        labels = [predictions.labels[part] for part in fold_parts(predictions.folds)]
        self.folds = sum(np.ptp(own) > 0 for own in labels)
        self.classes = scored_classes(predictions.probabilities.shape[1])
        self.sizes = [
            [
                (int((own == one).sum()), int((own != one).sum()))
                for own in labels
                if np.ptp(own) > 0 and (own == one).any()
            ]
            for one in self.classes
        ]

    def variance(self, area: float) -> float:
        """Variance of the mean fold AUC where images are independent and the AUC is `area`.

        For more than two classes the standard errors of the classes are averaged, an upper bound.
        """
        errors = [
            np.sqrt(sum(hanley_mcneil(area, *size) for size in sizes)) / self.folds
            for sizes in self.sizes
            if sizes
        ]
        return float(np.mean(errors)) ** 2

    def interval(self, estimate: float, variance_factor: float) -> Interval:
        """Return the AUCs from which the estimate is 1.96 standard errors away, on both sides."""

        def is_inside(area: float) -> bool:
            error = np.sqrt(variance_factor * self.variance(area))
            return abs(estimate - area) <= QUANTILE * error

        return score_interval(estimate, is_inside)


def score_interval(estimate: float, is_inside: Callable[[float], bool]) -> Interval:
    """Return an estimate in [0, 1] with the values around it that it does not contradict.

    Args:
        estimate: The estimate, which is inside itself.
        is_inside: Tells of a value whether the estimate would not be surprising if it were true.
    """
    return Interval(estimate, _edge(is_inside, estimate, 0.0), _edge(is_inside, estimate, 1.0))


def _edge(is_inside: Callable[[float], bool], inside: float, outside: float) -> float:
    """Last value on the way from `inside` to `outside` that is inside."""
    if is_inside(outside) and inside != outside:
        return outside
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_inside(middle) else (inside, middle)
    return inside


def hanley_mcneil(area: float, positives: int, negatives: int) -> float:
    """Variance of an AUC by Hanley and McNeil (1982), made symmetric in the classes as by Newcombe."""
    others = (positives + negatives) / 2 - 1
    spread = (1 - area) / (2 - area) + area / (1 + area)
    return area * (1 - area) * (1 + others * spread) / (positives * negatives)


def _design_effect(predictions: OutOfFold, estimate: float, shape: _Shape) -> float:
    """Factor by which the variance of patients exceeds that of independent images.

    What is measured is drawn towards the size of the clusters by a weight of ten patients; a perfect score
    measures nothing.
    """
    cluster = cluster_size(predictions.groups)
    model = shape.variance(estimate)
    if model < 1e-12:
        return cluster
    measured = float((auc_influences(predictions) ** 2).sum()) / model
    patients = fewest_patients(predictions.labels, predictions.groups)
    # Several classes vary together less than their averaged errors say.
    return max(drawn_effect(measured, patients, cluster), 1.0 / len(shape.classes))


def drawn_effect(measured: float, patients: int, cluster: float) -> float:
    """Return a measured design effect, drawn towards the size of the clusters where few patients tell it.

    Args:
        measured: Variance of patients over that of independent images, as measured.
        patients: Number of patients of the smallest class.
        cluster: Mean number of images of a patient, see `cluster_size`.

    >>> drawn_effect(1.0, patients=10, cluster=3.0)
    2.0
    """
    return (patients * measured + _PRIOR_PATIENTS * cluster) / (patients + _PRIOR_PATIENTS)


def cluster_size(groups: NDArray[Any]) -> float:
    """Return the mean number of images of a patient, seen from an image (Kish); 1 if each has one.

    >>> cluster_size(np.array(["a", "a", "a", "b"]))
    2.5
    """
    counts = np.unique(groups, return_counts=True)[1]
    return float((counts**2).sum() / counts.sum())


def fixed_model_auc_interval(labels: IntArray, probabilities: FloatArray, groups: NDArray[Any]) -> Interval:
    """Return the AUC of a fixed model on a test part, with its 95 % interval over patients.

    Args:
        labels: Class indices, shape (images,).
        probabilities: Class probabilities, shape (images, classes).
        groups: Patient of each image, shape (images,).

    Raises:
        OneClassError: If there is a single class.
    """
    one_fold = np.zeros_like(labels)
    return auc_interval(
        OutOfFold(np.arange(len(labels)), labels, one_fold, groups.astype(str), probabilities)
    )
