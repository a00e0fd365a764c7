"""Loading of a run's model as a module, and its predictions for rows of the run's data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from results.ensembles.ensemble import BEST
from results.errors import ExportError
from results.predictors.classical_members import fitted_again
from results.predictors.ensemble_module import EnsembleModule, combination_graph
from results.predictors.model_inputs import ModelInputs, inputs_of_rows
from results.predictors.selected_model import SelectedModel, resolve_model
from results.predictors.start_weights import takes_predicted_type
from results.run.records import SearchRecord
from results.run.refit_records import refit_folder
from results.run.registered_objects import require_registered
from results.run.run_folder import RunFolder
from results.run.source_trial import SourceTrial
from results.run.source_trials import checked_source
from results.scores.operating_point import NOTHING_ASKED, Operation
from trainables.common.types import FloatArray, IntArray
from trainables.config.trial_config import TrialConfig, decode
from trainables.config.unit_config import UnitName
from trainables.data.patches import PatchSet, open_patch_set, select_rows
from trainables.data.units import images_of_units, units_of
from trainables.estimators.registry import estimator_named
from trainables.inference.finished_trials import FinishedTrial, ImageFormat, SharedBackbones
from trainables.models.heads import mean_over_folds
from trainables.models.registry import backbone_named
from trainables.models.taps import frozen_parts
from trainables.models.weights import WeightsFile, find_weights
from trainables.runtime.checkpoint import read_fold_weights
from trainables.runtime.devices import choose_device, single_precision
from trainables.training.refit import refitted_config
from trainables.validation.classical import predicted


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A selected model, ready to predict.

    Attributes:
        chosen: The selected model with its members, decision rule and out-of-fold scores.
        search: Request and facts of the search.
        patch_set: Images of the search.
        configs: Trial number -> configuration of the member.
        module: Module of the model, on the CPU, in evaluation mode.
    """

    chosen: SelectedModel
    search: SearchRecord
    patch_set: PatchSet
    configs: dict[int, TrialConfig]
    module: EnsembleModule

    @property
    def unit(self) -> UnitName:
        """What the model predicts: single images, or breasts, exams or patients."""
        return self.search.request.unit

    def images_of(self, rows: IntArray) -> tuple[IntArray, IntArray | None]:
        """Return the images that make up what is predicted.

        Args:
            rows: Row of each image, or of the first image of each unit, shape (n,).

        Returns:
            Rows of the images, shape (m,), and the place in `rows` of each; None for single images.
        """
        return _images_of(self.patch_set, self.search, rows)

    def inputs(self, rows: IntArray) -> ModelInputs:
        """Return the module's inputs for rows of the patch set that take part in the task."""
        needs = self.module.members.needs
        return inputs_of_rows(self.patch_set, self.search.task_definition, rows, needs)


def open_model(
    run: RunFolder,
    *,
    ensemble: str = BEST,
    trial: int | None = None,
    refit: bool = False,
    operation: Operation = NOTHING_ASKED,
) -> OpenedModel:
    """Build the module of an ensemble, or of a single trial.

    Args:
        run: Folder of the search; its data must still be in the store.
        ensemble: Name of a method, `best_single` or `best`; not used if a trial is given.
        trial: Number of a single trial, or None.
        refit: Take the models that `orchestrate refit` trained.
        operation: What is asked of its decisions.

    Raises:
        ExportError: If the data are a table, or a member guesses at random.
        OrchestrateError: If the model was not built, or data, weights or pretrained files are missing.
    """
    chosen = resolve_model(run, ensemble=ensemble, trial=trial, refit=refit, operation=operation)
    search = run.search()
    configs = {number: _config(run, number) for number in chosen.trials}
    _check_backbones(search, configs)
    patch_set = open_patch_set(*search.data_location)
    _check_images(chosen.name, patch_set, configs)
    members = _backbone_modules(run, patch_set, configs, classes=len(chosen.classes), refit=refit)
    module = _module(members, chosen, search, configs)
    return OpenedModel(chosen, search, patch_set, configs, module)


