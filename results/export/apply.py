"""From a run folder to a module that predicts, and predictions of rows of its data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from results.chosen import ChosenModel, choose_model
from results.ensembles.build import BEST
from results.errors import ExportError
from results.export.graph import EnsembleModule, combination_graph
from results.records import IntArray, SearchRecord
from results.store import RunFolder
from trainables.checkpoint import read_fold_weights
from trainables.config import TrialConfig, decode
from trainables.data.patches import PatchSet, open_patch_set
from trainables.devices import choose_device
from trainables.inference import FinishedTrial, ImageFormat, SharedTrunks
from trainables.models.registry import backbone_named
from trainables.models.weights import WeightsFile, find_weights
from trainables.prefix.compute import to_tensor

BATCH: Final = 8  # images at once; with the eight symmetries 64 pass through a backbone


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A chosen model, ready to predict.

    Attributes:
        chosen: Recipe and promises.
        search: What was asked of the search.
        patch_set: The search's images.
        configs: Configuration of each member, by trial number.
        module: On the CPU, in evaluation mode.
    """

    chosen: ChosenModel
    search: SearchRecord
    patch_set: PatchSet
    configs: dict[int, TrialConfig]
    module: EnsembleModule


def open_model(run: RunFolder, *, ensemble: str = BEST, trial: int | None = None) -> OpenedModel:
    """Build the module of an ensemble, or of a single trial.

    Args:
        run: Folder of the search; its data must still lie in the store.
        ensemble: A method's name, `best_single` or `best`; not used where a trial is given.
        trial: Number of a single trial, or None.

    Raises:
        OrchestrateError: If the model was not built, or data, weights or pretrained files are missing.
    """
    chosen = choose_model(run, ensemble=ensemble, trial=trial)
    search = run.search()
    patch_set = open_patch_set(Path(search.store) / "data", search.fingerprint)
    configs = {number: _config(run, number) for number in chosen.trials}
    members = SharedTrunks(
        [_finished(run, search, number, config) for number, config in configs.items()],
        ImageFormat(tuple(patch_set.images.shape[1:]), patch_set.max_value),
        classes=len(chosen.classes),
    )
    module = EnsembleModule(members, combination_graph(chosen.fitted, chosen.calibration))
    return OpenedModel(chosen, search, patch_set, configs, module)


def predict_rows(
    run: RunFolder, rows: IntArray, *, ensemble: str = BEST, trial: int | None = None
) -> NDArray[np.float32]:
    """Predict rows of the run's own patch set with all folds of every member.

    Args:
        run: Folder of the search.
        rows: Rows of the patch set, shape (n,).
        ensemble: Name of the ensemble; not used where a trial is given.
        trial: Number of a single trial, or None.

    Returns:
        Calibrated probabilities, shape (n, classes).

    Raises:
        OrchestrateError: As `open_model`.
    """
    opened = open_model(run, ensemble=ensemble, trial=trial)
    device = choose_device(1.0 if torch.cuda.is_available() else 0.0)
    # Channels last is about three times faster on a CPU; weights carry the layout to what flows through.
    module = opened.module.to(memory_format=torch.channels_last).to(device)
    images = opened.patch_set.images
    predicted = np.zeros((len(rows), len(opened.chosen.classes)), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(rows), BATCH):
            raw = as_model_input(images[rows[start : start + BATCH]]).to(device)
            predicted[start : start + BATCH] = module(raw).cpu().numpy()
    return predicted


def as_model_input(raw: NDArray[Any]) -> torch.Tensor:
    """Copy raw pixels into the tensor type that an exported file takes: int32, or float32 for floats."""
    tensor = to_tensor(raw)
    return tensor if tensor.is_floating_point() else tensor.to(torch.int32)


def weights_of(config: TrialConfig, search: SearchRecord) -> WeightsFile | None:
    """Pretrained file of a configuration, found as the search found it; None for random weights.

    Raises:
        WeightsError: If it is not there any more.
    """
    backbone = backbone_named(config.model.backbone)
    if config.model.weights == "random" or not backbone.has_imagenet_weights:
        return None
    folder = Path(search.weights_dir) if search.weights_dir else None
    return find_weights(backbone.name, weights_dir=folder, may_download=False)


def _config(run: RunFolder, number: int) -> TrialConfig:
    record = run.record(number)
    if record is None:
        raise ExportError(
            f"trial {number} has no record in {run.path}; restore it or build the ensemble again"
        )
    return decode(record.config)


def _finished(run: RunFolder, search: SearchRecord, number: int, config: TrialConfig) -> FinishedTrial:
    folds = read_fold_weights(run.trial(number) / "folds")
    return FinishedTrial(config, folds, weights_of(config, search))
