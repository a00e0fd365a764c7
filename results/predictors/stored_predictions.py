"""Predictions of a run's models for rows of its own data, from the features that the store holds.

Every image has passed the frozen stages once, also those that no trial trained on, so that nothing is
computed again but the heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from results.errors import ExportError
from results.predictors.ensemble_module import combination_graph
from results.predictors.loading import finished_models
from results.predictors.selected_model import SelectedModel
from results.predictors.store_runtime import store_runtime
from results.predictors.unit_module import pooled_members
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.common.types import FloatArray, IntArray
from trainables.config.tasks import TASKS
from trainables.config.trial_config import TrialConfig
from trainables.data.patches import PatchSet, TaskRows, select_rows
from trainables.data.split_record import TRAINING
from trainables.data.training_data import TrainingData
from trainables.data.units import images_of_units, units_of
from trainables.features.feature_use import FeatureUse
from trainables.features.loading import open_features
from trainables.inference.finished_trials import FinishedTrial, ImageFormat, fold_models
from trainables.models.heads import mean_over_folds
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.classical import open_inputs

_AT_ONCE: Final = 64  # images


@dataclass(frozen=True, slots=True)
class StoredPredictions:
    """Predictions of several models.

    Attributes:
        probabilities: Calibrated probabilities of each model, shape (n, classes) each.
        uses: Features that the members read, or computed where the store lacks them.
    """

    probabilities: tuple[FloatArray, ...]
    uses: tuple[FeatureUse, ...]


def predict_stored(
    run: RunFolder, rows: IntArray, models: Sequence[SelectedModel], *, device: torch.device
) -> StoredPredictions:
    """Predict rows of a run's own patch set by several models; members that they share are computed once.

    Args:
        run: Folder of the search.
        rows: Rows of the patch set that take part in the task, shape (n,); of a search by breast, exam or
            patient the row of the first image of each.
        models: Models of the run.
        device: Device to compute on.

    Raises:
        ExportError: If a model takes a type of the finding that another search predicts.
        OrchestrateError: If data, weights or pretrained files are missing.
    """
    search, patch_set = run.search(), run.patch_set()
    selected = select_rows(patch_set, search.task_definition)
    images, unit = _images_of(patch_set, search, selected, rows)
    data = _data_of(patch_set, search, selected, images)
    found: dict[int, Tensor] = {}
    uses: list[FeatureUse] = []
    configs: dict[int, TrialConfig] = {}
    for number, trial in finished_models(
        run, sorted({one for model in models for one in model.trials})
    ).items():
        configs[number] = trial.config
        found[number], use = _by_fold(trial, data, _runtime(run, search, trial, device))
        uses.append(use)
    probabilities = tuple(
        _combined(model, [(configs[number], found[number]) for number in model.trials], unit)
        for model in models
    )
    return StoredPredictions(probabilities, tuple(uses))


def _images_of(
    patch_set: PatchSet, search: SearchRecord, selected: TaskRows, rows: IntArray
) -> tuple[IntArray, IntArray | None]:
    """Rows of the images to predict, and the place in `rows` of each; None for single images."""
    units = units_of(patch_set, selected, search.request.unit, search.task_definition)
    return (rows, None) if units is None else images_of_units(selected, units, rows)


def _data_of(patch_set: PatchSet, search: SearchRecord, selected: TaskRows, images: IntArray) -> TrainingData:
    """The images to predict in place of a training part; features are stored for the same rows."""
    places = np.searchsorted(selected.rows, images)
    return TrainingData(
        patch_set=patch_set,
        task_rows=selected.rows,
        positions=places,
        labels=selected.labels[places],
        groups=selected.groups[places],
        folds=np.full(len(places), TRAINING),
        classes=len(search.classes),
    )


def _runtime(
    run: RunFolder, search: SearchRecord, trial: FinishedTrial, device: torch.device
) -> TrialRuntime:
    weights = {config.model.backbone: file for config, file in trial.parts}
    return store_runtime(run, search, weights, device=device)


def _by_fold(trial: FinishedTrial, data: TrainingData, runtime: TrialRuntime) -> tuple[Tensor, FeatureUse]:
    """Probabilities of each fold model, float64 (folds, images, classes), and the features that were read."""
    config = trial.config
    features, use = (open_features if config.classical.name == "none" else open_inputs)(config, data, runtime)
    shape = tuple(data.patch_set.images.shape[1:])
    models = fold_models(trial, ImageFormat(shape, data.patch_set.max_value), data.classes).to(runtime.device)
    types = _types(config, data, models.folds)
    found = []
    with torch.inference_mode():
        for places in np.split(
            np.arange(len(data.positions)), range(_AT_ONCE, len(data.positions), _AT_ONCE)
        ):
            views = torch.stack(list(features.for_prediction(places)))
            own = None if types is None else types[:, torch.from_numpy(places)].to(runtime.device)
            found.append(models(views, own).cpu())
    return torch.cat(found, dim=1), use


def _types(config: TrialConfig, data: TrainingData, folds: int) -> Tensor | None:
    """Type of each finding as an input of each fold model, (folds, images); None for none."""
    kind = config.model.type_input
    if kind == "none":
        return None
    if kind != "human":
        raise ExportError(
            f"a model takes the type that a search of mass_calcification predicts (model.type_input={kind}), "
            "which the store does not hold; predict with an exported bundle"
        )
    types = data.labels_of(TASKS["mass_calcification"]).astype(np.float32)
    return torch.from_numpy(types).expand(folds, -1)


def _combined(
    model: SelectedModel, members: Sequence[tuple[TrialConfig, Tensor]], unit: IntArray | None
) -> FloatArray:
    """Combine the fold models of the members as the exported file does, shape (n, classes)."""
    by_fold = [folds for _, folds in members]
    if unit is not None:
        rules = [config.unit.combine for config, _ in members]
        by_fold = pooled_members(by_fold, torch.from_numpy(unit), int(unit.max()) + 1, rules)
    with torch.inference_mode():
        together = torch.stack([mean_over_folds(folds) for folds in by_fold])
        found = combination_graph(model.fitted, model.calibration)(together).numpy()
    return np.asarray(found, dtype=np.float64)