def open_row_predictor(
    run: RunFolder,
    *,
    ensemble: str = BEST,
    trial: int | None = None,
    refit: bool = False,
    operation: Operation = NOTHING_ASKED,
) -> Callable[[IntArray], NDArray[np.float32]]:
    """Open a model that predicts rows of the run's own patch set: all folds of each member, or refitted ones.

    Args:
        run: Folder of the search.
        ensemble: Name of the ensemble; not used if a trial is given.
        trial: Number of a single trial, or None.
        refit: Take the models that `orchestrate refit` trained.
        operation: What is asked of its decisions; probabilities are those at its prevalence.

    Returns:
        Function from rows that take part in the task, shape (n,), to calibrated probabilities, shape (n,
        classes); of a search by breast, exam or patient a row is that of the first image of each.

    Raises:
        ExportError: If a closed-form member of an earlier version, fitted again, does not predict as it did
            in the search.
        OrchestrateError: If the model was not built, or data, weights or pretrained files are missing.
    """
    chosen = resolve_model(run, ensemble=ensemble, trial=trial, refit=refit, operation=operation)
    configs = {number: _config(run, number) for number in chosen.trials}
    _check_backbones(run.search(), configs)
    patch_set = open_patch_set(*run.search().data_location)
    if patch_set.is_table:
        return lambda rows: _combined(chosen, _predict_columns(run, chosen, configs, patch_set, rows))
    members = _backbone_modules(run, patch_set, configs, classes=len(chosen.classes), refit=refit)
    search = run.search()
    module = _module(members, chosen, search, configs)

    def predicted(rows: IntArray) -> NDArray[np.float32]:
        images, unit = _images_of(patch_set, search, rows)
        inputs = inputs_of_rows(patch_set, search.task_definition, images, members.needs)
        found = _in_batches(module.by_image, inputs)
        if unit is None:
            return found.astype(np.float32)
        with torch.inference_mode():
            together = module.by_unit.cpu()(torch.from_numpy(found), torch.from_numpy(unit))
        return together[: len(rows)].numpy().astype(np.float32)

    return predicted


def _module(
    members: SharedBackbones, chosen: SelectedModel, search: SearchRecord, configs: Mapping[int, TrialConfig]
) -> EnsembleModule:
    is_by_image = search.request.unit == "image"
    rules = () if is_by_image else tuple(config.unit.combine for config in configs.values())
    return EnsembleModule(members, combination_graph(chosen.fitted, chosen.calibration), rules)


def _images_of(patch_set: PatchSet, search: SearchRecord, rows: IntArray) -> tuple[IntArray, IntArray | None]:
    task, unit = search.task_definition, search.request.unit
    selected = select_rows(patch_set, task)
    units = units_of(patch_set, selected, unit, task)
    return (rows, None) if units is None else images_of_units(selected, units, rows)


def finished_models(run: RunFolder, trials: Sequence[int]) -> dict[int, FinishedTrial]:
    """Return trials of a run by number with the weights of their models, whatever they take as input.

    Args:
        run: Folder of the search.
        trials: Trial numbers.

    Raises:
        OrchestrateError: If weights or pretrained files are missing.
    """
    configs = {number: _config(run, number) for number in trials}
    _check_backbones(run.search(), configs)
    return dict(zip(configs, _finished_trials(run, configs, refit=False), strict=True))


def finished_members(run: RunFolder, trials: Sequence[int]) -> list[FinishedTrial]:
    """Return trials of a run with the weights of their models.

    Args:
        run: Folder of the search.
        trials: Trial numbers.

    Raises:
        ExportError: If the data are a table, or a trial guesses at random.
        OrchestrateError: If weights or pretrained files are missing.
    """
    configs = {number: _config(run, number) for number in trials}
    _check_backbones(run.search(), configs)
    _check_images(f"trial {trials[0]}", run.patch_set(), configs)
    return _finished_trials(run, configs, refit=False)


def weights_of(config: TrialConfig, search: SearchRecord) -> WeightsFile | None:
    """Return the pretrained file of a configuration, found as the search found it.

    None for random weights, and for those of another trial, which are kept with the trial itself.

    Raises:
        WeightsError: If the file is gone.
    """
    backbone = backbone_named(config.model.backbone)
    if config.model.weights != "imagenet" or not backbone.has_imagenet_weights:
        return None
    folder = search.request.weights_dir
    return find_weights(backbone.name, weights_dir=folder, may_download=False)


def _check_backbones(search: SearchRecord, configs: Mapping[int, TrialConfig]) -> None:
    """Make sure of the backbones of these trials; others that the search had registered are not needed."""
    if {config.model.backbone for config in configs.values()} & set(search.registered.get("backbone", ())):
        require_registered(search, kinds=("backbone",))


def _check_images(name: str, patch_set: PatchSet, configs: Mapping[int, TrialConfig]) -> None:
    if patch_set.is_table:
        raise ExportError(
            f"{name} takes the columns of a table, and a bundle takes images; score it with "
            "orchestrate evaluate"
        )
    random = [number for number, config in configs.items() if _is_random(config)]
    if random:
        names = ", ".join(f"trial {number} ({configs[number].classical.name})" for number in random)
        raise ExportError(
            f"{name} holds guesses at random, which are no function of an image: {names}. "
            "Export another trial (--trial)"
        )


def _is_random(config: TrialConfig) -> bool:
    return config.classical.name != "none" and estimator_named(config.classical.name).is_random


