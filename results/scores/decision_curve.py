"""What a model is worth to those who act on it: net benefit, interventions avoided, images per one found.

The net benefit of acting from a threshold on is the share of images with the finding that are acted on, minus
that of the others, weighed by the odds of the threshold: who acts at 5 % takes nineteen false alarms for one
found. It is compared with acting on all images and on none. A set may be weighed to another prevalence.

Intervals are the middle 95 % of draws: of the share of images with the finding, and of the shares of these
and of the others that are acted on, each from its posterior on effective numbers. So no interval collapses
where few images are acted on, or few are spared, and all of these happen to be right.

Source:
    Vickers and Elkin (2006), Medical Decision Making 26:565; Vickers, Cronin, Elkin and Gonen (2008), BMC
    Medical Informatics and Decision Making 8:53.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from results.scores.decision_intervals import drawn_share, middle_interval
from results.scores.decisions import check_predictions, check_two_classes
from results.scores.interval import Interval
from results.scores.operating_point import odds_shift
from trainables.common.errors import ConfigError
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray
from trainables.config.unit_config import UnitName

THRESHOLDS: Final = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_DRAWS: Final = 2000
_SEED: Final = 0  # of the draws, so that a curve is a function of its images


class BenefitPoint(FrozenModel):
    """What acting from one threshold on is worth; all per image.

    Attributes:
        threshold: Probability from which one acts.
        benefit: Net benefit of the model, with its 95 % interval over patients.
        of_all: Net benefit of acting on all images.
        gain: Net benefit of the model minus that of the better of acting on all and on none.
        avoided: Interventions that the model spares of 100 images without missing more, against acting on
            all; below 0 where acting on all is better.
        recalled: Share of images that is acted on.
        needed: Images that are acted on for each one found; None where none is found.
    """

    threshold: FiniteFloat
    benefit: Interval
    of_all: FiniteFloat
    gain: Interval
    avoided: Interval
    recalled: FiniteFloat
    needed: FiniteFloat | None

    @property
    def is_useful(self) -> bool:
        """True if the data show that the model is worth more than acting on all and on none."""
        return self.gain.low > 0


class DecisionCurve(FrozenModel):
    """What a model is worth at each threshold.

    Attributes:
        model: Name of the model.
        prevalence: Share of positives that it is worth this at.
        points: By ascending threshold.
        unit: What one acts on.
    """

    model: str
    prevalence: FiniteFloat
    points: tuple[BenefitPoint, ...]
    unit: UnitName = "image"

    @property
    def useful(self) -> tuple[tuple[float, float], ...]:
        """First and last threshold of each run of thresholds at which the model is useful, ascending."""
        runs = groupby(self.points, key=lambda one: one.is_useful)
        ends = [[one.threshold for one in own] for is_useful, own in runs if is_useful]
        return tuple((own[0], own[-1]) for own in ends)


def decision_curve(
    labels: IntArray,
    probabilities: FloatArray,
    groups: NDArray[Any],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    prevalence: float | None = None,
    inflation: float = 1.0,
    model: str = "model",
) -> DecisionCurve:
    """Return the net benefit of a model at some thresholds.

    Args:
        labels: Labels, 0 or 1, shape (images,); both occur.
        probabilities: Calibrated probabilities at the prevalence of the labels, shape (images, 2).
        groups: Patient of each image, shape (images,).
        thresholds: Probabilities from which one acts, in (0, 1).
        prevalence: Share of positives to which images are weighed and probabilities moved; None for that of
            the labels.
        inflation: Factor by which other training parts widen a variance, see `fold_inflation`.
        model: Name of the model.

    Raises:
        DataError: If the shapes do not fit, or a probability is not a number in [0, 1].
        OneClassError: If `labels` holds a single class.
        ConfigError: If there is no threshold, or one is not between 0 and 1.

    >>> labels, positive = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.3, 0.8])
    >>> probabilities = np.stack([1 - positive, positive], axis=1)
    >>> curve = decision_curve(labels, probabilities, np.arange(4), thresholds=[0.2])
    >>> round(curve.points[0].benefit.estimate, 4), curve.points[0].needed
    (0.4375, 1.5)
    """
    check_predictions(labels, probabilities)
    check_two_classes(labels, "a decision curve")
    if not len(thresholds):
        raise ConfigError("a decision curve needs at least one threshold, found none")
    outside = [one for one in thresholds if not 0 < one < 1]
    if outside:
        raise ConfigError(f"a threshold of a decision curve lies between 0 and 1, found {outside[0]:g}")
    share = float(labels.mean())
    wanted = share if prevalence is None else prevalence
    weights = np.where(labels == 1, wanted / share, (1 - wanted) / (1 - share))
    positive = np.clip(np.asarray(probabilities[:, 1], dtype=np.float64), 1e-15, 1 - 1e-15)
    odds = positive / (1 - positive) * np.exp(odds_shift(share, prevalence))
    patient = np.unique(groups, return_inverse=True)[1].reshape(-1)
    worth = _Worth(labels, weights, patient, inflation, prevalence)
    points = [worth.at(one, odds / (1 + odds)) for one in sorted(thresholds)]
    return DecisionCurve(model=model, prevalence=wanted, points=tuple(points))


class _Worth:
    """Net benefits of decisions on images with weights."""

    def __init__(
        self,
        labels: IntArray,
        weights: FloatArray,
        patient: IntArray,
        inflation: float,
        prevalence: float | None,
    ) -> None:
        self._labels, self._weights, self._patient = labels, weights, patient
        self._inflation = inflation
        self._random = np.random.default_rng(_SEED)
        # How common the finding is does not depend on the training parts.
        self._prevalences = (
            drawn_share(labels == 1, patient, self._random, draws=_DRAWS)
            if prevalence is None
            else np.full(_DRAWS, prevalence)
        )

    def at(self, threshold: float, positive: FloatArray) -> BenefitPoint:
        """What acting from a threshold on is worth."""
        odds = threshold / (1 - threshold)
        acts = positive >= threshold
        each = np.where(self._labels == 1, 1.0, -odds) * self._weights
        benefit, of_all = float((acts * each).mean()), float(each.mean())
        found = float((acts * (self._labels == 1) * self._weights).mean())
        recalled = float((acts * self._weights).mean())
        benefits, of_alls = self._drawn(acts, odds)
        return BenefitPoint(
            threshold=threshold,
            benefit=middle_interval(benefit, benefits),
            of_all=of_all,
            gain=middle_interval(benefit - max(of_all, 0.0), benefits - np.maximum(of_alls, 0.0)),
            avoided=middle_interval((benefit - of_all) / odds * 100, (benefits - of_alls) / odds * 100),
            recalled=recalled,
            needed=recalled / found if found > 0 else None,
        )

    def _drawn(self, acts: NDArray[np.bool_], odds: float) -> tuple[FloatArray, FloatArray]:
        """Draws of the net benefit of some actions, and of acting on all, each of shape (draws,)."""
        alarmed, found = (
            drawn_share(
                acts[self._labels == label],
                self._patient[self._labels == label],
                self._random,
                draws=_DRAWS,
                inflation=self._inflation,
            )
            for label in (0, 1)
        )
        with_finding, without = self._prevalences, (1 - self._prevalences) * odds
        return with_finding * found - without * alarmed, with_finding - without
