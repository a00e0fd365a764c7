"""An exported file in a lower precision: converted, and compared with float32 on images of the training part.

AUCs are of out-of-fold predictions: each image is predicted by the fold models that did not train on it,
which both graphs return besides their own. On images that a model has seen its AUC is so high that a lower
precision could hide its loss. Calls and probabilities are those of the whole model.
"""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from results.errors import ModelChangedError
from results.export.allowed_change import AllowedChange, PrecisionName
from results.export.lower_precision import convert_graph, without_output
from results.export.novelty import with_novelty
from results.export.parity import scored_by_fold
from results.export.precision_record import LowerPrecision, ModelChange
from results.novelty.reference import is_at_most
from results.predictors.ensemble_module import OUTPUT_NAME, EnsembleModule, WithFolds, write_onnx
from results.predictors.loading import OpenedModel
from results.predictors.model_inputs import ModelInputs
from results.predictors.novelty_features import ModelNovelty
from results.predictors.novelty_module import NOVELTY_OUTPUT
from results.predictors.unit_module import IMAGE_OUTPUT, one_after_the_other, without_units
from results.run.prediction_costs import PredictionTime
from results.run.records import OutOfFold
from results.scores.decisions import decisions
from results.scores.joint_comparison import differences_to
from results.scores.metrics import mean_fold_auc
from trainables.common.onnx_runtime import onnxruntime
from trainables.common.types import FloatArray, IntArray
from trainables.config.unit_config import Combine

MOST_COMPARED: Final = 512  # images, or units, of the training part that both precisions predict
MOST_CALIBRATED: Final = 64  # images that the ranges of `int8` are measured on
_SEEN: Final = "on images that the model was trained on"
_OUT_OF_FOLD: Final = "out of fold"
_AT_ONCE: Final = 64  # images that are read before they are predicted


@dataclass(frozen=True, slots=True)
class Precision:
    """A lower precision that is asked for, and what it may change."""

    name: PrecisionName
    allowed: AllowedChange


@dataclass(frozen=True, slots=True)
class WrittenGraph:
    """A graph in float32 with the predictions of its fold models, which are left out of the exported file.

    Attributes:
        path: The graph, with the exporter's notes on its nodes.
        module: Module that it was exported from.
        opset: The ONNX opset.
        level: p-value up to which an image is called unlike the training images; None without such a score.
    """

    path: Path
    module: nn.Module
    opset: int
    level: float | None = None


def write_with_folds(
    opened: OpenedModel, novelty: ModelNovelty | None, inputs: ModelInputs, folder: Path, file: Path
) -> WrittenGraph:
    """Write the file of a model, and beside it the graph that returns the predictions of fold models too.

    Args:
        opened: The model.
        novelty: Its novelty score; None for none.
        inputs: Examples, at least 2.
        folder: Folder of the graph.
        file: The file to export.
    """
    example, path = inputs.take([0, -1]).tensors(), folder / "with_folds.onnx"
    is_by_image = opened.unit == "image"
    module, outputs = with_novelty(
        WithFolds(opened.module) if is_by_image else opened.module.by_image, novelty, _outputs(opened)
    )
    opset = write_onnx(module, example, path, outputs=outputs)
    _write_file(path, file, is_by_image=is_by_image)
    return WrittenGraph(path, module, opset, None if novelty is None else novelty.reference.level)


def lower_precision(
    opened: OpenedModel,
    written: WrittenGraph,
    kept: OutOfFold,
    file: Path,
    wanted: Precision,
    *,
    cost_before: PredictionTime,
) -> LowerPrecision:
    """Convert a written graph, compare it with float32, and put it in the place of the exported file.

    Args:
        opened: The model.
        written: Its graph in float32.
        kept: Out-of-fold predictions of any member; its rows are those that can be compared.
        file: The exported file, in float32.
        wanted: The precision, and what it may change.
        cost_before: Cost of the file in float32.

    Raises:
        ModelChangedError: If AUC or calls change by more than is allowed; the file is as it was then.
        ExportError: If ONNX Runtime cannot convert or run the graph.
    """
    is_by_image = opened.unit == "image"
    feeds = _calibration(opened, kept) if wanted.name == "int8" else []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lower.onnx"
        layers = convert_graph(written.path, path, wanted.name, module=written.module, calibration=feeds)
        change = _compared(opened, kept, written, path, wanted)
        found = LowerPrecision(
            **change.model_dump(exclude={"cost_before"}),
            cost_before=cost_before,
            name=wanted.name,
            calibration_images=len(feeds),
            converted=layers,
        )
        _write_file(path, file, is_by_image=is_by_image)
    return found


