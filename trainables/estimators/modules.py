"""Fitted estimators as torch modules, from features to logits, for predictions and for export.

All arithmetic is in float64, so that standardised features of large columns keep their digits. Every number
is a buffer, and the arrays of a fitted estimator are the module's whole state.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from trainables.common.errors import ConfigError
from trainables.estimators.fitted import (
    Affine,
    FittedEstimator,
    GatedAttention,
    Guess,
    Neighbours,
    PairwiseVotes,
    Perceptron,
    RadialKernel,
    Shares,
    Trees,
)

_LOWEST: Final = -700.0  # logit of a class without rows: its probability rounds to 0 and is a number still
_SMALLEST: Final = 1e-300
_POINTS_AT_ONCE: Final = 64  # of city-block distances, which need a copy of the features for each point

State = Mapping[str, Tensor]


class EstimatorModule(nn.Module):
    """A fitted estimator: features to logits, like the trained part of a net.

    Args:
        state: Arrays of a fitted estimator, as tensors.
        classes: Number of classes.

    Raises:
        ConfigError: If the tensors are not those of a fitted estimator.
    """

    present: Tensor

    def __init__(self, state: State, *, classes: int) -> None:
        super().__init__()
        names = {name.partition(".")[0] for name in state}
        rules = [name for name in _RULES if name in names]
        if len(rules) != 1 or "present" not in state:
            raise ConfigError(
                f"weights of a closed-form head hold one rule of {', '.join(_RULES)} and the classes; found "
                f"{', '.join(sorted(state))}. Restore the file, or take another trial"
            )
        self.classes = classes
        self.counted = int(state["counted"]) if "counted" in state else None
        self.register_buffer("present", state["present"])
        self.inputs = _Projection(_part(state, "inputs")) if "inputs" in names else None
        self.rule = _RULES[rules[0]](_part(state, rules[0]))
        self.sigmoids = _Sigmoids(_part(state, "sigmoids")) if "sigmoids" in names else None
        self.has_steps = isinstance(self.rule, _Neighbours | _Trees | _Votes | _Guess)
        self.is_random = isinstance(self.rule, _Guess)
        self.weighs_units = isinstance(self.rule, _GatedAttention)
        self.eval().requires_grad_(False)

    def forward(self, features: Tensor, side_input: Tensor | None = None) -> Tensor:
        """Map features (B, ...) to logits, float64 (B, classes); there is no side input."""
        features = features.flatten(1).to(torch.float64)
        scores = self.rule(features if self.inputs is None else self.inputs(features))
        if self.sigmoids is not None:
            logits = torch.log(self.sigmoids(scores).clamp_min(_SMALLEST))
        elif self.counted is not None:
            return torch.log(
                (self.counted * self._scattered(scores, 0.0) + 1) / (self.counted + self.classes)
            )
        elif scores.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(scores), scores], dim=1)
        else:
            logits = scores
        return self._scattered(logits, _LOWEST)

    def attention(self, features: Tensor) -> Tensor:
        """Map features (B, ...) to their attention within their unit before the softmax, float64 (B, 1).

        Only for a rule that `weighs_units`.
        """
        features = features.flatten(1).to(torch.float64)
        found: Tensor = self.rule.weigh(features if self.inputs is None else self.inputs(features))  # type: ignore[operator] # a method of _GatedAttention alone
        return found

    def _scattered(self, values: Tensor, empty: float) -> Tensor:
        """Values of the present classes (B, K) in the columns of all classes, (B, classes)."""
        if values.shape[1] == self.classes:
            return values
        place = {int(label): column for column, label in enumerate(self.present)}
        blank = torch.full_like(values[:, :1], empty)
        columns = [
            values[:, place[label] : place[label] + 1] if label in place else blank
            for label in range(self.classes)
        ]
        return torch.cat(columns, dim=1)


def as_state(fitted: FittedEstimator) -> dict[str, Tensor]:
    """Tensors of a fitted estimator, as they are kept with a finished trial."""
    return {name: torch.from_numpy(np.array(array)) for name, array in fitted.arrays().items()}


class _Projection(nn.Module):
    centre: Tensor
    scale: Tensor
    basis: Tensor

    def __init__(self, state: State) -> None:
        super().__init__()
        _buffers(self, {name: state[name] for name in ("centre", "scale")})
        self.has_basis = "basis" in state
        if self.has_basis:
            _buffers(self, {"basis": state["basis"]})

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, D) to (B, k)."""
        prepared = (features - self.centre) / self.scale
        return prepared @ self.basis if self.has_basis else prepared


