"""What a recipe is: an experiment of a source system, as settings, protocol and the figure it reported."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Final, Literal

_Z: Final = NormalDist().inv_cdf(0.975)  # of a two-sided 95 % interval


@dataclass(frozen=True, slots=True)
class ReportedScore:
    """A number that a source reported.

    Attributes:
        metric: `accuracy`, `recall`, `auc`, `f1`, `f2` or `loss`.
        value: As reported, or computed from a reported confusion matrix.
        images: Images that it was measured on; None where the source does not say.
        part: Of the source's data.
        note: What it is of, where one number a metric is not enough.
        positives: Those of the images that are of the positive class, where known.
    """

    metric: str
    value: float
    images: int | None
    part: Literal["test", "validation", "train"]
    note: str = ""
    positives: int | None = None

    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval, ends within [0, 1], or None where what it takes is not known.

        Accuracy is a share of the images and recall one of the positives: Wilson's interval. The AUC has
        Hanley and McNeil's, which takes images and positives. Images count as independent.

        Source:
            Wilson (1927), "Probable inference, the law of succession, and statistical inference"; Hanley and
            McNeil (1982), "The meaning and use of the area under a receiver operating characteristic curve".

        >>> [round(end, 3) for end in Figure("accuracy", 0.6518, 336, "test").interval()]
        [0.599, 0.701]
        """
        if self.metric == "accuracy" and self.images:
            return _wilson(self.value, self.images)
        if self.metric == "recall" and self.positives:
            return _wilson(self.value, self.positives)
        if self.metric == "auc" and self.images and self.positives:
            return _hanley_mcneil(self.value, self.positives, self.images - self.positives)
        return None


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """How the source measured.

    Attributes:
        folds: Of the cross-validation; 1 with `holdout`.
        holdout: Share of what is no test part that makes a single validation part, in (0, 1).
        test_share: Share of the data sealed for the test, in [0, 1), where the data bring no test set.
        is_naive: The source split images where it knew, or could have known, whose they were.
        refits: It trained once more on the whole training part before the test.
    """

    folds: int = 4
    holdout: float | None = None
    test_share: float = 0.2
    is_naive: bool = False
    refits: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """An experiment of a source, or of our own, as data.

    Attributes:
        name: Id in the catalogue; the same id may stand for several tasks, once each.
        task: Name of the task.
        about: What it is, in a few words.
        points: Full sets of dotted settings: one, several for a sweep, none for an ensemble.
        protocol: How the source measured.
        figures: What it reported, the main figure first.
        choice: What was chosen where the source is silent or contradicts itself.
        needs: What the data or the machine must have, in short phrases.
        members: For an ensemble, names of recipes of the same task whose trials are combined.
        method: For an ensemble, its method, as in `orchestrate ensemble`.
        starts_from: Recipe of the same task whose finished trial it goes on from.
        type_from: Recipe for mass_calcification whose finished trial tells it the type of the finding.
        doubt: Why the source's figure is not to be believed; empty where nothing speaks against it.
    """

    name: str
    task: str
    about: str
    points: tuple[Mapping[str, Any], ...] = field(hash=False)
    protocol: EvaluationProtocol
    figures: tuple[ReportedScore, ...] = ()
    choice: str = ""
    needs: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    method: str = ""
    starts_from: str = ""
    type_from: str = ""
    doubt: str = ""

    @property
    def main_score(self) -> ReportedScore | None:
        """The figure that recipes are compared by: the AUC, else the first one; training figures never."""
        unseen = [figure for figure in self.figures if figure.part != "train"]
        return next((figure for figure in unseen if figure.metric == "auc"), unseen[0] if unseen else None)


def _wilson(share: float, count: int) -> tuple[float, float]:
    shrink = 1 + _Z**2 / count
    centre = (share + _Z**2 / (2 * count)) / shrink
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / shrink
    # At a share of 0 or 1 an end is that share, but for rounding.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def _hanley_mcneil(area: float, positives: int, negatives: int) -> tuple[float, float]:
    both_positive = area / (2 - area)
    both_negative = 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area)
        + (positives - 1) * (both_positive - area**2)
        + (negatives - 1) * (both_negative - area**2)
    ) / (positives * negatives)
    half = _Z * math.sqrt(max(0.0, variance))
    return max(0.0, area - half), min(1.0, area + half)
