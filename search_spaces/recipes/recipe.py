"""Recipes: experiments of source systems as data, with settings, protocol and the reported figures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Final, Literal

_Z: Final = NormalDist().inv_cdf(0.975)  # normal quantile for a two-sided 95 % interval


@dataclass(frozen=True, slots=True)
class ReportedScore:
    """A number that a source reported.

    Attributes:
        metric: Name of the metric: `accuracy`, `recall`, `auc`, `f1`, `f2` or `loss`.
        value: Value as reported, or computed from a reported confusion matrix.
        images: Number of images that it was measured on; None if the source does not say.
        part: Part of the source's data that it was measured on.
        note: Remark that tells several numbers of one metric apart.
        positives: Number of those images in the positive class; None if not known.
    """

    metric: str
    value: float
    images: int | None
    part: Literal["test", "validation", "train"]
    note: str = ""
    positives: int | None = None

    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval, ends within [0, 1], or None if the needed counts are not known.

        Accuracy is a share of the images and recall a share of the positives: both have Wilson's interval.
        The AUC has Hanley and McNeil's, which needs images and positives. Images count as independent.

        Source:
            Wilson (1927), "Probable inference, the law of succession, and statistical inference"; Hanley and
            McNeil (1982), "The meaning and use of the area under a receiver operating characteristic curve".

        >>> [round(end, 3) for end in ReportedScore("accuracy", 0.6518, 336, "test").interval()]
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
    """Evaluation protocol of a source: cross-validation or hold-out, and test.

    Attributes:
        folds: Number of folds of the cross-validation; 1 with `holdout`.
        holdout: Share of the data outside the test part that is the only validation part, in (0, 1).
        test_share: Share of the data sealed for the test, in [0, 1), if the data bring no test set.
        is_naive: The source split images although it knew, or could have known, their patients.
        refits: The source trained once more on the whole training part before the test.
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
        about: Description in a few words.
        points: Full sets of dotted settings: one, several for a sweep, none for an ensemble.
        protocol: Evaluation protocol of the source.
        figures: Scores that the source reported, the main one first.
        choice: Our choices where the source is silent or contradicts itself.
        needs: Requirements on the data or the machine, in short phrases.
        members: Names of recipes of the same task whose trials an ensemble combines; empty for single models.
        method: Method of an ensemble, as in `orchestrate ensemble`; empty for single models.
        starts_from: Name of a recipe of the same task from whose finished trial this one starts.
        type_from: Name of a recipe for mass_calcification whose finished trial predicts the type of the
            finding for this one.
        doubt: Reason to doubt the source's figure; empty if there is none.
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
        """The score that recipes are compared by: the AUC, else the first one; never one of training."""
        unseen = [figure for figure in self.figures if figure.part != "train"]
        return next((figure for figure in unseen if figure.metric == "auc"), unseen[0] if unseen else None)


def _wilson(share: float, count: int) -> tuple[float, float]:
    shrink = 1 + _Z**2 / count
    centre = (share + _Z**2 / (2 * count)) / shrink
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / shrink
    # At a share of 0 or 1 one end must equal that share; rounding could put it beside it.
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
