"""The reference of a novelty score: where the features of the training images lie, and how far from it new
patients are.

The distance is that of Mahalanobis with the covariance of Ledoit and Wolf, whose axes beyond the first 128
share their mean variance. Distances of images whose patients the reference was fitted without turn a new
distance into a conformal p-value: of images like those of training, a share of `level` has a p of `level` or
less, whatever the distribution of the features.

Source:
    Lee et al. (2018), A simple unified framework for detecting out-of-distribution samples, arXiv 1807.03888.
    Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices.
    Vovk, Gammerman and Shafer (2005), Algorithmic Learning in a Random World; Lee, Barber and Willett (2023),
    Distribution-free inference with hierarchical data, arXiv 2306.06342: images in patients.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.types import Float64Array, FloatArray, IntArray

LEVELS: Final = (0.01, 0.05)  # of false alarms, the first that the number of patients allows
_MOST_AXES: Final = 128
_MOST_DISTANCES: Final = 1024
_LEAST_SCALE: Final = 1e-6
_FEWEST: Final = 8  # images that a fit needs
_MARGIN: Final = 1e-6  # relative, so that rounding to single precision puts no p on the wrong side of a level


@dataclass(frozen=True, slots=True)
class FeatureCloud:
    """Mean and covariance of features, in a form that takes little room.

    Attributes:
        mean: Mean of each feature, shape (D,).
        scale: Standard deviation of each feature, shape (D,).
        axes: Directions of the largest variance of the scaled features, shape (k, D); rows have length 1.
        variances: Variance along each axis, shape (k,).
        rest: Variance along every direction at right angles to them.
    """

    mean: Float64Array
    scale: Float64Array
    axes: Float64Array
    variances: Float64Array
    rest: float

    def distances(self, features: FloatArray) -> Float64Array:
        """Return the Mahalanobis distance of features (n, D) from the mean, shape (n,)."""
        centred = (np.asarray(features, dtype=np.float64) - self.mean) / self.scale
        along = centred @ self.axes.T
        beside = np.maximum((centred**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        found: Float64Array = np.sqrt((along**2 / self.variances).sum(axis=1) + beside / self.rest)
        return found


@dataclass(frozen=True, slots=True)
class NoveltyReference:
    """A novelty score, ready to be shipped.

    Attributes:
        cloud: Features of all training images.
        distances: Distances of training images from a cloud that was fitted without their patients,
            ascending, shape (m,); beyond 1024 some are put together at the largest of them, which makes a p
            larger, never smaller.
        weights: Share of its patient that each stands for, shape (m,); they sum to `patients`.
        patients: Number of patients, or of images where patients are unknown.
        images: Number of training images with a distance.
        level: Share of false alarms at which an image is called unlike the training images.
    """

    cloud: FeatureCloud
    distances: Float64Array
    weights: Float64Array
    patients: int
    images: int
    level: float

    def p_values(self, features: FloatArray) -> Float64Array:
        """Return a conformal p-value for features (n, D), shape (n,), in (0, 1]; small is unlike."""
        return p_values(self.cloud.distances(features), self.distances, self.weights)


def p_values(found: Float64Array, distances: Float64Array, weights: Float64Array) -> Float64Array:
    """Return the p-value of distances among those of a reference.

    Args:
        found: Distances of new images, shape (n,).
        distances: Distances of the reference, ascending, shape (m,).
        weights: Weight of each, shape (m,); they sum to the number of patients.

    >>> p_values(np.array([0.5, 2.5, 9.0]), np.array([1.0, 2.0, 3.0]), np.ones(3)).tolist()
    [1.0, 0.5, 0.25]
    """
    tail = np.concatenate([np.cumsum(weights[::-1])[::-1], [0.0]])
    return (1 + tail[np.searchsorted(distances, found, side="left")]) / (1 + weights.sum())


def fit_reference(features: FloatArray, folds: IntArray, patients: NDArray[Any]) -> NoveltyReference | None:
    """Fit a novelty score on the features of training images.

    Args:
        features: Features, shape (n, D).
        folds: Fold that holds each image out, shape (n,); below 0 for images that no fold holds out, which
            are part of every fit and have no distance.
        patients: Patient of each image, shape (n,).

    Returns:
        The score; None where the patients are too few for any of `LEVELS`.
    """
    held_out = folds >= 0
    level = level_for(len(np.unique(patients[held_out])))
    fits = [folds != fold for fold in np.unique(folds[held_out])]
    if level is None or min(own.sum() for own in fits) < _FEWEST:
        return None
    distances = np.zeros(len(features))
    for own in fits:
        distances[~own] = fit_cloud(features[own]).distances(features[~own])
    _, patient, counts = np.unique(patients[held_out], return_inverse=True, return_counts=True)
    kept, weights = _thinned(distances[held_out], 1 / counts[patient])
    return NoveltyReference(fit_cloud(features), kept, weights, len(counts), int(held_out.sum()), level)


def level_for(patients: int) -> float | None:
    """Return the level of false alarms that so many patients allow; None for too few.

    >>> level_for(500), level_for(60), level_for(12)
    (0.01, 0.05, None)
    """
    return next((level for level in LEVELS if 1 / (patients + 1) <= level), None)


def is_at_most(p: NDArray[Any] | float, level: float) -> NDArray[np.bool_]:
    """Tell of p-values of a graph, of any shape, in [0, 1], whether they call for a warning at a level.

    A p that equals the level counts, also where single precision has put it a little above.

    >>> is_at_most(np.array([1, 2], np.float32) / np.float32(20), 0.05).tolist()
    [True, False]
    """
    return np.asarray(np.asarray(p, dtype=np.float64) <= level * (1 + _MARGIN))


def fit_cloud(features: FloatArray) -> FeatureCloud:
    """Fit mean and shrunk covariance of features (n, D)."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    values = np.asarray(features, dtype=np.float64)
    mean = values.mean(axis=0)
    scale = np.maximum(values.std(axis=0), _LEAST_SCALE)
    centred = (values - mean) / scale
    images, width = centred.shape
    shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    total = float((singular**2).sum()) / images
    variances = (1 - shrinkage) * singular**2 / images + shrinkage * total / width
    kept = min(_MOST_AXES, len(variances))
    left = total - float(variances[:kept].sum())
    # Equal to 1 where no direction is left, so that nothing is divided by it.
    rest = left / (width - kept) if width > kept else 1.0
    least = _LEAST_SCALE * max(total / width, _LEAST_SCALE)
    return FeatureCloud(mean, scale, axes[:kept], np.maximum(variances[:kept], least), max(rest, least))


def _thinned(distances: Float64Array, weights: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Distances in ascending order; neighbours are put together at the largest where they are too many."""
    order = np.argsort(distances)
    ascending, own = distances[order], weights[order]
    parts = np.array_split(np.arange(len(order)), min(_MOST_DISTANCES, len(order)))
    return (
        np.array([ascending[part[-1]] for part in parts]),
        np.array([own[part].sum() for part in parts]),
    )
