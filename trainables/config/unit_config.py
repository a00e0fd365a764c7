"""The unit that a search splits, scores and predicts, and how the images of a unit are combined."""

from typing import Final, Literal, TypeAlias, get_args

from trainables.common.frozen import FrozenModel

UnitName: TypeAlias = Literal["image", "breast", "exam", "patient"]
Combine: TypeAlias = Literal["mean", "mean_logit", "max", "noisy_or", "attention"]

UNITS: Final[tuple[UnitName, ...]] = get_args(UnitName)
ATTENTION: Final = "attention"  # a head of this name, in `classical.name`, weighs the images itself
PLURALS: Final = {"image": "images", "breast": "breasts", "exam": "exams", "patient": "patients"}
# The combinations without a head of their own that a search may choose from, by the kind of task.
COMBINATIONS_OF_TWO: Final[tuple[Combine, ...]] = ("mean", "mean_logit", "max", "noisy_or")
COMBINATIONS_OF_MORE: Final[tuple[Combine, ...]] = ("mean", "mean_logit")


class UnitConfig(FrozenModel):
    """Combination of the predictions of a unit's images; single images (`--unit image`) need none.

    Attributes:
        combine: `mean` averages probabilities; `mean_logit` averages their logits; `max` takes the most
            suspicious image; `noisy_or` is the probability that at least one image shows the finding, if each
            shows it by itself; `attention` takes the weights of the head `classical.name=attention`. `max`,
            `noisy_or` and `attention` are for two classes.
    """

    combine: Combine = "mean"