class _Affine(nn.Module):
    centre: Tensor
    coefficients: Tensor
    intercept: Tensor

    def __init__(self, state: State) -> None:
        super().__init__()
        _buffers(self, state)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, D) to scores (B, K)."""
        return (inputs - self.centre) @ self.coefficients + self.intercept


class _Kernel(nn.Module):
    points: Tensor
    coefficients: Tensor
    intercept: Tensor
    gamma: Tensor

    def __init__(self, state: State) -> None:
        super().__init__()
        _buffers(self, state)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, d) to scores (B, K)."""
        similar = torch.exp(-self.gamma * _squared_distances(inputs, self.points))
        return similar @ self.coefficients + self.intercept


class _Votes(_Kernel):
    def __init__(self, state: State) -> None:
        super().__init__(state)
        pairs = self.intercept.numel()
        classes = round((1 + (1 + 8 * pairs) ** 0.5) / 2)
        first, second = torch.triu_indices(classes, classes, offset=1)
        one_hot = torch.eye(classes, dtype=torch.float64)
        _buffers(self, {"of_first": one_hot[first], "of_second": one_hot[second]})

    of_first: Tensor
    of_second: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, d) to a score of each class (B, classes), as `SVC.decision_function` does."""
        pairs = super().forward(inputs)
        is_second = (pairs < 0).to(torch.float64)
        votes = (1 - is_second) @ self.of_first + is_second @ self.of_second
        confidence = pairs @ (self.of_first - self.of_second)
        return votes + confidence / (3 * (confidence.abs() + 1))


class _Neighbours(nn.Module):
    points: Tensor
    is_of_class: Tensor

    def __init__(self, state: State) -> None:
        super().__init__()
        labels = state["labels"]
        one_hot = torch.eye(int(labels.max()) + 1, dtype=torch.float64)[labels]
        _buffers(self, {"points": state["points"], "is_of_class": one_hot})
        self.count, self.exponent = int(state["count"]), int(state["exponent"])

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, d) to shares (B, K).

        Points at the distance of the last neighbour share the remaining places, because inference engines
        differ in which of them a sort puts first.
        """
        distances = (
            _squared_distances(inputs, self.points)
            if self.exponent == 2
            else _city_block_distances(inputs, self.points)
        )
        nearest = torch.topk(distances, self.count, dim=1, largest=False, sorted=True).values
        edge = nearest[:, -1:]
        inside, at_edge = (distances < edge).to(torch.float64), (distances == edge).to(torch.float64)
        places = (self.count - inside.sum(dim=1, keepdim=True)) / at_edge.sum(dim=1, keepdim=True)
        return (inside + places * at_edge) @ self.is_of_class / self.count


class _Trees(nn.Module):
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    start: Tensor

    def __init__(self, state: State) -> None:
        super().__init__()
        trees, nodes = state["feature"].shape
        first = (
            torch.arange(trees)[:, None] * nodes
        )  # nodes of all trees are one row, so that one gather serves
        flat = {name: (state[name] + first).flatten() for name in ("left", "right")}
        _buffers(self, flat | {name: state[name].flatten() for name in ("feature", "threshold")})
        _buffers(self, {"value": state["value"].flatten(0, 1), "start": state["start"]})
        _buffers(self, {"roots": first[:, 0]})
        self.depth = int(state["depth"])

    roots: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, D) to scores (B, K)."""
        node = self.roots.expand(inputs.shape[0], -1)
        for _ in range(self.depth):
            seen = torch.gather(inputs, 1, self.feature[node])
            node = torch.where(seen <= self.threshold[node], self.left[node], self.right[node])
        return self.value[node].sum(dim=1) + self.start


class _Perceptron(nn.Module):
    def __init__(self, state: State) -> None:
        super().__init__()
        widths = [int(width) for width in state["widths"]]
        weights, biases = state["weights"], state["biases"]
        self.layers = nn.ModuleList()
        for inputs, outputs in pairwise(widths):
            layer = nn.Linear(inputs, outputs, dtype=torch.float64)
            with torch.no_grad():
                layer.weight.copy_(weights[: inputs * outputs].view(inputs, outputs).T)
                layer.bias.copy_(biases[:outputs])
            weights, biases = weights[inputs * outputs :], biases[outputs:]
            self.layers.append(layer)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, D) to scores (B, K)."""
        *hidden, last = self.layers
        for layer in hidden:
            inputs = torch.relu(layer(inputs))
        scores: Tensor = last(inputs)
        return scores


