"""The scores of the strata of a set, as they are kept and shown."""

from typing import Final

from pydantic import FiniteFloat

from results.scores.interval import Interval
from trainables.common.frozen import FrozenModel
from trainables.data.group_names import GroupUnit

LEAST_PATIENTS: Final = 10  # of each class that a score of a stratum needs
ALPHA: Final = 0.05  # chance that any difference is found where there is none


class Difference(FrozenModel):
    """A score of a stratum minus that of the other images of its column.

    Attributes:
        metric: `auc`, `recall` or `specificity`.
        value: The difference; `low` and `high` are the ends of its 95 % interval, not corrected.
        p_value: Chance of a difference this large where there is none.
        adjusted: The same, corrected for all comparisons of the set.
    """

    metric: str
    value: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat
    p_value: FiniteFloat
    adjusted: FiniteFloat = 1.0

    @property
    def is_found(self) -> bool:
        """True if the data show a difference."""
        return self.adjusted <= ALPHA

    def turned(self) -> "Difference":
        """Return the same difference as the other part has it."""
        return self.model_copy(update={"value": -self.value, "low": -self.high, "high": -self.low})


class Stratum(FrozenModel):
    """The scores of one stratum.

    Attributes:
        column: Name of the column.
        value: Value of the column, or a range of it.
        images: Number of images.
        patients: Number of patients.
        counts: Class -> number of its images.
        fewest_patients: Patients of the smallest class of the task.
        metrics: Metric -> value with its interval, for those that enough patients tell.
        observed: Share of images of the positive class; None beyond two classes.
        expected: Mean probability of the positive class; None beyond two classes.
        differences: Comparisons with the other images of the column.
        reason: Why scores are missing; empty where none is.
    """

    column: str
    value: str
    images: int
    patients: int
    counts: dict[str, int]
    fewest_patients: int
    metrics: dict[str, Interval]
    observed: FiniteFloat | None = None
    expected: FiniteFloat | None = None
    differences: tuple[Difference, ...] = ()
    reason: str = ""

    @property
    def name(self) -> str:
        """Column and value."""
        return f"{self.column} {self.value}"


class WithinSites(FrozenModel):
    """The AUC of pairs from the same site, beside that of all pairs.

    Attributes:
        column: Column that names the sites.
        pooled: AUC of all pairs, with its interval.
        within: AUC of pairs from the same site.
        difference: The pooled one minus that within sites: what telling sites apart adds.
    """

    column: str
    pooled: Interval
    within: Interval
    difference: Interval


class StrataScores(FrozenModel):
    """The scores of all strata of a set.

    Attributes:
        strata: Strata, column by column.
        within_sites: AUC within the sites of each column that names some.
        comparisons: Number of comparisons that were corrected for.
        least_patients: Patients of each class that a score needs, or of what `group_unit` names.
        group_unit: `patient`; where patients are not known `image`, or `image group`.
        worst: Name of the stratum with the lowest AUC; None where no stratum has one.
        is_worst_different: True if the data show that its AUC is lower than that of the others.
        remarks: What cannot be said, and why, in sentences.
    """

    strata: tuple[Stratum, ...]
    within_sites: tuple[WithinSites, ...] = ()
    comparisons: int = 0
    least_patients: int = LEAST_PATIENTS
    group_unit: GroupUnit = "patient"
    worst: str | None = None
    is_worst_different: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def found(self) -> list[tuple[Stratum, Difference]]:
        """Strata whose score the data show to differ, with the difference."""
        return [(one, own) for one in self.strata for own in one.differences if own.is_found]
