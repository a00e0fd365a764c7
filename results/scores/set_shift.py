"""How far another set lies from the training images: a test of each figure of the pixels, and of features.

What is kept of the training images are quantiles, so that a bundle can carry them. The distance is that of
Kolmogorov and Smirnov, the largest difference between two shares of images below a value. Images of a patient
are alike, so each patient counts once: an image has the weight of one over its patient's number, and the test
counts patients. All tests of a set are corrected together by Holm's method.

The network's features are judged by their Mahalanobis distance from those of the training images, which a
bundle turns into conformal p-values (see `results.novelty.reference`). Of images like those of training at
most a share t has a p of t or less. The test asks whether more have, so it finds images that lie further
away, in whatever direction, and none that have moved within the cloud of the training images.

Source:
    Kolmogorov (1933); Smirnov (1939); Rabanser, Gunnemann and Lipton (2019), "Failing loudly", NeurIPS, which
    finds corrected tests of single figures as good as tests of all of them together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from results.scores.interval import LEVEL
from results.scores.multiple_tests import holm
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray

_SHARES: Final = np.linspace(0.0, 1.0, 201)  # at which quantiles of the training images are kept
FEATURES: Final = "network features"  # name of the figure that is made of them
_LARGE: Final = 0.3  # a distance from which a shift is called large, whatever the number of images


class FigureQuantiles(FrozenModel):
    """The distribution of a figure over the training images.

    Attributes:
        values: Its quantiles at equal steps from 0 to 1, ascending; each patient counts once.
        patients: Number of patients, or of images where patients are unknown.
    """

    values: tuple[FiniteFloat, ...]
    patients: int

    @classmethod
    def of(cls, values: FloatArray, groups: NDArray[Any]) -> "FigureQuantiles":
        """Return the quantiles of values, shape (images,), of images of these patients, shape (images,)."""
        found = _quantiles(values, _weights(groups), _SHARES)
        return cls(values=tuple(found.tolist()), patients=len(np.unique(groups)))


@dataclass(frozen=True, slots=True)
class FeatureNovelty:
    """How unlike the training images the network finds the images of another set, by its features.

    Attributes:
        p_values: Conformal p-value of each image, in (0, 1], shape (images,).
        patients: Number of training patients that they were calibrated by.
    """

    p_values: FloatArray
    patients: int


class FigureShift(FrozenModel):
    """The shift of one figure.

    Attributes:
        figure: Name of the figure.
        training: Its median over the training images; of the p-values of network features 0.5.
        here: Its median over the other set.
        distance: Largest difference of the two shares of images below a value, in [0, 1].
        adjusted: Chance of such a distance without a shift, corrected for the number of figures.
    """

    figure: str
    training: FiniteFloat
    here: FiniteFloat
    distance: FiniteFloat
    adjusted: FiniteFloat

    @property
    def is_found(self) -> bool:
        """True if the figure has shifted beyond chance."""
        return self.adjusted <= 1 - LEVEL

    @property
    def text(self) -> str:
        """The two medians in words."""
        if self.figure == FEATURES:
            return f"half of these images lie further out than {1 - self.here:.0%} of the training images do"
        return f"median {self.figure} {self.here:.3g}, in training {self.training:.3g}"


class SetShift(FrozenModel):
    """The shift of a set against the training images.

    Attributes:
        figures: Shift of each figure, the largest first.
    """

    figures: tuple[FigureShift, ...]

    @property
    def text(self) -> str:
        """The shift in a sentence."""
        found = [one for one in self.figures if one.is_found]
        if not found:
            also = " and no feature" if any(one.figure == FEATURES for one in self.figures) else ""
            return f"No figure of the pixels{also} differs from the training images beyond chance."
        first = found[0]
        named = ", ".join(one.figure for one in found)
        how = "Largely shifted" if first.distance >= _LARGE else "Shifted"
        return f"{how} against the training images in {named}: {first.text} (distance {first.distance:.2f})."


def set_shift(
    training: Mapping[str, FigureQuantiles],
    here: Mapping[str, FloatArray],
    groups: NDArray[Any],
    *,
    novelty: FeatureNovelty | None = None,
) -> SetShift:
    """Compare figures of another set with those of the training images.

    Args:
        training: Figure -> its distribution over the training images.
        here: Figure -> values of the other set, shape (images,); figures that only one has are left out.
        groups: Patient of each image, shape (images,).
        novelty: What the network's features say of the same images; None where it has none.

    >>> random = np.random.default_rng(0)
    >>> one, other, patients = random.normal(size=500), random.normal(1.0, size=200), np.arange(200)
    >>> kept = {"mean": FigureQuantiles.of(one, np.arange(500))}
    >>> set_shift(kept, {"mean": other}, patients).figures[0].is_found
    True
    >>> set_shift(kept, {"mean": one[:200]}, patients).figures[0].is_found
    False
    """
    from scipy.stats import kstwobign  # slow to import

    patients, weights = len(np.unique(groups)), _weights(groups)
    names = [name for name in training if name in here]
    distances = [_distance(np.asarray(training[name].values), here[name], weights) for name in names]
    numbers = [patients * training[name].patients / (patients + training[name].patients) for name in names]
    chances = [
        float(kstwobign.sf(np.sqrt(number) * distance))
        for number, distance in zip(numbers, distances, strict=True)
    ]
    medians = [
        (training[name].values[len(_SHARES) // 2], float(_quantiles(here[name], weights, np.array([0.5]))[0]))
        for name in names
    ]
    if novelty is not None:
        distance, chance, median = _features_beyond(novelty, groups)
        names, distances, chances = [*names, FEATURES], [*distances, distance], [*chances, chance]
        medians.append((0.5, median))
    figures = [
        FigureShift(figure=name, training=before, here=now, distance=distance, adjusted=adjusted)
        for name, (before, now), distance, adjusted in zip(
            names, medians, distances, holm(chances), strict=True
        )
    ]
    return SetShift(figures=tuple(sorted(figures, key=lambda one: -one.distance)))


def _features_beyond(novelty: FeatureNovelty, groups: NDArray[Any]) -> tuple[float, float, float]:
    """By how much small p-values are too many, the chance of that without a shift, and the median p.

    Each patient counts once, as in the calibration.
    """
    patients = len(np.unique(groups))
    order = np.argsort(novelty.p_values, kind="stable")
    ascending = np.asarray(novelty.p_values, dtype=np.float64)[order]
    share = np.cumsum(_weights(groups)[order])
    # The last image of each p-value has the share of all that are no more like training than it is.
    distance = float(max((share - ascending).max(), 0.0))
    number = patients * novelty.patients / (patients + novelty.patients)
    median = float(ascending[min(int(np.searchsorted(share, 0.5)), len(ascending) - 1)])
    return distance, float(np.exp(-2 * number * distance**2)), median


def _weights(groups: NDArray[Any]) -> FloatArray:
    """Weight of each image, one over the number of its patient, shape (images,); their sum is 1."""
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return 1.0 / counts[place.reshape(-1)] / len(counts)


def _quantiles(values: FloatArray, weights: FloatArray, shares: FloatArray) -> FloatArray:
    """Quantiles of weighted values, of shape (images,), at shares; with equal weights those of numpy.

    A value stands in the middle of its weight, the smallest at 0 and the largest at 1.
    """
    order = np.argsort(values, kind="stable")
    ordered, own = np.asarray(values, dtype=np.float64)[order], weights[order]
    middles = np.cumsum(own) - own / 2
    width = middles[-1] - middles[0]
    if width <= 0:
        return np.full(len(shares), ordered[0])
    return np.interp(shares, (middles - middles[0]) / width, ordered)


def _distance(quantiles: FloatArray, values: FloatArray, weights: FloatArray) -> float:
    """Largest difference between the share of weighted values and of training images below a value.

    Where many training images have one value, as none of an 8 bit range do by chance, both its ends count.
    """
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values, dtype=np.float64)[order]
    share = np.concatenate([[0.0], np.cumsum(weights[order])])
    points = np.unique(np.concatenate([quantiles, ordered]))
    above = share[np.searchsorted(ordered, points, side="right")]
    below = share[np.searchsorted(ordered, points, side="left")]
    at_most = _share_of_quantiles(quantiles, points, side="right")
    less = _share_of_quantiles(quantiles, points, side="left")
    # A difference counts only where no course between two kept quantiles could explain it.
    return float(max((above - at_most).max(), (less - below).max(), 0.0))


def _share_of_quantiles(quantiles: FloatArray, points: FloatArray, *, side: str) -> FloatArray:
    """Share of training images up to each point at most (`right`), or below it at least (`left`)."""
    step = 1.0 / (len(quantiles) - 1)
    if side == "right":
        known = np.searchsorted(quantiles, points, side="right")
        return np.clip(known * step, 0.0, 1.0)
    known = np.searchsorted(quantiles, points, side="left")
    return np.clip((known - 1) * step, 0.0, 1.0)
