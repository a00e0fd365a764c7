"""Cross-validation of a classical model: it is fitted once per fold, so that a trial is a single epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.common.errors import ConfigError
from trainables.common.types import Float32Array, IntArray
from trainables.config.trial_config import TrialConfig
from trainables.data.training_data import TrainingData
from trainables.features.batches import Features
from trainables.features.feature_use import FeatureUse
from trainables.features.loading import open_features
from trainables.models.heads import mean_over_folds
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import FoldData
from trainables.training.random_streams import resampled
from trainables.validation.cross_validation import EpochReport, Score, TrialSnapshot
from trainables.validation.epoch_selection import EpochRecord, Judge
from trainables.validation.sklearn_estimators import ClassicalModel, Rows


class Columns:
    """The columns of a table, in place of features.

    Args:
        table: Measurements, float32, shape (rows of the patch set, columns).
        rows: Row of each position, shape (positions,).
    """

    def __init__(self, table: NDArray[Any], rows: IntArray) -> None:
        self._table = torch.from_numpy(np.asarray(table[rows], dtype=np.float32))
        self.shape: tuple[int, ...] = tuple(self._table.shape[1:])

    def for_training(
        self, positions: IntArray, generators: Sequence[torch.Generator], *, augmented: bool = True
    ) -> Tensor:
        """The same columns for every model, shape (models, B, columns); there is nothing to augment."""
        return self._table[torch.from_numpy(positions)]

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """Yield the columns at positions (n,), once, shape (n, columns)."""
        yield self._table[torch.from_numpy(positions)]


class ClassicalValidation:
    """Fits and evaluates one classical model per fold, on a table or on frozen features of plain images.

    Of the settings in `training` it uses `class_weight`, `sampling`, `train_fraction` and, for the `mlp`,
    `batch_size`; images are used once, without augmentation.

    Args:
        config: The trial.
        training_data: The training part.
        runtime: Store, device and weights.
        seed: Seed of estimators and resampling.
        score: Maps labels (n,) and probabilities (n, classes) to metrics.
        metric: Name of the searched metric, a key of the metrics that `score` returns.
        judge: Computes the searched metric of all folds together; None takes the mean of the folds' own.

    Raises:
        ConfigError: If the head has a trained convolution (`model.head.pooling=conv`).
        PrefixError: If the frozen stages give features that are not finite.
    """

    has_buffered_epochs = False
    child_peak_memory = None

    def __init__(
        self,
        config: TrialConfig,
        training_data: TrainingData,
        runtime: TrialRuntime,
        *,
        seed: int,
        score: Score,
        metric: str = "auc",
        judge: Judge | None = None,
    ) -> None:
        if config.model.head.pooling == "conv":
            raise ConfigError(
                "model.head.pooling=conv trains a convolution, which a classical model cannot; set it to gap "
                "or flatten"
            )
        self.config, self.training_data, self.runtime = config, training_data, runtime
        self.seed = seed
        self.trained_parameters: int | None = None  # no weights are trained step by step
        features, self.feature_use = _open(config, training_data, runtime)
        self._data = FoldData(
            features, training_data.folds, training_data.labels, training_data.classes, training_data.groups
        )
        self._new_record = partial(
            EpochRecord,
            config,
            training_data,
            score=score,
            metric=metric,
            judge=judge,
        )
        self._models: list[ClassicalModel] = []
        self._best: TrialSnapshot | None = None

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs: 1 after the fit, else 0."""
        return 0 if self._best is None else 1

    @property
    def is_over(self) -> bool:
        """True after the fit."""
        return self._best is not None

    @property
    def best(self) -> TrialSnapshot | None:
        """The out-of-fold predictions; None before the fit. There are no weights to keep."""
        return self._best

    def epoch(self) -> EpochReport:
        """Fit and evaluate all folds.

        Raises:
            ConfigError: If a fold has too few rows or patients for the model.
            NanLossError: If weights or predictions are not finite.
        """
        data = self._data
        self._models = [self._fitted(fold) for fold in range(data.count)]
        record = self._new_record()
        found = [
            model.predict(_for_prediction(data.features, own))
            for model, own in zip(self._models, record.held_out, strict=True)
        ]
        report = record.add(None, found, lambda fold: [])
        if record.best is not None:
            self._best = replace(record.best, losses=())  # one fit has no curve of losses
        return replace(report, is_last=True)

    def predict(self, rows: IntArray) -> Float32Array:
        """Mean of the folds' models, on logits; they are fitted first if they are not yet.

        Args:
            rows: Rows of the patch set that have a part in the task, shape (n,); rows of the sealed test part
                are allowed.

        Returns:
            Probabilities, shape (n, classes).
        """
        if not self._models:
            self.epoch()
        places = np.searchsorted(self.training_data.task_rows, rows)
        features, _ = _open(self.config, replace(self.training_data, positions=places), self.runtime)
        inputs = _for_prediction(features, np.arange(len(rows)))
        by_fold = np.stack([model.predict(inputs) for model in self._models])
        mean: Float32Array = mean_over_folds(torch.from_numpy(by_fold)).numpy()
        return mean

    def fitted(self) -> tuple[list[ClassicalModel], Float32Array]:
        """Return the models of all folds, and the features of the first image, shape (1, D)."""
        if not self._models:
            self.epoch()
        return self._models, _for_prediction(self._data.features, np.arange(1))

    def state(self) -> dict[str, Any]:
        """Checkpoint: the result, if there is one."""
        return {"best": self._best}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self._best = state["best"]

    def _fitted(self, fold: int) -> ClassicalModel:
        training, data = self.config.training, self._data
        seed = self.seed * 1009 + fold  # as in `Folds`, so that classical models and nets resample alike
        generator = torch.Generator().manual_seed(seed)
        positions = resampled(
            data.train(fold, share=training.train_fraction), data.labels, training.sampling, generator
        )
        inputs = _flat(data.features.for_training(positions[None], [generator])[0])
        rows = Rows(inputs, data.labels[positions], data.groups[positions], data.classes)
        return ClassicalModel(self.config, rows, seed=seed)


def _open(
    config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime
) -> tuple[Features, FeatureUse]:
    if training_data.patch_set.is_table:
        return Columns(training_data.patch_set.images, training_data.rows), FeatureUse(
            "table columns", None, 1, 0, 0
        )
    plain = {"augmentation": "none", "average_views": False, "augment_last": None}
    training = config.training.model_copy(update=plain)
    return open_features(config.model_copy(update={"training": training}), training_data, runtime)


def _for_prediction(features: Features, positions: IntArray) -> Float32Array:
    (inputs,) = features.for_prediction(positions)  # one view only: the plain image
    return _flat(inputs)


def _flat(inputs: Tensor) -> Float32Array:
    flat: Float32Array = inputs.flatten(1).cpu().numpy()
    return flat