def _predict_columns(
    run: RunFolder,
    chosen: SelectedModel,
    configs: Mapping[int, TrialConfig],
    patch_set: PatchSet,
    rows: IntArray,
) -> FloatArray:
    """Mean over folds of each member's predictions for rows of a table, (members, n, classes)."""
    inputs, classes = np.asarray(patch_set.images[rows], dtype=np.float32), len(chosen.classes)
    found = []
    for number, config in configs.items():
        folder = refit_folder(run, number) if chosen.is_refitted else None
        states = read_fold_weights(folder) if folder else _states(run, run.search(), number, config)
        by_fold = np.stack([predicted(state, inputs, classes=classes) for state in states])
        found.append(mean_over_folds(torch.from_numpy(by_fold.astype(np.float64))).numpy())
    return np.stack(found)


def _combined(chosen: SelectedModel, members: FloatArray) -> NDArray[np.float32]:
    """Combine (members, n, classes) and calibrate, shape (n, classes)."""
    combined = chosen.fitted.combine(members.astype(np.float64))
    if chosen.calibration is not None:
        combined = chosen.calibration.apply(combined)
    return combined.astype(np.float32)


def _backbone_modules(
    run: RunFolder,
    patch_set: PatchSet,
    configs: Mapping[int, TrialConfig],
    *,
    classes: int,
    refit: bool = False,
) -> SharedBackbones:
    return SharedBackbones(
        _finished_trials(run, configs, refit=refit),
        ImageFormat(tuple(patch_set.images.shape[1:]), patch_set.max_value),
        classes=classes,
    )


def _finished_trials(
    run: RunFolder, configs: Mapping[int, TrialConfig], *, refit: bool
) -> list[FinishedTrial]:
    search = run.search()
    type_trial = None
    if search.type_from and any(takes_predicted_type(config) for config in configs.values()):
        type_trial = _type_trial(run, search.type_from)
    finished = _refitted if refit else _finished
    return [finished(run, search, number, config, type_trial) for number, config in configs.items()]


def _in_batches(module: nn.Module, inputs: ModelInputs) -> NDArray[Any]:
    """Predictions of a module, made in batches."""
    device = choose_device(1.0 if torch.cuda.is_available() else 0.0)
    # Channels last is about three times faster on a CPU; the layout of the weights passes on to activations.
    module = module.to(memory_format=torch.channels_last).to(device)
    with torch.inference_mode(), single_precision():
        found = [
            module(**{name: tensor.to(device) for name, tensor in batch.tensors().items()}).cpu()
            for batch in inputs.batches()
        ]
    return torch.cat(found).numpy()


def _config(run: RunFolder, number: int) -> TrialConfig:
    record = run.record(number)
    if record is None:
        raise ExportError(
            f"trial {number} has no record in {run.path}; restore it or build the ensemble again"
        )
    return decode(record.config)


def _finished(
    run: RunFolder,
    search: SearchRecord,
    number: int,
    config: TrialConfig,
    type_trial: FinishedTrial | None = None,
) -> FinishedTrial:
    return _with_weights(search, config, _states(run, search, number, config), type_trial)


def _states(
    run: RunFolder, search: SearchRecord, number: int, config: TrialConfig
) -> list[dict[str, Tensor]]:
    """Weights of a trial's models; those of a closed-form head that kept none are fitted again."""
    record = run.record(number)
    if config.classical.name == "none" or (record is not None and record.has_weights):
        return read_fold_weights(run.weights_folder(number))
    files = {part.model.backbone: weights_of(part, search) for part in frozen_parts(config)}
    return fitted_again(run, number, config, weights=files)


def _refitted(
    run: RunFolder, search: SearchRecord, number: int, config: TrialConfig, type_trial: FinishedTrial | None
) -> FinishedTrial:
    """A trial with the models that were trained on the whole training part, as one fold."""
    models = read_fold_weights(refit_folder(run, number))
    return _with_weights(search, refitted_config(config, len(models)), models, type_trial)


def _with_weights(
    search: SearchRecord,
    config: TrialConfig,
    states: list[dict[str, Tensor]],
    type_trial: FinishedTrial | None,
) -> FinishedTrial:
    own, *further = (weights_of(part, search) for part in frozen_parts(config))
    told_by = type_trial if takes_predicted_type(config) else None
    return FinishedTrial(config, states, own, told_by, also=tuple(further))


def _type_trial(run: RunFolder, source: SourceTrial) -> FinishedTrial:
    """The trial of mass_calcification that predicted the type of each finding for a run."""
    config, theirs = decode(checked_source(run, source).config), RunFolder(Path(source.run))
    search, earlier = theirs.search(), None
    if search.type_from and takes_predicted_type(config):
        earlier = _type_trial(theirs, search.type_from)
    return _finished(theirs, search, source.trial, config, earlier)
