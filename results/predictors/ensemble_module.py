"""The exported graph: pixels in, calibrated probabilities out. It expresses the combination rules in torch.

Arithmetic after the networks is in float64, as in the fit of ensembles, so that logits of confident members
keep their digits. Every number is a float64 buffer: the exporter rounds plain ones to float32.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor, nn

from results.ensembles.fitted import Parameters, Standardiser
from results.ensembles.methods.knn import NeighbourStack
from results.ensembles.methods.logistic import LogisticStack
from results.ensembles.methods.mlp import Layer, PerceptronStack
from results.ensembles.methods.svm import SupportVectorStack
from results.ensembles.weighted_mean import WeightedMean
from results.errors import ExportError
from results.predictors.unit_module import (
    ImagePredictions,
    UnitPredictions,
    pooled_members,
    side_by_side,
    without_units,
)
from results.scores.calibration import SMALLEST_PROBABILITY, Platt
from trainables.common.onnx_graph import simplify
from trainables.config.unit_config import Combine
from trainables.inference.finished_trials import SharedBackbones
from trainables.models.heads import mean_over_folds

OUTPUT_NAME: Final = "probabilities"
_MOST_BYTES: Final = 2_000_000_000  # a protobuf message, and so a single ONNX file, ends at 2 GiB


class WeightedMeanGraph(nn.Module):
    """`WeightedMean.combine` in torch."""

    weights: Tensor

    def __init__(self, rule: WeightedMean) -> None:
        super().__init__()
        self.register_buffer("weights", _vector(rule.weights))

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map (members, B, classes) to (B, classes)."""
        return (self.weights.view(-1, 1, 1) * probabilities).sum(dim=0)


class LogisticGraph(nn.Module):
    """`LogisticStack.combine` in torch."""

    coefficients: Tensor
    intercept: Tensor

    def __init__(self, rule: LogisticStack) -> None:
        super().__init__()
        self.inputs = _StandardisedLogits(rule.inputs)
        self.register_buffer("coefficients", _vector(rule.coefficients))
        self.register_buffer("intercept", _vector(rule.intercept))

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map (members, B, 2) to (B, 2)."""
        score = (self.inputs(probabilities) * self.coefficients).sum(dim=1) + self.intercept
        return _two_columns(torch.sigmoid(score))


class NeighbourGraph(nn.Module):
    """`NeighbourStack.combine` in torch.

    Points at the same distance as the last neighbour share the remaining places, because inference engines
    differ in which of them a sort puts first.
    """

    points: Tensor
    labels: Tensor

    def __init__(self, rule: NeighbourStack) -> None:
        super().__init__()
        self.inputs = _StandardisedLogits(rule.inputs)
        self.neighbours, self.added = rule.neighbours, rule.added
        self.register_buffer("points", _vector(rule.points))
        self.register_buffer("labels", _vector(rule.labels))

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map (members, B, 2) to (B, 2)."""
        distances = _squared_distances(self.inputs(probabilities), self.points)
        nearest = torch.topk(distances, self.neighbours, dim=1, largest=False, sorted=True).values
        edge = nearest[:, -1:]
        inside, at_edge = (distances < edge).to(torch.float64), (distances == edge).to(torch.float64)
        places = self.neighbours - inside.sum(dim=1)
        positives = (inside * self.labels).sum(dim=1)
        positives_at_edge = places * (at_edge * self.labels).sum(dim=1) / at_edge.sum(dim=1)
        found = positives + positives_at_edge
        return _two_columns((found + self.added) / (self.neighbours + 2 * self.added))


class SupportVectorGraph(nn.Module):
    """`SupportVectorStack.combine` in torch."""

    vectors: Tensor
    dual: Tensor
    gamma: Tensor
    intercept: Tensor

    def __init__(self, rule: SupportVectorStack) -> None:
        super().__init__()
        self.inputs = _StandardisedLogits(rule.inputs)
        self.platt = _PlattOfScores(rule.platt)
        self.register_buffer("vectors", _vector(rule.vectors))
        self.register_buffer("dual", _vector(rule.dual))
        self.register_buffer("gamma", _vector(rule.gamma))
        self.register_buffer("intercept", _vector(rule.intercept))

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map (members, B, 2) to (B, 2)."""
        kernel = torch.exp(-self.gamma * _squared_distances(self.inputs(probabilities), self.vectors))
        decision = (kernel * self.dual).sum(dim=1) + self.intercept
        return _two_columns(self.platt(decision))


class PerceptronGraph(nn.Module):
    """`PerceptronStack.combine` in torch."""

    def __init__(self, rule: PerceptronStack) -> None:
        super().__init__()
        self.inputs = _StandardisedLogits(rule.inputs)
        self.hidden, self.output = _linear(rule.hidden), _linear(rule.output)

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map (members, B, 2) to (B, 2)."""
        score = self.output(torch.tanh(self.hidden(self.inputs(probabilities))))
        return _two_columns(torch.sigmoid(score[:, 0]))


