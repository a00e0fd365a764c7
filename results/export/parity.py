"""Comparison of an exported file with the search, on held-out training images; no test image is read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from results.errors import ExportError
from results.export.manifest import UNITS_FILE
from results.predictors.ensemble_module import EnsembleModule
from results.predictors.model_inputs import ModelInputs
from results.predictors.unit_module import pooled_members
from results.run.records import OutOfFold
from trainables.common.onnx_runtime import onnxruntime
from trainables.common.types import IntArray

LARGEST_ONNX_DIFFERENCE: Final = 1e-4
# Statistics count pixels that are darker than others or in a range of grey; where two are equal but for the
# last digit, the runtime decides, and a head on standardised counts sees that.
LARGEST_DIFFERENCE_OF_COUNTS: Final = 2e-3
# Stored features have half precision, which moves a probability by about 0.005 at most.
LARGEST_OUT_OF_FOLD_DIFFERENCE: Final = 0.02
# Neighbours and trees answer in steps: where two distances, or a value and a threshold, are nearly the same,
# the last digit of a feature decides. This share of the images may be such ones.
LARGEST_SHARE_OF_STEPS: Final = 0.1


def held_out_rows(out_of_fold: OutOfFold, limit: int, *, without: Sequence[int] | IntArray = ()) -> IntArray:
    """Choose training rows evenly from all folds, ascending.

    Args:
        out_of_fold: Out-of-fold predictions of any member; their rows are the training part.
        limit: Number of rows to choose; at least one of each fold is chosen.
        without: Rows to choose only if a fold has no others.

    Returns:
        Rows of the patch set, shape (about limit,).
    """
    folds = np.unique(out_of_fold.folds)
    each = max(1, limit // len(folds))
    chosen = []
    for fold in folds:
        own = out_of_fold.rows[out_of_fold.folds == fold]
        others = own[~np.isin(own, without)]
        rows = others if len(others) else own
        chosen.append(rows[np.unique(np.linspace(0, len(rows) - 1, each).round().astype(np.int64))])
    return np.sort(np.concatenate(chosen))


def undecided_rows(types: OutOfFold) -> IntArray:
    """Rows whose rounded type is not certain, since stored features change its probability a little.

    Args:
        types: Out-of-fold predictions of a trial of mass_calcification.

    Returns:
        Rows of the patch set, shape (any,).
    """
    distance = np.abs(types.probabilities[:, 1] - 0.5)
    return types.rows[distance <= LARGEST_OUT_OF_FOLD_DIFFERENCE]


@torch.inference_mode()
def predict_by_fold(module: EnsembleModule, inputs: ModelInputs) -> list[Tensor]:
    """Predict n examples; one tensor of shape (folds, n, classes) for each member."""
    batches = [module.members.by_fold(**batch.tensors()) for batch in inputs.batches()]
    return [torch.cat(member, dim=1) for member in zip(*batches, strict=True)]


def scored_by_fold(module: EnsembleModule, by_fold: Sequence[Tensor], unit: IntArray | None) -> list[Tensor]:
    """Return fold predictions of what the search scored: of images as they are, or pooled to their units."""
    if unit is None:
        return list(by_fold)
    return pooled_members(by_fold, torch.from_numpy(unit), int(unit.max()) + 1, module.unit_rules)


def reproduces_out_of_fold(
    by_fold: Sequence[Tensor],
    out_of_folds: Mapping[int, OutOfFold],
    rows: IntArray,
    *,
    has_steps: Sequence[bool] = (),
) -> float:
    """Compare each fold model, on images that it held out, with its predictions in the search.

    Args:
        by_fold: Predictions of `rows` by each member, (folds, n, classes), in the order of `out_of_folds`.
        out_of_folds: Trial number -> its out-of-fold predictions.
        rows: Rows of the patch set, shape (n,).
        has_steps: True for each member whose probabilities move in steps, see `left_out_of`. Empty for none.

    Returns:
        Largest difference of a probability, of the images that are not left out.

    Raises:
        ExportError: If it is above 0.02: then weights, pretrained files or images are not those of the
            search.
    """
    largest = 0.0
    steps = has_steps or [False] * len(by_fold)
    for predicted, (number, kept), in_steps in zip(by_fold, out_of_folds.items(), steps, strict=True):
        order = np.argsort(kept.rows)
        places = order[np.searchsorted(kept.rows[order], rows)]
        own = predicted.numpy()[kept.folds[places], np.arange(len(rows))]
        left_out = left_out_of(len(rows), has_steps=in_steps)
        difference = _largest(np.abs(own - kept.probabilities[places]), left_out)
        if not difference <= LARGEST_OUT_OF_FOLD_DIFFERENCE:
            raise ExportError(
                f"trial {number} does not predict what it predicted in the search: probabilities of held-out "
                f"images differ by up to {difference:.3f}, at most {LARGEST_OUT_OF_FOLD_DIFFERENCE} is "
                "allowed. Its weights in the run folder, or its backbone's pretrained file, changed since"
            )
        largest = max(largest, difference)
    return largest


@torch.inference_mode()
def onnx_difference(
    module: EnsembleModule,
    by_fold: Sequence[Tensor],
    inputs: ModelInputs,
    path: Path,
    unit: IntArray | None = None,
) -> float:
    """Compare a file in ONNX Runtime with the module it was exported from.

    Besides the examples in batches, a single one cut to another size is compared, to test that batch, height
    and width are free.

    Args:
        module: Module of the model, on the CPU.
        by_fold: Result of `predict_by_fold` for the examples.
        inputs: The examples.
        path: Path of the ONNX file; that of a model of units has its `units.onnx` beside it.
        unit: 0-based unit of each example, shape (n,); None for single images.

    Returns:
        Largest difference of a probability, of the images that are not left out, see `left_out_of`.

    Raises:
        ExportError: If it is above 1e-4, for statistics of pixels 2e-3, or ONNX Runtime cannot run the file.
    """
    height, width = inputs.raw.shape[1:3]
    odd = inputs.take((slice(1), slice(max(1, height * 3 // 4)), slice(max(1, width * 7 // 8))))
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = [_run(session, batch) for batch in (*inputs.batches(), odd)]
        if unit is None:
            expected = [module.combine(list(by_fold)).numpy(), module(**odd.tensors()).numpy()]
        else:
            units = onnxruntime.InferenceSession(
                path.with_name(UNITS_FILE), providers=["CPUExecutionProvider"]
            )
            alone = np.zeros(1, dtype=np.int64)
            expected = [
                module.combine(list(by_fold), torch.from_numpy(unit)).numpy(),
                module.combine(module.members.by_fold(**odd.tensors()), torch.from_numpy(alone)).numpy(),
            ]
            found = [
                run_units(units, np.concatenate(found[:-1]), unit),
                run_units(units, found[-1], alone),
            ]
    except Exception as error:  # ONNX Runtime has many error types and no common one
        raise ExportError(f"ONNX Runtime cannot run the exported file: {error}") from error
    differences = np.abs(np.concatenate(found) - np.concatenate(expected))
    left_out = left_out_of(len(expected[0]), has_steps=any(module.members.has_steps))
    largest = _largest(differences, left_out)
    allowed = LARGEST_DIFFERENCE_OF_COUNTS if module.members.counts_pixels else LARGEST_ONNX_DIFFERENCE
    if not largest <= allowed:
        raise ExportError(
            f"the exported file disagrees with PyTorch: probabilities differ by up to {largest:.2g}, at most "
            f"{allowed:g} is allowed. Nothing was written; export single members with "
            "--trial to find the one that differs"
        )
    return largest


def run_units(session: Any, predictions: NDArray[Any], unit: IntArray) -> NDArray[np.float32]:
    """Combine the images of each unit with the session of `units.onnx`.

    Args:
        session: Session of ONNX Runtime.
        predictions: Predictions of images, shape (B, models, classes + 1).
        unit: 0-based unit of each image, all of 0 to k - 1 among them, shape (B,).

    Returns:
        Probabilities of the units, shape (k, classes).
    """
    found: NDArray[np.float32] = session.run(None, {"predictions": predictions, "unit": unit})[0]
    return found[: int(unit.max()) + 1]


def left_out_of(images: int, *, has_steps: bool) -> int:
    """Return how many of the images that differ most are left out of a comparison.

    Args:
        images: Number of images, or of units, that are compared.
        has_steps: The probabilities move in steps, as those of neighbours and trees do: a tenth of the images
            may then lie at a step. None are left out of others.
    """
    return int(LARGEST_SHARE_OF_STEPS * images) if has_steps else 0


def _largest(differences: NDArray[Any], left_out: int) -> float:
    """Largest difference of (images, classes), without those of so many images that differ most."""
    by_image = np.sort(differences.max(axis=1))
    return float(by_image[len(by_image) - 1 - left_out])


def _run(session: Any, inputs: ModelInputs) -> NDArray[np.float32]:
    feed = {name: tensor.numpy() for name, tensor in inputs.tensors().items()}
    probabilities: NDArray[np.float32] = session.run(None, feed)[0]
    return probabilities
