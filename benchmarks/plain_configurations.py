"""The configurations that the throughput benchmark runs on both sides."""

import itertools
import random
from dataclasses import dataclass
from typing import Final

from trainables.config.trial_config import TrialConfig, decode

COUNT: Final = 32
BATCH_SIZE: Final = 32
_CUTS: Final = ("top", "top+1")
_CONTRASTS: Final = (1.0, 1.5, 2.0)
_HIDDEN: Final = ("64", "128", "256")
_LEARNING_RATES: Final = (5e-4, 1e-3)


@dataclass(frozen=True, slots=True)
class Configuration:
    """One configuration: a frozen backbone up to a cut, a contrast, a head and its learning rate.

    Attributes:
        cut: Cut level of the backbone.
        contrast: Contrast factor.
        hidden: Number of units of the hidden layer, as text.
        lr: Learning rate of Adam.
    """

    cut: str
    contrast: float
    hidden: str
    lr: float

    def as_trial(self, backbone: str, epochs: int) -> TrialConfig:
        """Return it for our search: all epochs, the eight symmetries in training, one view at prediction."""
        return decode(
            {
                "model.backbone": backbone,
                "model.cut": self.cut,
                "model.head.hidden": self.hidden,
                "model.head.dropout": 0.0,
                "input.contrast": self.contrast,
                "optimizer.lr": self.lr,
                "training.epochs": epochs,
                "training.patience": None,
                "training.batch_size": BATCH_SIZE,
                "training.augmentation": "d4",
                "training.average_views": False,
            }
        )


def configurations() -> list[Configuration]:
    """Return the same 32 configurations every time, in an order that mixes cuts and contrasts."""
    grid = [Configuration(*point) for point in itertools.product(_CUTS, _CONTRASTS, _HIDDEN, _LEARNING_RATES)]
    return random.Random(0).sample(grid, COUNT)
