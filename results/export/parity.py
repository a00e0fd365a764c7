"""Is the file what the search measured? Compared on held-out training images; no test image is read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from results.errors import ExportError
from results.export.apply import BATCH, as_model_input
from results.export.graph import INPUT_NAME, EnsembleModule
from results.records import IntArray, OutOfFold

LARGEST_ONNX_DIFFERENCE: Final = 1e-4
# Stored features have half precision, which moves a probability by about 0.005 at most.
LARGEST_OUT_OF_FOLD_DIFFERENCE: Final = 0.02


def held_out_rows(out_of_fold: OutOfFold, limit: int) -> IntArray:
    """Choose training rows evenly from all folds, ascending.

    Args:
        out_of_fold: Of any member; its rows are the training part.
        limit: Number of rows to choose; at least one a fold is chosen.

    Returns:
        Rows of the patch set, shape (about limit,).
    """
    folds = np.unique(out_of_fold.folds)
    each = max(1, limit // len(folds))
    chosen = []
    for fold in folds:
        rows = out_of_fold.rows[out_of_fold.folds == fold]
        chosen.append(rows[np.unique(np.linspace(0, len(rows) - 1, each).round().astype(np.int64))])
    return np.sort(np.concatenate(chosen))


@torch.inference_mode()
def predict_by_fold(module: EnsembleModule, images: NDArray[Any]) -> list[Tensor]:
    """Predict raw images (n, H, W) or (n, H, W, 3): one (folds, n, classes) for each member."""
    batches = [
        module.members.by_fold(as_model_input(images[start : start + BATCH]))
        for start in range(0, len(images), BATCH)
    ]
    return [torch.cat(member, dim=1) for member in zip(*batches, strict=True)]


def reproduces_out_of_fold(
    by_fold: Sequence[Tensor], out_of_folds: Mapping[int, OutOfFold], rows: IntArray
) -> float:
    """Compare each fold model, on images that it held out, with what the search kept of it.

    Args:
        by_fold: Predictions of `rows` by each member, (folds, n, classes), in the order of `out_of_folds`.
        out_of_folds: Trial number -> its out-of-fold predictions.
        rows: Rows of the patch set, shape (n,).

    Returns:
        Largest difference of a probability.

    Raises:
        ExportError: If it is above 0.02: then weights, pretrained files or images are not the
            search's own.
    """
    largest = 0.0
    for predicted, (number, kept) in zip(by_fold, out_of_folds.items(), strict=True):
        order = np.argsort(kept.rows)
        places = order[np.searchsorted(kept.rows[order], rows)]
        own = predicted.numpy()[kept.folds[places], np.arange(len(rows))]
        difference = float(np.abs(own - kept.probabilities[places]).max())
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
    module: EnsembleModule, by_fold: Sequence[Tensor], images: NDArray[Any], path: Path
) -> float:
    """Compare a file in ONNX Runtime with the module it was exported from.

    Besides the images in batches, one image alone and cut to another size is compared, so that free batch,
    height and width are seen to be free.

    Args:
        module: On the CPU.
        by_fold: What `predict_by_fold` returned for the images.
        images: Raw, shape (n, H, W) or (n, H, W, 3).
        path: The ONNX file.

    Returns:
        Largest difference of a probability.

    Raises:
        ExportError: If it is above 1e-4, or ONNX Runtime cannot run the file.
    """
    odd = images[:1, : max(1, images.shape[1] * 3 // 4), : max(1, images.shape[2] * 7 // 8)]
    expected = [module.combine(list(by_fold)).numpy(), module(as_model_input(odd)).numpy()]
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
        found = [_run(session, batch) for batch in (*batches, odd)]
    except Exception as error:  # ONNX Runtime has many error types and no common one
        raise ExportError(f"ONNX Runtime cannot run the exported file: {error}") from error
    differences = np.abs(np.concatenate(found) - np.concatenate(expected))
    largest = float(differences.max())
    if not largest <= LARGEST_ONNX_DIFFERENCE:
        raise ExportError(
            f"the exported file disagrees with PyTorch: probabilities differ by up to {largest:.2g}, at most "
            f"{LARGEST_ONNX_DIFFERENCE:g} is allowed. Nothing was written; export single members with "
            "--trial to find the one that differs"
        )
    return largest


def _run(session: onnxruntime.InferenceSession, images: NDArray[Any]) -> NDArray[np.float32]:
    probabilities: NDArray[np.float32] = session.run(None, {INPUT_NAME: as_model_input(images).numpy()})[0]
    return probabilities
