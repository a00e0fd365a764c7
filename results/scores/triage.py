"""A rule of two thresholds: benign below the lower one, recall from the upper one on, between do not know.

Each threshold keeps a promise for a new patient that holds for any distribution of scores and any number of
patients: of the images of a new patient with the finding at most a share `missed` is called benign on
average, and of those of a new patient without it at most a share `alarms` is recalled. That is conformal risk
control: the errors of n patients and one more, taken as wholly wrong, stay within n + 1 times the share.

The promise is exact for a model that stays as it is and patients that it never saw, as in `orchestrate
recalibrate`. Fitted on out-of-fold predictions it is that of cross-conformal prediction, where the model that
predicts is the mean of those that made the predictions. The thresholds are then those logits of a single fold
model, of which the mean, which varies less, passes at most as many: the rule leaves more open than it need,
and keeps both shares, as far as `python -m benchmarks.claims_tests` has looked.

Source:
    Angelopoulos, Bates, Fisch, Lei and Schuster (2024), "Conformal risk control", ICLR; Vovk (2015),
    "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 74:9.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from results.errors import ScoreError
from results.scores.calibration import Platt, sigmoid
from results.scores.decision_intervals import effective_number, wilson_interval
from results.scores.interval import Interval
from trainables.common.errors import ConfigError
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray
from trainables.data.group_names import group_unit

BENIGN, UNSURE, RECALL = 0, 1, 2  # outcomes
OUTCOMES: Final = ("benign", "do not know", "recall")
_MARGIN: Final = 1e-6  # relative, so that rounding to single precision puts no score on the wrong side


class TriageAim(FrozenModel):
    """Errors that a rule may make.

    Attributes:
        missed: Share of the images of a patient with the finding that may be called benign, in (0, 1).
        alarms: Share of the images of a patient without it that may be recalled, in (0, 1).
    """

    missed: FiniteFloat = Field(gt=0.0, lt=1.0)
    alarms: FiniteFloat = Field(gt=0.0, lt=1.0)

    def __str__(self) -> str:
        """Text as it is typed."""
        return f"missed={self.missed:g},alarms={self.alarms:g}"


class TriageRule(FrozenModel):
    """A rule of two thresholds.

    Attributes:
        low: Calibrated probabilities below it are called benign.
        high: Calibrated probabilities from it on are recalled.
        aim: Errors that the rule may make.
        patients: Number of patients without and with the finding that it was fitted on.
        is_exact: True if it was fitted on patients that the model never saw; False for out-of-fold
            predictions, see the text of the module.
    """

    low: FiniteFloat
    high: FiniteFloat
    aim: TriageAim
    patients: tuple[int, int]
    is_exact: bool = False

    def outcomes(self, positive: FloatArray) -> IntArray:
        """Return the outcome of each positive probability, an index into `OUTCOMES`, same shape."""
        return np.where(positive >= self.high, RECALL, np.where(positive < self.low, BENIGN, UNSURE))


class TriageShares(FrozenModel):
    """What a rule does to images, with 95 % intervals over patients.

    Attributes:
        missed: Share of the images with the finding that is called benign.
        alarms: Share of the images without it that is recalled.
        unsure: Share of all images of which the rule says that it does not know.
        counts: Outcome -> number of images without and with the finding.
    """

    missed: Interval
    alarms: Interval
    unsure: Interval
    counts: dict[str, tuple[int, int]]

    @property
    def text(self) -> str:
        """The shares in a sentence."""
        return (
            f"Triage: {self.missed.text()} of the positives called benign, {self.alarms.text()} of the "
            f"negatives recalled, {self.unsure.text()} of all left open."
        )


def parse_triage(text: str) -> TriageAim:
    """Read what is asked of a rule, such as `missed=0.02,alarms=0.1`.

    Raises:
        ConfigError: If it has another form, or a share is out of range.

    >>> print(parse_triage("alarms=0.1,missed=0.02"))
    missed=0.02,alarms=0.1
    """
    given = dict(part.strip().partition("=")[::2] for part in text.split(","))
    if set(given) != {"missed", "alarms"}:
        raise ConfigError(f"--triage needs two shares, such as missed=0.02,alarms=0.1, found {text!r}")
    shares = {}
    for name, number in given.items():
        try:
            shares[name] = float(number)
        except ValueError as error:
            raise ConfigError(f"--triage {text}: {number!r} is not a number") from error
        if not 0 < shares[name] < 1:
            raise ConfigError(f"--triage {text}: {name} is a share between 0 and 1")
    return TriageAim(**shares)


def fit_triage(
    labels: IntArray,
    positive: FloatArray,
    groups: NDArray[Any],
    aim: TriageAim,
    *,
    threshold: float = 0.5,
    calibrations: tuple[Platt, Platt] | None = None,
    is_exact: bool = False,
) -> TriageRule:
    """Fit a rule of two thresholds.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        positive: Calibrated positive probabilities, shape (images,).
        groups: Patient of each image, shape (images,).
        aim: Errors that the rule may make.
        threshold: Single threshold of the model, which is taken where nothing need be left open, if it keeps
            both promises.
        calibrations: That of the fold models which made the predictions, and that of their mean logit, which
            the rule is for; None where the model that predicts made them.
        is_exact: True if the model never saw these patients.

    Raises:
        ScoreError: If there are too few patients of a class for what is asked.
    """
    has, number_with = _weights(labels == 1, groups)
    lacks, number_without = _weights(labels == 0, groups)
    unit = group_unit(groups)
    _check_enough(number_with, aim.missed, f"{unit}s with", "missed")
    _check_enough(number_without, aim.alarms, f"{unit}s without", "alarms")
    low = _largest(positive[labels == 1], has, number_with, aim.missed) * (1 - _MARGIN)
    high = 1 - _largest(1 - positive[labels == 0], lacks, number_without, aim.alarms)
    high = high + _MARGIN * max(high, _MARGIN)
    if calibrations is not None:
        low, high = (
            min(low, _in_mean(low, *calibrations)),
            max(high, _in_mean(high, *calibrations)),
        )
    if low >= high:
        low = high = min(max(threshold, high), low)
    return TriageRule(low=low, high=high, aim=aim, patients=(number_without, number_with), is_exact=is_exact)


def triage_shares(labels: IntArray, outcomes: IntArray, groups: NDArray[Any]) -> TriageShares:
    """Return what a rule does to images.

    Args:
        labels: Labels, 0 or 1, shape (images,); both occur.
        outcomes: Outcome of each image, shape (images,).
        groups: Patient of each image, shape (images,).
    """

    def share(images: NDArray[np.bool_], outcome: int) -> Interval:
        is_so = outcomes[images] == outcome
        return wilson_interval(float(is_so.mean()), effective_number(is_so, groups[images]))

    return TriageShares(
        missed=share(labels == 1, BENIGN),
        alarms=share(labels == 0, RECALL),
        unsure=share(np.ones(len(labels), dtype=bool), UNSURE),
        counts={
            name: (
                int(((outcomes == place) & (labels == 0)).sum()),
                int(((outcomes == place) & (labels == 1)).sum()),
            )
            for place, name in enumerate(OUTCOMES)
        },
    )


def _in_mean(threshold: float, single: Platt, mean: Platt) -> float:
    """Probability that the mean of the fold models has where each has the logit of a threshold.

    The mean varies no more than a single model, so it passes a logit far out at most as often.
    """
    if not 0 < threshold < 1 or single == mean:
        return threshold
    logit = (math.log(threshold / (1 - threshold)) - single.intercept) / single.slope
    return float(sigmoid(np.array(mean.slope * logit + mean.intercept)))


def _weights(images: NDArray[np.bool_], groups: NDArray[Any]) -> tuple[FloatArray, int]:
    """Weight of each of some images, one over the number of its patient, and the number of patients."""
    names, place, counts = np.unique(groups[images], return_inverse=True, return_counts=True)
    return 1.0 / counts[place.reshape(-1)], len(names)


def _check_enough(patients: int, share: float, which: str, name: str) -> None:
    needed = math.ceil(round(1 / share, 9)) - 1
    if patients < needed:
        raise ScoreError(
            f"{name}={share:g} can be promised from {needed} {which} the finding on, found "
            f"{patients}; allow more errors, or give more data"
        )


def _largest(scores: FloatArray, weights: FloatArray, patients: int, share: float) -> float:
    """Largest score below which the weights of n patients, and one more, are within a share of n + 1."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    below = np.concatenate([[0.0], np.cumsum(weights[order])])[np.searchsorted(ordered, ordered, side="left")]
    kept = np.flatnonzero((below + 1.0) / (patients + 1) <= share + 1e-12)
    return float(ordered[kept[-1]])
