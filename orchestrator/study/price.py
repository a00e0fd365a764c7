"""What a configuration costs: passes through frozen nets, which trials share, and its own training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trainables.config.trial_config import TrialConfig


@dataclass(frozen=True, slots=True)
class Pass:
    """A pass of all images through a frozen net. Trials that need the same one share it.

    Attributes:
        backbone: Name of the net.
        size_px: Side of its input, in pixels.
        contrast: Contrast factor of its input; 1 is off.
        view: Name of the view of the images.
        others: Further settings that change its input, as text; empty where they are as by default.
    """

    backbone: str
    size_px: int
    contrast: float
    view: str
    others: str = ""


@dataclass(frozen=True, slots=True)
class PointPrice:
    """Estimated time of one configuration on one worker.

    Attributes:
        passes: Seconds of each pass through frozen stages; other trials read their results too.
        training: Seconds of training stages, if all epochs run; 0 for a head alone, whose time is learned.
        columns: Numbers that the head reads of each image, by which its time grows; 0 if nobody knows.
        head: Guessed seconds of training a head alone, by its weights and steps, if all epochs run; 0 for
            closed-form heads, and if nobody knows.
    """

    passes: Mapping[Pass, float]
    training: float
    columns: int = 0
    head: float = 0.0

    @property
    def pass_seconds(self) -> float:
        """Seconds of all passes."""
        return sum(self.passes.values())

    @property
    def seconds(self) -> float:
        """Seconds of passes and training."""
        return self.pass_seconds + self.training


Pricing = Callable[[TrialConfig], PointPrice]


def free(config: TrialConfig) -> PointPrice:
    """Price of a configuration where nobody has measured what it costs."""
    return PointPrice({}, 0.0)