def spread_places(kept: OutOfFold, limit: int, *, is_balanced: bool) -> IntArray:
    """Choose images of many patients, of each class and fold, ascending.

    Args:
        kept: Out-of-fold predictions, whose images are chosen from.
        limit: Largest number of images.
        is_balanced: Take as many of each class, where there are enough; else by the shares of classes and
            folds.

    Returns:
        Positions in `kept`, shape (at most limit,).
    """
    number, random = len(kept.rows), np.random.default_rng(0)
    drawn = random.permutation(number)
    visit = _places_among_equals(kept.groups, drawn)  # the first image of each patient, then the second ones
    order = drawn[np.argsort(visit[drawn], kind="stable")]
    strata = kept.labels if is_balanced else kept.labels * (int(kept.folds.max()) + 2) + kept.folds
    rank = _places_among_equals(strata, order).astype(np.float64)
    if not is_balanced:
        sizes = np.unique(strata, return_inverse=True, return_counts=True)
        rank = (rank + 0.5) / sizes[2][sizes[1]]
    return np.sort(order[np.argsort(rank[order], kind="stable")][:limit])


def _places_among_equals(values: NDArray[Any], order: IntArray) -> IntArray:
    """Place of each element among those of the same value, counted in the given order, shape (n,)."""
    found, seen = np.zeros(len(values), dtype=np.int64), dict[Any, int]()
    for place, value in zip(order.tolist(), values[order].tolist(), strict=True):
        found[place] = seen.get(value, 0)
        seen[value] = seen.get(value, 0) + 1
    return found


def _compared(
    opened: OpenedModel, kept: OutOfFold, before: WrittenGraph, after: Path, wanted: Precision
) -> ModelChange:
    places = spread_places(kept, MOST_COMPARED, is_balanced=False)
    own = kept.where(places)
    first, second = (_predicted(opened, own, path) for path in (before.path, after))
    if not all(np.isfinite(values).all() for values in (second.whole, second.out_of_fold)):
        raise ModelChangedError(
            f"a model in {wanted.name} predicts what is not a number: activations leave the range of "
            f"{wanted.name}. Nothing was written; export it without --precision"
        )
    reference, other = (_as_scored(opened, own, one.out_of_fold) for one in (first, second))
    (difference,) = differences_to(reference, [other], seed=opened.search.request.seed)
    calls = [decisions(one.whole, opened.chosen.threshold) for one in (first, second)]
    change = ModelChange(
        images=len(own.rows),
        unit=opened.unit,
        how=_SEEN if opened.chosen.is_refitted else _OUT_OF_FOLD,
        auc_before=float(mean_fold_auc(reference.labels, reference.probabilities, reference.folds)),
        auc_change=difference,
        changed_calls=float((calls[0] != calls[1]).mean()),
        largest_difference=float(np.abs(first.whole - second.whole).max()),
        changed_warnings=None if before.level is None else _warned_apart(first, second, before.level),
        max_auc_loss=wanted.allowed.auc_loss,
        max_changed_calls=wanted.allowed.changed_calls,
    )
    if faults := change.faults(wanted.allowed):
        other_one = "fp16" if wanted.name == "int8" else "float32, without --precision"
        raise ModelChangedError(
            f"{wanted.name} changes {opened.chosen.name} too much: {'; '.join(faults)}. Nothing was written; "
            f"export it in {other_one}, or allow more"
        )
    return change


@dataclass(frozen=True, slots=True)
class _Predicted:
    """Predictions of a graph: of the whole model, and out of fold, shape (n, classes) each.

    Attributes:
        novelty: p-value of each image, shape (images,); empty for a model without a novelty score.
    """

    whole: FloatArray
    out_of_fold: FloatArray
    novelty: FloatArray