class CalibrationGraph(nn.Module):
    """`Platt.apply` to the positive class, in torch."""

    def __init__(self, calibration: Platt) -> None:
        super().__init__()
        self.logit, self.platt = _Logit(), _PlattOfScores(calibration)

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map (B, 2) to (B, 2)."""
        score = self.platt.score(self.logit(probabilities))
        return torch.stack([torch.sigmoid(-score), torch.sigmoid(score)], dim=1)


_GRAPHS: Final = MappingProxyType[type[Parameters], Callable[[Any], nn.Module]](
    {
        WeightedMean: WeightedMeanGraph,
        LogisticStack: LogisticGraph,
        NeighbourStack: NeighbourGraph,
        SupportVectorStack: SupportVectorGraph,
        PerceptronStack: PerceptronGraph,
    }
)


def combination_graph(fitted: Parameters, calibration: Platt | None) -> nn.Module:
    """Build the torch form of a fitted combination followed by its calibration.

    Args:
        fitted: Any rule that an ensemble can hold.
        calibration: Calibration of the combined positive probability; None leaves it as it is.

    Returns:
        Module from float64 (members, B, classes) to float64 (B, classes).

    Raises:
        ExportError: If the rule has no torch form.
    """
    if type(fitted) not in _GRAPHS:
        known = ", ".join(sorted(rule.__name__ for rule in _GRAPHS))
        raise ExportError(f"no graph for combination {type(fitted).__name__}; there is one for: {known}")
    rule = _GRAPHS[type(fitted)](fitted)
    steps = [rule, CalibrationGraph(calibration)] if calibration else [rule]
    return nn.Sequential(*steps).requires_grad_(False)


class EnsembleModule(nn.Module):
    """A whole ensemble: pixels in, calibrated probabilities out.

    Args:
        members: The trials, from pixels to the probabilities of their fold models.
        combination: Rule from the members' probabilities to those of the ensemble.
        unit_rules: Rule of each member that combines the images of a unit; empty for single images.
    """

    def __init__(
        self, members: SharedBackbones, combination: nn.Module, unit_rules: Sequence[Combine] = ()
    ) -> None:
        super().__init__()
        self.members, self.combination, self.unit_rules = members, combination, tuple(unit_rules)
        self.eval().requires_grad_(False)

    @property
    def by_image(self) -> "EnsembleModule | ImagePredictions":
        """The part that is run on single images: the whole module, or its fold models for units."""
        return ImagePredictions(self.members, self.unit_rules) if self.unit_rules else self

    @property
    def by_unit(self) -> UnitPredictions:
        """The part that combines the images of each unit."""
        return UnitPredictions(self.combination, self.unit_rules, self.members.folds)

    def forward(
        self, raw: Tensor, baseline: Tensor | None = None, finding_type: Tensor | None = None
    ) -> Tensor:
        """Map the inputs of `SharedBackbones.by_fold` to float32 (B, classes)."""
        return self.combine(self.members.by_fold(raw, baseline, finding_type))

    def of_folds(self, by_fold: list[Tensor]) -> Tensor:
        """Map each member's fold probabilities, (folds, B, classes), to float32 (B, classes)."""
        return self.combine(by_fold)

    def combine(self, by_fold: list[Tensor], unit: Tensor | None = None) -> Tensor:
        """Map each member's fold probabilities, (folds, B, classes), to float32 (B, classes).

        Args:
            by_fold: Probabilities of each member's fold models.
            unit: 0-based unit of each image, (B,), where images are combined; the result is then
                (units, classes).
        """
        return self.combined(by_fold, unit).to(torch.float32)

    def combined(self, by_fold: list[Tensor], unit: Tensor | None = None) -> Tensor:
        """Return what `combine` returns, in float64, in which a confident probability keeps its digits."""
        if self.unit_rules:
            if unit is None:
                raise ExportError("this model combines the images of a unit; give the unit of each image")
            by_fold = pooled_members(by_fold, unit, int(unit.max()) + 1, self.unit_rules)
        members = torch.stack([mean_over_folds(folds) for folds in by_fold])
        combined: Tensor = self.combination(members)
        return combined


