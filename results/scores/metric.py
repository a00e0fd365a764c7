"""A metric: its name, what it judges, its direction and range, as `results.scores.metrics` holds it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from trainables.common.errors import ConfigError
from trainables.common.types import FloatArray

Kind = Literal["probabilities", "decisions", "cost"]
Classes = Literal["two", "any", "ordinal"]

LAST_PLACE = 1000  # of metrics that say no place of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A number that is part of a metric's name, such as the 0.9 of `partial_auc@0.9`.

    Attributes:
        name: What the number is, in words.
        default: Its value where the name has none.
        low: Smallest value; the number lies above it.
        high: Largest value; the number lies below it.
    """

    name: str
    default: float
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric of out-of-fold predictions, or of the cost of predicting.

    Attributes:
        name: Name, as it is typed after `--metric`.
        kind: What it judges. `probabilities`: labels and probabilities. `decisions`: confusion matrices.
            `cost`: what a prediction costs; it is measured and needs no function.
        function: For `probabilities`, a function of labels (images,) and probabilities (images, classes), and
            of the parameter where there is one. For `decisions`, a function of confusion matrices of shape
            (..., classes, classes), rows being the true class. None for `cost`.
        header: Short name for tables.
        higher_is_better: Direction.
        low: Smallest possible value.
        high: Largest possible value; infinity where there is none.
        classes: Tasks that it fits: of `two` classes, of `any` number, or those whose classes have an
            `ordinal` order.
        within_folds: For `probabilities`: True takes the mean over folds of the score within each fold, of
            probabilities as they are, since the scores of two fold models cannot be compared. False pools all
            images, each calibrated by what was fitted on the other folds.
        has_own_threshold: For `decisions`: where it is searched, decisions are taken at the threshold that is
            best for it. False for metrics that a threshold alone can bring to their best value, such as
            recall; they are shown at the threshold of the model.
        influences: For `probabilities`: a function of labels, probabilities and the 0-based number of the
            patient of each image, and of the parameter where there is one, that returns the influence of each
            patient, shape (patients,); see `results.scores.influence`. None leaves out each patient once.
        is_standard: It is in every table and card; others are computed where they are asked for.
        digits: Number of decimals in tables.
        place: Order in tables, small first.
        parameter: The number that its name may end with; None without one.
    """

    name: str
    kind: Kind
    function: Callable[..., Any] | None
    header: str
    higher_is_better: bool = True
    low: float = 0.0
    high: float = 1.0
    classes: Classes = "any"
    within_folds: bool = False
    influences: Callable[..., FloatArray] | None = None
    has_own_threshold: bool = False
    is_standard: bool = False
    digits: int = 2
    place: int = LAST_PLACE
    parameter: Parameter | None = None

    def __post_init__(self) -> None:
        if (self.function is None) != (self.kind == "cost"):
            raise ConfigError(
                f"metric {self.name!r}: a metric of {self.kind} "
                f"{'is measured and has no function' if self.kind == 'cost' else 'needs a function'}"
            )
        if not self.low < self.high:
            raise ConfigError(
                f"metric {self.name!r}: its range goes from low to high, found {self.low:g} to {self.high:g}"
            )

    @property
    def judges_decisions(self) -> bool:
        """True if it is a function of confusion matrices."""
        return self.kind == "decisions"

    @property
    def is_cost(self) -> bool:
        """True if it is measured, and not computed from predictions."""
        return self.kind == "cost"

    def __call__(self, *given: Any) -> Any:
        """Compute it: of labels and probabilities, or of confusion matrices; see `function`."""
        if self.function is None:
            raise ConfigError(f"{self.name} is measured where a trial ran; predictions do not hold it")
        return self.function(*given)

    def text(self, value: float | None) -> str:
        """Return a value as tables show it, and a dash for None."""
        return "-" if value is None else f"{value:.{self.digits}f}"

    def at(self, value: float) -> "Metric":
        """Return the metric at a value of its parameter.

        Raises:
            ConfigError: If it has no parameter, or the value is out of its range.
        """
        parameter, function, influences = self.parameter, self.function, self.influences
        if parameter is None or function is None:
            raise ConfigError(f"metric {self.name} takes no number; name it without @{value:g}")
        if not parameter.low < value < parameter.high:
            raise ConfigError(
                f"{self.name}@{value:g}: its {parameter.name} lies between {parameter.low:g} and "
                f"{parameter.high:g}, both excluded"
            )

        return replace(
            self,
            name=f"{self.name}@{value:g}",
            header=f"{self.header}@{value:g}",
            function=_followed_by(value, function),
            influences=None if influences is None else _followed_by(value, influences),
            parameter=None,
        )


def _followed_by(value: float, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with a value behind whatever else it is given."""
    return lambda *given: function(*given, value)