def _predicted(opened: OpenedModel, own: OutOfFold, path: Path) -> _Predicted:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    module, names = opened.module, [port.name for port in session.get_outputs()]
    found = {name: list[NDArray[Any]]() for name in (OUTPUT_NAME, IMAGE_OUTPUT, NOVELTY_OUTPUT)}
    for batch in _batches(opened, own.rows):
        for part in batch.batches():
            for name, values in zip(names, session.run(None, _feed(part)), strict=True):
                found[name].append(values)
    whole = found[OUTPUT_NAME]
    novelty = np.concatenate([np.zeros(0), *found[NOVELTY_OUTPUT]])
    rules: Sequence[Combine] = module.unit_rules or without_units(len(module.members.members))
    _, unit = opened.images_of(own.rows)
    predictions = torch.from_numpy(np.concatenate(found[IMAGE_OUTPUT]))
    by_fold = scored_by_fold(module, one_after_the_other(predictions, module.members.folds, rules), unit)
    together = np.concatenate(whole) if whole else _of_units(module, predictions, unit, len(own.rows))
    if opened.chosen.is_refitted:
        return _Predicted(together.astype(np.float64), together.astype(np.float64), novelty)
    return _Predicted(together.astype(np.float64), _held_out(module, by_fold, own.folds), novelty)


def _warned_apart(first: _Predicted, second: _Predicted, level: float) -> float:
    """Share of the images of which only one graph says that they are unlike the training images."""
    return float((is_at_most(first.novelty, level) != is_at_most(second.novelty, level)).mean())


def _held_out(module: EnsembleModule, by_fold: Sequence[Tensor], folds: IntArray) -> FloatArray:
    """Combined predictions of the fold models that held each image out, shape (n, classes)."""
    places = np.arange(len(folds))
    members = torch.stack([own[folds, places] for own in by_fold])
    with torch.inference_mode():
        found: FloatArray = module.combination(members.to(torch.float64)).numpy()
    return found


def _of_units(
    module: EnsembleModule, predictions: Tensor, unit: IntArray | None, number: int
) -> NDArray[Any]:
    with torch.inference_mode():
        found: NDArray[Any] = module.by_unit(predictions, torch.as_tensor(unit))[:number].numpy()
    return found


def _as_scored(opened: OpenedModel, own: OutOfFold, probabilities: FloatArray) -> OutOfFold:
    """Predictions with their labels; a refitted model has no folds."""
    folds = np.zeros_like(own.folds) if opened.chosen.is_refitted else own.folds
    return OutOfFold(own.rows, own.labels, folds, own.groups, probabilities)


def _batches(opened: OpenedModel, rows: IntArray) -> Iterator[ModelInputs]:
    """Inputs of the images of some rows, a few at a time."""
    images, _ = opened.images_of(rows)
    for start in range(0, len(images), _AT_ONCE):
        yield opened.inputs(images[start : start + _AT_ONCE])


def _calibration(opened: OpenedModel, kept: OutOfFold) -> list[dict[str, NDArray[Any]]]:
    """Inputs of single images, as many of each class."""
    places = spread_places(kept, MOST_CALIBRATED, is_balanced=True)
    one_by_one = (
        _feed(batch.take(slice(place, place + 1)))
        for batch in _batches(opened, kept.rows[places])
        for place in range(len(batch))
    )
    return list(itertools.islice(one_by_one, MOST_CALIBRATED))


def _feed(inputs: ModelInputs) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in inputs.tensors().items()}


def _outputs(opened: OpenedModel) -> tuple[str, ...]:
    """Names of the predictions of the graph that returns those of fold models too."""
    return (OUTPUT_NAME, IMAGE_OUTPUT) if opened.unit == "image" else (IMAGE_OUTPUT,)


def _write_file(graph: Path, file: Path, *, is_by_image: bool) -> None:
    """Write the file that is exported: what comes out of fold models only is left out."""
    if is_by_image:
        without_output(graph, file, IMAGE_OUTPUT)
    else:
        file.write_bytes(graph.read_bytes())
