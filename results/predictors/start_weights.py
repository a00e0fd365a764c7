"""Inputs of a search from finished trials: weights to start from, and predicted types of findings."""

import dataclasses
from pathlib import Path

from results.run.run_folder import RunFolder
from results.run.source_trial import SourceTrial
from results.run.source_trials import checked_source, type_probabilities
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.training_data import TrainingData
from trainables.runtime.checkpoint import read_fold_weights
from trainables.runtime.trial_runtime import WarmStart


def takes_predicted_type(config: TrialConfig) -> bool:
    """Tell whether the models of a trial take the type of the finding that another one predicts."""
    return config.model.type_input in ("probability", "hard")


def with_type_probabilities(training_data: TrainingData, source: SourceTrial | None) -> TrainingData:
    """Return training data with a trial's predicted probabilities of the finding type; unchanged without one.

    Raises:
        RunError: If the trial has no prediction for some image.
    """
    if source is None:
        return training_data
    return dataclasses.replace(training_data, type_probability=type_probabilities(source, training_data.rows))


def read_start(run: RunFolder) -> WarmStart | None:
    """Return the finished trial that trials of a run start from; None without one.

    Raises:
        ConfigError: If its weights are gone.
        RunError: If it is gone, or another run has taken its place.
    """
    source = run.search().start_from
    if source is None:
        return None
    config = decode(checked_source(run, source).config)
    states = read_fold_weights(RunFolder(Path(source.run)).weights_folder(source.trial))
    return WarmStart(config, states[:: config.training.repeats])