class WithFolds(nn.Module):
    """A whole ensemble that returns the predictions of its fold models besides its own.

    Args:
        module: An ensemble of single images.
    """

    def __init__(self, module: EnsembleModule) -> None:
        super().__init__()
        self.module = module
        self.eval().requires_grad_(False)

    def forward(
        self, raw: Tensor, baseline: Tensor | None = None, finding_type: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Map the inputs of `SharedBackbones.by_fold` to (B, classes) and (B, models, classes + 1)."""
        return self.of_folds(self.members.by_fold(raw, baseline, finding_type))

    @property
    def members(self) -> SharedBackbones:
        """Members of the ensemble."""
        return self.module.members

    def of_folds(self, by_fold: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Map each member's fold probabilities, (folds, B, classes), to what `forward` returns."""
        return self.module.combine(by_fold), side_by_side(by_fold, without_units(len(by_fold)))


def write_onnx(
    module: nn.Module, example: Mapping[str, Tensor], path: Path, *, outputs: Sequence[str] = (OUTPUT_NAME,)
) -> int:
    """Export a module to one ONNX file with free batch, height and width, the same in all inputs.

    Args:
        module: Module to export, on the CPU.
        example: Name of each input of the file -> example tensor: `raw` and `baseline` of shape (B, H, W) or
            (B, H, W, 3) and of the type that the file will take, `finding_type` (B,); B at least 2.
        path: File to write; it holds the weights too.
        outputs: Names of what comes out.

    Returns:
        The ONNX opset.

    Raises:
        ExportError: If the weights do not fit into one file.
    """
    free = (torch.export.Dim("batch"), torch.export.Dim("height"), torch.export.Dim("width"))
    shapes = {name: dict(enumerate(free[: tensor.dim()])) for name, tensor in example.items()}
    return _write(module, example, path, shapes, outputs)


def write_units_onnx(module: UnitPredictions, predictions: Tensor, unit: Tensor, path: Path) -> None:
    """Export the combination of a unit's images to an ONNX file with any number of images.

    Args:
        module: Module to export.
        predictions: Example predictions of images, float64, shape (B, models, classes + 1), B at least 3.
        unit: Example units, int64, shape (B,).
        path: File to write.
    """
    images = torch.export.Dim("images")
    shapes = {"predictions": {0: images}, "unit": {0: images}}
    _write(module, {"predictions": predictions, "unit": unit}, path, shapes, (OUTPUT_NAME,))


def _write(
    module: nn.Module,
    example: Mapping[str, Tensor],
    path: Path,
    shapes: dict[str, Any],
    outputs: Sequence[str],
) -> int:
    """Export a module with free axes to one ONNX file; returns the opset."""
    _check_one_file(module)
    with warnings.catch_warnings():
        # The exporter warns about its own internals, and users cannot act on that.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            kwargs=dict(example),
            dynamo=True,
            dynamic_shapes=shapes,
            input_names=list(example),
            output_names=list(outputs),
            optimize=False,
            verbose=False,
        )
        if program is None:
            raise ExportError("torch.onnx.export returned nothing; is onnxscript installed?")
        simplify(program.model)
        program.save(str(path), external_data=False)
    return int(program.model.opset_imports[""])


def _check_one_file(module: nn.Module) -> None:
    size = sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))
    if size > _MOST_BYTES:
        raise ExportError(
            f"the weights take {size / 1e9:.1f} GB, one ONNX file holds at most 2 GB; "
            "export an ensemble of fewer members, or one whose heads are smaller (pooling gap)"
        )


class _StandardisedLogits(nn.Module):
    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: Standardiser) -> None:
        super().__init__()
        self.logit = _Logit()
        self.register_buffer("mean", _vector(inputs.mean))
        self.register_buffer("scale", _vector(inputs.scale))

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map (members, B, 2) to (B, members)."""
        logits: Tensor = self.logit(probabilities).transpose(0, 1)
        return (logits - self.mean) / self.scale


class _Logit(nn.Module):
    """`log_odds` in torch."""

    smallest: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("smallest", _vector(SMALLEST_PROBABILITY))

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map (..., 2) to (...)."""
        logs = torch.log(torch.maximum(probabilities, self.smallest))
        return logs[..., 1] - logs[..., 0]


class _PlattOfScores(nn.Module):
    slope: Tensor
    intercept: Tensor

    def __init__(self, platt: Platt) -> None:
        super().__init__()
        self.register_buffer("slope", _vector(platt.slope))
        self.register_buffer("intercept", _vector(platt.intercept))

    def score(self, score: Tensor) -> Tensor:
        """Calibrated score, before the sigmoid."""
        return self.slope * score + self.intercept

    def forward(self, score: Tensor) -> Tensor:
        return torch.sigmoid(self.score(score))


def _squared_distances(inputs: Tensor, points: Tensor) -> Tensor:
    """Squared distances of (B, members) to (points, members), shape (B, points), summed as numpy does."""
    distances = (inputs[:, :1] - points[:, 0]) ** 2
    for column in range(1, points.shape[1]):
        distances = distances + (inputs[:, column : column + 1] - points[:, column]) ** 2
    return distances


def _linear(layer: Layer) -> nn.Linear:
    weights = _vector(layer.weights)
    inputs, outputs = weights.shape
    linear = nn.Linear(inputs, outputs, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(weights.T)
        linear.bias.copy_(_vector(layer.bias))
    return linear


def _two_columns(positive: Tensor) -> Tensor:
    return torch.stack([1 - positive, positive], dim=1)


def _vector(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
