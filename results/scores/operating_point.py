"""Where a model calls an image positive, if the user says what it is for: an operating point.

A threshold is found on calibrated out-of-fold probabilities. Shares that depend on how common the finding is,
such as the recall rate and the positive predictive value, can be asked for at another prevalence than that of
the data: positives and negatives are then weighed as they occur there, and probabilities are moved by the
ratio of the odds.

Source:
    Elkan (2001), "The foundations of cost-sensitive learning", IJCAI, on the threshold of a cost and on other
    prevalences; Saerens, Latinne and Decaestecker (2002), Neural Computation 14:21.
"""

import math
from typing import Final, Literal, get_args

import numpy as np
from pydantic import Field, FiniteFloat

from results.errors import ScoreError
from results.scores.calibration import Platt
from results.scores.decisions import decisions_by_threshold
from results.scores.triage import TriageAim, parse_triage
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray

Aim = Literal["sensitivity", "specificity", "recall-rate", "ppv", "cost"]

AIMS: Final[tuple[str, ...]] = get_args(Aim)
_TINY: Final = 1e-12  # by which a share may miss what was asked for, as rounding


class OperatingPoint(FrozenModel):
    """What a threshold is chosen for.

    Attributes:
        aim: `sensitivity` or `specificity`: at least that; `recall-rate`: at most that share of all images is
            called positive; `ppv`: at least that share of those is; `cost`: how many false alarms one missed
            positive is worth.
        value: The share, in (0, 1); for `cost` a positive number.
    """

    aim: Aim
    value: FiniteFloat = Field(gt=0.0)

    def __str__(self) -> str:
        """Text as it is typed, such as `sensitivity=0.95` or `cost=10:1`."""
        return f"{self.aim}={self.value:g}{':1' if self.aim == 'cost' else ''}"


class Operation(FrozenModel):
    """What a user asks of the decisions of a model.

    Attributes:
        at: What the threshold is chosen for; None for what the search optimises.
        prevalence: Share of positives where the model will be used; None for that of the data.
        triage: Errors that a rule of two thresholds may make; None for one threshold alone.

    >>> print(Operation.of(at="sensitivity=0.95", prevalence=0.006))
    sensitivity=0.95 at prevalence 0.006
    """

    at: OperatingPoint | None = None
    prevalence: FiniteFloat | None = Field(default=None, gt=0.0, lt=1.0)
    triage: TriageAim | None = None

    @classmethod
    def of(
        cls, *, at: str | None = None, prevalence: float | None = None, triage: str | None = None
    ) -> "Operation":
        """Return what was asked for in words, as on the command line.

        Args:
            at: Text such as `sensitivity=0.95`, `specificity=0.9`, `recall-rate=0.05`, `ppv=0.3` or
                `cost=10:1`.
            prevalence: Share of positives, in (0, 1).
            triage: Text such as `missed=0.02,alarms=0.1`.

        Raises:
            ConfigError: If a text has another form, or a share is out of range.
            UnknownNameError: If there is no such aim.
        """
        if prevalence is not None and not 0 < prevalence < 1:
            raise ConfigError(f"--prevalence is a share between 0 and 1, found {prevalence:g}")
        return cls(
            at=None if at is None else parse_operating_point(at),
            prevalence=prevalence,
            triage=None if triage is None else parse_triage(triage),
        )

    @property
    def is_asked(self) -> bool:
        """True if anything is asked for."""
        return self != Operation()

    def __str__(self) -> str:
        """What is asked for in words; empty for nothing."""
        parts = [
            "" if self.at is None else str(self.at),
            "" if self.prevalence is None else f"at prevalence {self.prevalence:g}",
            "" if self.triage is None else f"triage {self.triage}",
        ]
        return " ".join(part for part in parts if part)


NOTHING_ASKED: Final = Operation()


def parse_operating_point(text: str) -> OperatingPoint:
    """Read an operating point such as `sensitivity=0.95` or `cost=10:1`.

    Raises:
        ConfigError: If it has another form, or its number is out of range.
        UnknownNameError: If there is no such aim.

    >>> parse_operating_point("cost=10:1").value
    10.0
    """
    name, sign, number = (part.strip() for part in text.partition("="))
    name = name.replace("_", "-")
    if not sign:
        raise ConfigError(f"--at needs an aim and a number, such as sensitivity=0.95, found {text!r}")
    if name not in AIMS:
        raise UnknownNameError("operating point", name, AIMS)
    value = _cost(number, text) if name == "cost" else _number(number, text)
    if not value > 0 or (name != "cost" and value >= 1):
        wanted = "a positive number" if name == "cost" else "a share between 0 and 1"
        raise ConfigError(f"--at {text}: {name} is {wanted}")
    return OperatingPoint(aim=name, value=value)