class _GatedAttention(nn.Module):
    coefficients: Tensor
    intercept: Tensor
    signal: Tensor
    signal_bias: Tensor
    gate: Tensor
    gate_bias: Tensor
    attention: Tensor

    def __init__(self, state: State) -> None:
        super().__init__()
        _buffers(self, state)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, d) to scores (B, 1)."""
        return inputs @ self.coefficients + self.intercept

    def weigh(self, inputs: Tensor) -> Tensor:
        """Map (B, d) to attention before the softmax, (B, 1)."""
        signal = torch.tanh(inputs @ self.signal + self.signal_bias)
        return (signal * torch.sigmoid(inputs @ self.gate + self.gate_bias)) @ self.attention


class _Shares(nn.Module):
    shares: Tensor

    def __init__(self, state: State) -> None:
        super().__init__()
        _buffers(self, {"shares": state["shares"]})

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, D) to the same shares for each row, (B, K)."""
        return self.shares.expand(inputs.shape[0], -1)


class _Guess(_Shares):
    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.seed = int(state["seed"])

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, D) to one drawn class for each row, (B, K)."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.multinomial(self.shares.cpu(), len(inputs), replacement=True, generator=generator)
        return torch.eye(len(self.shares), dtype=torch.float64)[drawn].to(inputs.device)


class _Sigmoids(nn.Module):
    slope: Tensor
    offset: Tensor

    def __init__(self, state: State) -> None:
        super().__init__()
        _buffers(self, state)

    def forward(self, scores: Tensor) -> Tensor:
        """Map scores (B, 1) or (B, K) to probabilities, (B, 2) or (B, K)."""
        calibrated = self.slope * scores + self.offset
        if scores.shape[1] == 1:
            return torch.cat([torch.sigmoid(calibrated), torch.sigmoid(-calibrated)], dim=1)
        by_class = torch.sigmoid(-calibrated).clamp_min(_SMALLEST)
        return by_class / by_class.sum(dim=1, keepdim=True)


_RULES: Final = MappingProxyType[str, Callable[[State], nn.Module]](
    {
        Affine.name: _Affine,
        RadialKernel.name: _Kernel,
        PairwiseVotes.name: _Votes,
        Neighbours.name: _Neighbours,
        Trees.name: _Trees,
        Perceptron.name: _Perceptron,
        Shares.name: _Shares,
        Guess.name: _Guess,
        GatedAttention.name: _GatedAttention,
    }
)


def _part(state: State, part: str) -> dict[str, Tensor]:
    return {name.partition(".")[2]: tensor for name, tensor in state.items() if name.startswith(f"{part}.")}


def _buffers(module: nn.Module, tensors: Mapping[str, Any]) -> None:
    for name, tensor in tensors.items():
        module.register_buffer(name, tensor if not tensor.is_floating_point() else tensor.to(torch.float64))


def _squared_distances(inputs: Tensor, points: Tensor) -> Tensor:
    """Squared distances of (B, d) to (P, d), shape (B, P)."""
    lengths = (inputs**2).sum(dim=1, keepdim=True) + (points**2).sum(dim=1)
    return (lengths - 2 * inputs @ points.T).clamp_min(0.0)


def _city_block_distances(inputs: Tensor, points: Tensor) -> Tensor:
    """City-block distances of (B, d) to (P, d), shape (B, P)."""
    found = [(inputs[:, None] - some).abs().sum(dim=2) for some in points.split(_POINTS_AT_ONCE)]
    return torch.cat(found, dim=1)
