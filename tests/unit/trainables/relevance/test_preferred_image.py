"""Activation maximisation."""

from typing import Any

import pytest
import torch
from torch import Tensor

from trainables.relevance.preferred_image import preferred_image


class Asked(Exception):  # noqa: N818 - what a model was asked, and no error
    """The image that a model was shown."""


class OnADevice:
    """A model on a device that computes nothing."""

    device = torch.device("meta")
    members: Any = None

    def log_odds(self, raw: Tensor, label: int) -> Tensor:
        raise Asked(raw)


def test_the_image_is_made_where_the_model_is() -> None:
    with pytest.raises(Asked) as caught:
        preferred_image(OnADevice(), (8, 8), 1, max_value=255)
    (raw,) = caught.value.args
    assert (raw.device.type, tuple(raw.shape)) == ("meta", (1, 8, 8))
