"""Refit of a finished trial: its configuration is trained once more, on the whole training part.

Cross-validation has estimated how good the configuration is and how many epochs it needs, so nothing is held
out any more. The sealed test part is not in the training data, and so not in the training either.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig, decode, flatten
from trainables.data.split_record import TRAINING
from trainables.data.training_data import TrainingData
from trainables.features.loading import open_features
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.initialisation import build_models, train_first_phase


@dataclass(frozen=True, slots=True)
class Refitted:
    """Models that were trained on the whole training part.

    Attributes:
        weights: Weights of each model, one model per seed.
        images: Number of different images that the first model was trained on.
        loss: Training loss of the last epoch, mean over models.
    """

    weights: list[dict[str, Tensor]]
    images: int
    loss: float


def refitted_config(config: TrialConfig, seeds: int) -> TrialConfig:
    """Configuration of a refit: one fold, with a model for each seed."""
    return decode(flatten(config.model_dump()) | {"training.repeats": seeds})


def refit(
    config: TrialConfig,
    training_data: TrainingData,
    runtime: TrialRuntime,
    *,
    epochs: int,
    seeds: int,
    seed: int,
    losses: Sequence[float] = (),
) -> Refitted:
    """Train models on the whole training part, without validation.

    The learning rate follows its schedule over the trial's largest number of epochs, as in cross-validation;
    training may stop before the schedule ends.

    Args:
        config: The trial.
        training_data: The training part; its folds are not used.
        runtime: Device, weights, and the trial to start from, of which the first fold's weights are taken.
        epochs: Number of epochs to train, at most that of the trial.
        seeds: Number of models, which differ in initial weights, order and views.
        seed: Seed of the trial.
        losses: Mean validation losses of the cross-validation, for a learning rate that followed them.

    Raises:
        NanLossError: If a loss is not finite.
        ConfigError: If the learning rate followed losses that are not given.
    """
    if config.optimizer.schedule == "plateau" and len(losses) < epochs - 1:
        raise ConfigError(
            "optimizer.schedule=plateau follows the validation losses of the search, and the trial's record "
            f"holds {len(losses)} of the {epochs - 1} that are needed; search again"
        )
    config = refitted_config(config, seeds)
    whole = replace(training_data, folds=np.full(len(training_data.folds), TRAINING))
    features, _ = open_features(config, whole, runtime)
    folds = build_models(config, whole, runtime, features=features, seed=seed, mode="sequential")
    if config.training.first_phase != "none":
        folds.start_from(train_first_phase(config, whole, runtime, seed=seed, mode="sequential"))
    loss = np.zeros(1, dtype=np.float32)
    for epoch in range(epochs):
        loss = folds.train_epoch(epoch, active=[True], losses=losses[:epoch])
    return Refitted(folds.kept_states(0), len(np.unique(folds.train_positions[0])), float(loss[0]))
