"""`attention`: a linear head that weighs the images of a unit by gated attention, trained on whole units.

Source:
    Ilse, Tomczak, Welling (2018), "Attention-based deep multiple instance learning", ICML, equation 9. The
    classifier is linear, so the logit of the pooled features is the pooled logit of the images.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from trainables.common.types import IntArray
from trainables.config.trial_config import TrialConfig
from trainables.config.unit_config import ATTENTION as NAME
from trainables.estimators.estimator import Estimator, Rows
from trainables.estimators.fitted import FittedEstimator, GatedAttention
from trainables.estimators.preparation import prepared_inputs

if TYPE_CHECKING:  # a leaderboard reads the registry of estimators and has no use for torch
    import torch
    from torch import Tensor

_WIDTH: Final = 32  # units of the gate


def fit_attention(trial: TrialConfig, rows: Rows, seed: int) -> FittedEstimator:
    """Train with Adam for the epochs of the settings, all units at once.

    It starts from the mean of a unit's images: all of them have the same attention, and the score is zero.
    """
    import torch

    config = trial.classical
    inputs, projection = prepared_inputs(config, rows)
    units = np.arange(len(inputs)) if rows.units is None else rows.units
    unit, labels = _with_labels(units, rows.labels)
    features = torch.from_numpy(np.asarray(inputs, dtype=np.float64))
    parameters = _initial(features.shape[1], torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(list(parameters.values()), lr=config.lr)
    weights = torch.from_numpy(rows.class_weights[labels])
    targets = torch.from_numpy(labels.astype(np.float64))
    with torch.enable_grad():
        for _ in range(config.epochs):
            optimizer.zero_grad()
            logits = _logits(parameters, features, torch.from_numpy(unit), len(labels))
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, weights)
            penalty = sum((parameters[name] ** 2).sum() for name in ("coefficients", "signal", "gate"))
            (loss + 0.5 * config.l2 * penalty).backward()
            optimizer.step()
    rule = GatedAttention(**{name: value.detach().numpy() for name, value in parameters.items()})
    return FittedEstimator(rule, np.arange(rows.classes), inputs=projection)


def _with_labels(units: IntArray, labels: IntArray) -> tuple[IntArray, IntArray]:
    """0-based unit of each row, and the label of each unit: the largest of its rows."""
    _, unit = np.unique(units, return_inverse=True)
    most = np.zeros(int(unit.max()) + 1, dtype=np.int64)
    np.maximum.at(most, unit, labels)
    return unit.astype(np.int64), most


def _initial(width: int, generator: "torch.Generator") -> "dict[str, Tensor]":
    import torch

    def drawn(*shape: int) -> "Tensor":
        return torch.randn(shape, generator=generator, dtype=torch.float64) / shape[0] ** 0.5

    def zeros(*shape: int) -> "Tensor":
        return torch.zeros(shape, dtype=torch.float64)

    found = {
        "coefficients": zeros(width, 1),
        "intercept": zeros(1),
        "signal": drawn(width, _WIDTH),
        "signal_bias": zeros(_WIDTH),
        "gate": drawn(width, _WIDTH),
        "gate_bias": zeros(_WIDTH),
        "attention": zeros(_WIDTH, 1),
    }
    return {name: value.requires_grad_() for name, value in found.items()}


def _logits(parameters: "dict[str, Tensor]", features: "Tensor", unit: "Tensor", units: int) -> "Tensor":
    """Logit of each unit, shape (units,)."""
    import torch

    score = (features @ parameters["coefficients"] + parameters["intercept"])[:, 0]
    signal = torch.tanh(features @ parameters["signal"] + parameters["signal_bias"])
    gate = torch.sigmoid(features @ parameters["gate"] + parameters["gate_bias"])
    attention = ((signal * gate) @ parameters["attention"])[:, 0]
    blank = attention.new_zeros(units)
    most = torch.scatter_reduce(blank, 0, unit, attention.detach(), "amax", include_self=False)
    weight = torch.exp(attention - most[unit])
    total = blank.scatter_add(0, unit, weight)
    return blank.scatter_add(0, unit, weight * score) / total


ATTENTION: Final = Estimator(
    NAME,
    "gated attention over the images of a unit, with a linear score",
    fit_attention,
    ("l2", "lr", "epochs"),
    weighs_units=True,
)