def threshold_at(
    labels: IntArray,
    probabilities: FloatArray,
    point: OperatingPoint,
    *,
    prevalence: float | None = None,
    is_strict: bool = True,
) -> float:
    """Return the threshold of an operating point.

    Args:
        labels: Labels, 0 or 1, shape (images,); both occur.
        probabilities: Calibrated probabilities of both classes, shape (images, 2).
        point: What is asked for. Of all thresholds that keep it, the one that finds most positives is taken;
            for a sensitivity the one with the fewest false alarms.
        prevalence: Share of positives where the model will be used; None for that of the labels.
        is_strict: Raise an error where no threshold keeps it; False takes the nearest.

    Raises:
        ScoreError: If no threshold keeps it that calls any image positive.

    >>> labels, positive = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.3, 0.8])
    >>> probabilities = np.stack([1 - positive, positive], axis=1)
    >>> threshold_at(labels, probabilities, parse_operating_point("specificity=0.9"))
    0.6000000000000001
    """
    if point.aim == "cost":
        return 1.0 / (1.0 + point.value)
    thresholds, matrices = decisions_by_threshold(labels, probabilities)
    values, is_kept = _values(matrices, point, prevalence)
    calls_any = matrices[:, :, 1].sum(axis=1) > 0
    fit = np.flatnonzero(is_kept & calls_any)
    if len(fit):
        return float(thresholds[fit[-1] if point.aim == "sensitivity" else fit[0]])
    reached = values[calls_any]
    nearest = float(reached.min() if point.aim == "recall-rate" else reached.max())
    if is_strict:
        best = "least" if point.aim == "recall-rate" else "most"
        raise ScoreError(
            f"no threshold keeps {point}: the {best} that out-of-fold decisions reach is {nearest:.3g}; ask "
            "for less, or search for a better model"
        )
    return float(thresholds[np.flatnonzero(calls_any & (values == nearest))[-1]])


def odds_shift(share: float, prevalence: float | None) -> float:
    """Return what must be added to logits, fitted where `share` are positive, for another prevalence.

    >>> round(odds_shift(0.5, 0.1), 3)
    -2.197
    """
    if prevalence is None or not 0 < share < 1:
        return 0.0
    return math.log(prevalence / (1 - prevalence)) - math.log(share / (1 - share))


def to_share_of(labels: IntArray, prevalence: float | None) -> Platt:
    """Return what turns probabilities at a prevalence into those at the share of positives of some labels.

    Probabilities that were moved to where a model will be used are compared with labels at these.

    Args:
        labels: Labels, 0 or 1, shape (images,).
        prevalence: Share of positives that the probabilities are for; None changes nothing.

    >>> to_share_of(np.array([0, 1]), 0.1).apply(np.array([[0.9, 0.1]])).round(6).tolist()
    [[0.5, 0.5]]
    """
    return Platt().moved(-odds_shift(float(labels.mean()), prevalence))


def _values(
    matrices: IntArray, point: OperatingPoint, prevalence: float | None
) -> tuple[FloatArray, FloatArray]:
    """What is asked for at each threshold, and where it is kept; both of shape (thresholds,)."""
    negatives, positives = matrices[0].sum(axis=1)
    share = positives / (positives + negatives) if prevalence is None else prevalence
    found, alarms = matrices[:, 1, 1] / positives, matrices[:, 0, 1] / negatives
    if point.aim == "sensitivity":
        return found, found >= point.value - _TINY
    if point.aim == "specificity":
        return 1 - alarms, 1 - alarms >= point.value - _TINY
    called = share * found + (1 - share) * alarms
    if point.aim == "recall-rate":
        return called, called <= point.value + _TINY
    right = np.divide(share * found, called, out=np.zeros_like(called), where=called > 0)
    return right, right >= point.value - _TINY


def _cost(number: str, text: str) -> float:
    missed, sign, alarm = number.partition(":")
    value, other = _number(missed, text), _number(alarm, text) if sign else 1.0
    if other <= 0:
        raise ConfigError(f"--at {text}: both costs are positive numbers, such as cost=10:1")
    return value / other


def _number(number: str, text: str) -> float:
    try:
        found = float(number)
    except ValueError as error:
        raise ConfigError(f"--at {text}: {number!r} is not a number") from error
    if not math.isfinite(found):
        raise ConfigError(f"--at {text}: {number!r} is not a number")
    return found
