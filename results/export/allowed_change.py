"""What a lower precision or a student may change in a model, and what is used where nothing is said.

The command line imports this at its start, so that it takes nothing that is slow to load.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from results.errors import ExportError

PrecisionName = Literal["fp16", "int8"]
PRECISIONS: Final[tuple[PrecisionName, ...]] = get_args(PrecisionName)
MAX_AUC_LOSS: Final = 0.005
MAX_CHANGED_CALLS: Final = 0.01
# A student is another model: on patients that neither has seen, it calls more of them differently.
STUDENT_AUC_LOSS: Final = 0.02
STUDENT_CHANGED_CALLS: Final = 0.1
DISTIL_WEIGHT: Final = 0.5


@dataclass(frozen=True, slots=True)
class AllowedChange:
    """Largest change of a model that is still exported.

    Attributes:
        auc_loss: Largest fall of the AUC, in [0, 1].
        changed_calls: Largest share of images that are called another class, in [0, 1].

    Raises:
        ExportError: If a bound lies outside [0, 1].
    """

    auc_loss: float = MAX_AUC_LOSS
    changed_calls: float = MAX_CHANGED_CALLS

    def __post_init__(self) -> None:
        bounds = {"--max-auc-loss": self.auc_loss, "--max-changed-calls": self.changed_calls}
        for option, value in bounds.items():
            if not 0 <= value <= 1:
                raise ExportError(f"{option} must lie between 0 and 1, found {value:g}")


@dataclass(frozen=True, slots=True)
class ExportChanges:
    """What an export changes in the model that it is given.

    Attributes:
        precision: Number type of the networks: `float32`, or one of `PRECISIONS`.
        distil: Number of the trial that becomes a student of the ensemble; True chooses one, False none.
        distil_weight: Share of the ensemble's predictions in what the student learns, in (0, 1]; None takes
            the constant of this module.
        max_auc_loss: Largest fall of the AUC; None likewise.
        max_changed_calls: Largest share of changed calls; None likewise.

    Raises:
        ExportError: If there is a weight without a student, or a bound without what it bounds.
    """

    precision: str = "float32"
    distil: int | bool = False
    distil_weight: float | None = None
    max_auc_loss: float | None = None
    max_changed_calls: float | None = None

    def __post_init__(self) -> None:
        if self.is_distilled:
            return
        if self.distil_weight is not None:
            raise ExportError("--distil-weight says what a student learns: give --distil, too")
        bounds = {"--max-auc-loss": self.max_auc_loss, "--max-changed-calls": self.max_changed_calls}
        for option, value in bounds.items():
            if value is not None and self.precision == "float32":
                raise ExportError(
                    f"{option} bounds what a lower precision or a student changes: give --precision or "
                    "--distil, too"
                )

    @property
    def is_distilled(self) -> bool:
        """True if a student is trained; trial 0 is one, too."""
        return self.distil is not False

    def of_precision(self) -> AllowedChange:
        """Return what a lower precision may change."""
        return self._allowed(MAX_AUC_LOSS, MAX_CHANGED_CALLS)

    def of_student(self) -> AllowedChange:
        """Return what a student may change."""
        return self._allowed(STUDENT_AUC_LOSS, STUDENT_CHANGED_CALLS)

    def _allowed(self, auc_loss: float, changed_calls: float) -> AllowedChange:
        return AllowedChange(
            auc_loss if self.max_auc_loss is None else self.max_auc_loss,
            changed_calls if self.max_changed_calls is None else self.max_changed_calls,
        )


AS_IT_IS: Final = ExportChanges()
