"""Recognisable features for tests of the store."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from trainables.features.keys import PrefixKey
from trainables.models.taps import Tap
from trainables.preprocessing.views import View

IMAGES = 5
VIEWS = tuple(View("d4", index) for index in range(4))
TOP, LOW = Tap("top", is_pooled=True), Tap("low", is_pooled=False)


def key(**fields: object) -> PrefixKey:
    defaults: dict[str, object] = {
        "fingerprint": "f",
        "rows": np.arange(IMAGES),
        "backbone": "b",
        "weights": "w",
        "transform": {"contrast": 1.0, "size_px": 32},
    }
    return PrefixKey(**(defaults | fields))


class Counting:
    """Computes recognisable features and counts its calls."""

    def __init__(self, scale: float = 1.0, width: int = 2) -> None:
        self.calls: list[tuple[View, tuple[Tap, ...]]] = []
        self.scale, self.width = scale, width

    def __call__(self, view: View, taps: Sequence[Tap]) -> Iterator[tuple[int, dict[Tap, Tensor]]]:
        self.calls.append((view, tuple(taps)))
        for start in (0, 3):
            rows = torch.arange(start, min(start + 3, IMAGES), dtype=torch.float32)
            pooled = (rows + 10 * view.index)[:, None].repeat(1, self.width) * self.scale
            yield start, {tap: pooled if tap.is_pooled else pooled[:, :, None, None] for tap in taps}


def expected(view: View) -> np.ndarray:
    """First feature of each image in a view."""
    return np.arange(IMAGES) + 10.0 * view.index
