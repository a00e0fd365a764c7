"""Initial weights of a trial's models: random, from a finished trial, or from a first training phase.

All keep to the folds: the model of a fold starts from weights that were trained without that fold's patients,
so that nothing it is scored on has been seen before.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from trainables.common.errors import ConfigError
from trainables.config.tasks import TASKS
from trainables.config.trial_config import TrialConfig, decode, flatten
from trainables.data.training_data import TrainingData
from trainables.features.batches import Features
from trainables.features.loading import open_features
from trainables.runtime.trial_runtime import TrialRuntime, WarmStart
from trainables.training.assembly import build_part
from trainables.training.execution_mode import choose_mode
from trainables.training.folds import FoldData, Folds
from trainables.training.sequential import ExecutionMode

_BODY: Final = ("adapter.", "frozen.", "trained.")
_HEAD: Final = ("head.",)


def build_models(  # noqa: PLR0913 - a trial, its runtime, and the choice of its models
    config: TrialConfig,
    training_data: TrainingData,
    runtime: TrialRuntime,
    *,
    features: Features,
    seed: int,
    mode: ExecutionMode | None = None,
    label_task: str | None = None,
    numbers: range | None = None,
) -> Folds:
    """Build the models of a trial: new, or from the finished trial that `model.weights=start` means.

    Args:
        config: The trial.
        training_data: The training part.
        runtime: Device, weights, and the trial to start from.
        features: Features that batches are taken from.
        seed: Seed of initial weights, order and views.
        mode: Fused or sequential; None for the faster one.
        label_task: Task whose labels are learned; None for the trial's own.
        numbers: Build the models of these folds alone, which follow each other; None for all.

    Raises:
        ConfigError: If the labels do not answer that task, or the finished trial has other stages.
    """
    labels, classes = training_data.labels, training_data.classes
    if label_task is not None:
        labels, classes = training_data.labels_of(TASKS[label_task]), len(TASKS[label_task].classes)
    chosen = mode or choose_mode(config, features.shape, runtime, training_data)
    data = FoldData(
        features,
        training_data.folds,
        labels,
        classes,
        training_data.groups,
        training_data.side_input(config.model.type_input),
        training_data.soft_targets if label_task is None else None,
    )
    # Only now: filling a cold store draws random numbers, a warm one does not.
    torch.manual_seed(seed)
    folds = Folds(
        config,
        data,
        lambda fold: build_part(config, features.shape, runtime, training_data, classes=classes),
        seed=seed,
        runtime=runtime,
        mode=chosen,
        numbers=numbers,
    )
    if config.model.weights == "start":
        check_start(config, None if runtime.start is None else runtime.start.config)
    if config.model.weights == "start" and runtime.start is not None:
        folds.start_from(_states_of(runtime.start, config, folds))
    return folds


def train_first_phase(
    config: TrialConfig,
    training_data: TrainingData,
    runtime: TrialRuntime,
    *,
    seed: int,
    mode: ExecutionMode | None = None,
    numbers: range | None = None,
) -> list[dict[str, Tensor]]:
    """Train the first phase of a trial, which comes before its own epochs.

    Args:
        config: The trial; its `training.first_phase` is not `none`.
        training_data: The training part.
        runtime: Device, weights, and the trial to start from.
        seed: Seed of the trial.
        mode: Fused or sequential; None for the faster one.
        numbers: Train the models of these folds alone; None for all.

    Returns:
        Tensors to copy for each model of the trial, or of those folds: the head, or adapter and stages.

    Raises:
        NanLossError: If a loss is not finite.
        ConfigError: If the labels do not answer the first phase's task.
    """
    phase = config.training.first_phase
    first = _first_config(config)
    features, _ = open_features(first, training_data, runtime)
    folds = build_models(
        first,
        training_data,
        runtime,
        features=features,
        seed=seed,
        mode=mode,
        label_task=None if phase == "head" else phase,
        numbers=numbers,
    )
    active = [True] * len(folds.numbers)
    for epoch in range(first.training.epochs):
        folds.train_epoch(epoch, active=active)
    taken = _HEAD if phase == "head" else _BODY
    states = [state for fold in folds.numbers for state in folds.kept_states(fold)]
    return [{name: tensor for name, tensor in state.items() if name.startswith(taken)} for state in states]


def _first_config(config: TrialConfig) -> TrialConfig:
    """Configuration of a trial's first phase."""
    changes: dict[str, Any] = {
        "training.first_phase": "none",
        "training.first_phase_freezes": False,
        "training.epochs": config.training.first_phase_epochs,
    }
    if config.training.first_phase == "head":
        changes["model.trained_stages"] = 0
    else:
        changes["model.type_input"] = "none"  # the type would reveal the first task's labels
    return decode(flatten(config.model_dump()) | changes)


def check_start(config: TrialConfig, start: TrialConfig | None) -> None:
    """Check that a configuration can start from a finished trial.

    Raises:
        ConfigError: If there is none, or it has another backbone.
    """
    if start is None:
        raise ConfigError("model.weights=start needs a finished trial to start from: --start-from RUN")
    theirs = start.model.backbone
    if theirs != config.model.backbone:
        raise ConfigError(
            f"the trial to start from has backbone {theirs}, this one {config.model.backbone}; "
            f"set model.backbone={theirs}"
        )


def _states_of(start: WarmStart, config: TrialConfig, folds: Folds) -> list[dict[str, Tensor]]:
    """Tensors that each model copies from a finished trial."""
    return [
        _matching(
            start.folds[model // folds.repeats % len(start.folds)],
            folds.models.kept_state(runtime),
            takes_head=config.model.start_head,
        )
        for runtime, model in enumerate(folds.model_numbers)
    ]


def _matching(
    theirs: Mapping[str, Tensor], own: Mapping[str, Tensor], *, takes_head: bool
) -> dict[str, Tensor]:
    """Tensors of a finished trial under the names of a new one, in which other stages may be frozen.

    Raises:
        ConfigError: If the head is wanted and has another shape.
    """
    stages = {
        name.partition(".")[2]: tensor
        for name, tensor in theirs.items()
        if name.startswith(("frozen.", "trained."))
    }
    found: dict[str, Tensor] = {}
    for name, tensor in own.items():
        part, _, rest = name.partition(".")
        if part in ("frozen", "trained"):
            candidate = stages.get(rest)
        else:
            candidate = theirs.get(name) if part == "adapter" or takes_head else None
        if candidate is not None and candidate.shape == tensor.shape:
            found[name] = candidate
        elif part == "head" and takes_head:
            raise ConfigError(
                f"model.start_head: {name} has shape {tuple(tensor.shape)} here and "
                f"{None if candidate is None else tuple(candidate.shape)} in the trial to start from"
            )
    return found
