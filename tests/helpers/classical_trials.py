"""Trials of classical models in cross-validation, and the same by scikit-learn alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.scores.metrics import scores
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.classical import ClassicalValidation
from trainables.validation.cross_validation import TrialSnapshot


def material_of(patch_set: PatchSet, task_name: str, *, test_share: float = 0.2) -> TrainingData:
    task = task_named(task_name)
    rows = select_rows(patch_set, task)
    split = make_split(
        rows, fingerprint=patch_set.fingerprint, task=task.name, folds=3, test_share=test_share, seed=0
    )
    return training_data_of(patch_set, task, split)


def validation(
    training_data: TrainingData, runtime: TrialRuntime, settings: dict[str, Any], *, seed: int = 0
) -> ClassicalValidation:
    backbone = "table" if training_data.patch_set.is_table else "efficientnet_lite0"
    config = decode({"model.backbone": backbone, **settings})
    return ClassicalValidation(config, training_data, runtime, seed=seed, score=scores)


def fitted(
    training_data: TrainingData, runtime: TrialRuntime, settings: dict[str, Any], *, seed: int = 0
) -> TrialSnapshot:
    run = validation(training_data, runtime, settings, seed=seed)
    run.epoch()
    assert run.best is not None
    return run.best


def columns(training_data: TrainingData) -> NDArray[np.float32]:
    return np.asarray(training_data.patch_set.images[training_data.rows])


def accuracies(best: TrialSnapshot) -> list[float]:
    return [one["accuracy"] for one in best.fold_metrics]


def by_hand(
    training_data: TrainingData, make: Callable[[NDArray[np.intp], int], Any]
) -> tuple[list[float], NDArray[np.float64]]:
    """Accuracy of each fold and the probabilities, by scikit-learn alone."""
    inputs, labels = columns(training_data).astype(np.float64), training_data.labels
    found, probabilities = [], np.zeros((len(labels), 2))
    for fold in np.unique(training_data.folds):
        train, held_out = np.flatnonzero(training_data.folds != fold), training_data.folds == fold
        model = make(train, int(fold)).fit(inputs[train], labels[train])
        found.append(float((model.predict(inputs[held_out]) == labels[held_out]).mean()))
        probabilities[held_out] = model.predict_proba(inputs[held_out])
    return found, probabilities


def with_one_more_of_each_class(
    probabilities: NDArray[np.floating[Any]], folds: NDArray[np.int64]
) -> NDArray[np.floating[Any]]:
    """Shares of counted rows, kept from 0 and 1 by one more row of each class in the training part."""
    counts = np.array([(folds != fold).sum() for fold in folds])[:, None]
    return np.asarray((counts * probabilities + 1) / (counts + probabilities.shape[1]))
