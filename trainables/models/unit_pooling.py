"""Pooling of the predictions of a unit's images, such as the two views of a breast, to one prediction."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from trainables.common.types import Float32Array, IntArray
from trainables.config.unit_config import ATTENTION, Combine

_SMALLEST: Final = 1e-37  # as in calibration: a smaller probability has no logit in single precision


def pool_units(predictions: Tensor, unit: Tensor, units: int, combine: Combine) -> Tensor:
    """Pool the predictions of images to those of their units.

    A unit may have any number of images, at least one, so that a missing view needs no stand-in.

    Args:
        predictions: Class probabilities in [0, 1], float64, shape (..., B, classes). For `attention` a last
            column holds the attention of each image before the softmax, (..., B, classes + 1).
        unit: 0-based unit of each image, int64, shape (B,).
        units: Number of units; one without images gets numbers without meaning.
        combine: Rule, with the values of `unit.combine`.

    Returns:
        Probabilities of the units, float64, shape (..., units, classes).

    Sources:
        Pearl (1988), "Probabilistic reasoning in intelligent systems", section 4.3: the noisy-or gate.
        Ilse, Tomczak, Welling (2018), "Attention-based deep multiple instance learning", ICML: attention.
            With a linear classifier the logit of the pooled features is the pooled logit of the images.

    >>> two = torch.tensor([[0.8, 0.2], [0.4, 0.6]], dtype=torch.float64)
    >>> pool_units(two, torch.tensor([0, 0]), 1, "noisy_or")[0, 1].item()
    0.68
    """
    if combine == ATTENTION:
        attention, predictions = predictions[..., -1:], predictions[..., :-1]
        return _softmax(_weighted(_logs(predictions), attention, unit, units))
    if combine == "mean":
        return _mean(predictions, unit, units)
    if combine == "mean_logit":
        return _softmax(_mean(_logs(predictions), unit, units))
    healthy = _logs(predictions)[..., :1]
    if combine == "noisy_or":
        together = _summed(healthy, unit, units)
        return torch.cat([torch.exp(together), -torch.expm1(together)], dim=-1)
    largest = -_largest(-predictions[..., :1], unit, units)
    return torch.cat([largest, _largest(predictions[..., 1:], unit, units)], dim=-1)


def pooled(predictions: Float32Array, unit: IntArray, combine: Combine) -> Float32Array:
    """Pool arrays as `pool_units` does: predictions (B, K) of images to (units, classes), in float32."""
    count = int(unit.max()) + 1 if len(unit) else 0
    found = pool_units(
        torch.from_numpy(predictions.astype(np.float64)), torch.from_numpy(unit), count, combine
    )
    together: Float32Array = found.to(torch.float32).numpy()
    return together


def _logs(probabilities: Tensor) -> Tensor:
    return torch.log(probabilities.clamp_min(_SMALLEST))


def _softmax(logits: Tensor) -> Tensor:
    return torch.softmax(logits, dim=-1)


def _weighted(values: Tensor, attention: Tensor, unit: Tensor, units: int) -> Tensor:
    """Mean of values (..., B, C) with the softmax of attention (..., B, 1) within each unit as weights."""
    most = _largest(attention, unit, units)
    weight = torch.exp(attention - most.index_select(-2, unit))
    total = _summed(weight, unit, units).clamp_min(_SMALLEST)
    return _summed(weight * values, unit, units) / total


def _mean(values: Tensor, unit: Tensor, units: int) -> Tensor:
    counts = _summed(torch.ones_like(values[..., :1]), unit, units).clamp_min(1.0)
    return _summed(values, unit, units) / counts


def _summed(values: Tensor, unit: Tensor, units: int) -> Tensor:
    return _scattered(values, unit, units, reduce="sum", start=0.0)


def _largest(values: Tensor, unit: Tensor, units: int) -> Tensor:
    return _scattered(values, unit, units, reduce="amax", start=-1e300)


def _scattered(values: Tensor, unit: Tensor, units: int, *, reduce: str, start: float) -> Tensor:
    blank = torch.full_like(values[..., :1, :], start).expand(*values.shape[:-2], units, values.shape[-1])
    place = unit.unsqueeze(-1).expand(values.shape)
    return torch.scatter_reduce(blank, -2, place, values, reduce=reduce, include_self=True)
