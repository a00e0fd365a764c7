"""Cross-validation of a closed-form head: it is fitted once per fold, so that a trial is a single epoch."""

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.common.errors import ConfigError
from trainables.common.progress import worked
from trainables.common.seeds import scikit_learn_seed
from trainables.common.types import Float32Array, Float64Array, IntArray
from trainables.config.trial_config import TrialConfig
from trainables.data.split_record import TRAINING
from trainables.data.training_data import TrainingData
from trainables.data.units import labels_of_units
from trainables.estimators.estimator import Rows, Whole
from trainables.estimators.fitted import FittedEstimator
from trainables.estimators.modules import EstimatorModule, as_state
from trainables.estimators.registry import estimator_named
from trainables.features.batches import Features
from trainables.features.feature_use import FeatureUse, side_by_side
from trainables.features.loading import open_features
from trainables.models.heads import probabilities
from trainables.models.registry import backbone_named
from trainables.models.taps import Tap, frozen_parts, tap_of
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import FoldData, NanLossError, training_positions
from trainables.training.losses import class_weights, log_loss
from trainables.training.random_streams import resampled
from trainables.training.refit import Refitted
from trainables.validation.cross_validation import EpochReport, Score, TrialSnapshot
from trainables.validation.epoch_selection import EpochRecord, Judge

_PREDICTED_AT_ONCE: Final = 256  # rows; a kernel or a count of neighbours compares each with every point


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


class SideBySide:
    """Features of several taps, flattened and side by side.

    Args:
        parts: Features of each tap, for the same positions.
    """

    def __init__(self, parts: Sequence[Features]) -> None:
        self.parts = tuple(parts)
        self.shape: tuple[int, ...] = (sum(math.prod(part.shape) for part in parts),)

    def for_training(
        self, positions: IntArray, generators: Sequence[torch.Generator], *, augmented: bool = True
    ) -> Tensor:
        """One batch for each model, shape (models, B, D)."""
        found = [part.for_training(positions, generators, augmented=augmented) for part in self.parts]
        return torch.cat([one.flatten(2) for one in found], dim=2)

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """Yield the features at positions (n,) in each prediction view, shape (n, D)."""
        for found in zip(*(part.for_prediction(positions) for part in self.parts), strict=True):
            yield torch.cat([one.flatten(1) for one in found], dim=1)


class ClassicalValidation:
    """Fits and evaluates one closed-form head per fold, on a table or on frozen features of plain images.

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

    Attributes:
        training_inputs: Features of all rows as heads are fitted on them, shape (rows, D).

    Raises:
        UnknownNameError: If there is no such estimator.
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
        self.estimator = estimator_named(config.classical.name)
        if config.model.head.pooling == "conv":
            raise ConfigError(
                "model.head.pooling=conv trains a convolution, which a closed-form head cannot; set it to "
                "gap or flatten"
            )
        if training_data.soft_targets is not None and not self.estimator.weighs_rows:
            raise ConfigError(
                f"classical.name={self.estimator.name} learns whole labels, and not the shares that another "
                "model predicts; take a trial with another head"
            )
        self.config, self.training_data, self.runtime = config, training_data, runtime
        self.seed = seed
        self.trained_parameters: int | None = None  # no weights are trained step by step
        features, self.feature_use = open_inputs(config, training_data, runtime)
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
        self._held_out = _for_prediction(features, len(training_data.labels))
        # Contrast may differ between training and test; where it does not, the features are the same.
        is_same = config.input.contrast == config.input.contrast_at_test
        self.training_inputs = (
            self._held_out if is_same else _for_training(features, len(training_data.labels))
        )
        self._key = _digest(self.training_inputs)
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
        """Out-of-fold predictions and the arrays of the fitted heads; None before the fit."""
        return self._best

    def epoch(self) -> EpochReport:
        """Fit and evaluate all folds.

        Raises:
            ConfigError: If a fold has too few rows or patients for the estimator, or a single class.
            NanLossError: If weights or predictions are not finite.
            OutOfTimeError: If the time of the search was up before a further fold.
        """
        record, weights = self._new_record(), list[dict[str, Tensor]]()
        for fold in range(self._data.count):
            if weights and self.runtime.fill_limit is not None:
                self.runtime.fill_limit.check_further(f"fold {fold + 1} of {self._data.count}")
            weights.append(as_state(self._fitted(fold)))
        found = [
            predicted(state, self._held_out[own], classes=self._data.classes)
            for state, own in zip(weights, record.held_out, strict=True)
        ]
        report = record.add(None, found, lambda fold: [weights[fold]])
        if record.best is not None:
            self._best = replace(record.best, losses=())  # one fit has no curve of losses
        return replace(report, is_last=True)

    def state(self) -> dict[str, Any]:
        """Checkpoint: nothing, since the one fit of an interrupted trial is made again."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Start again."""

    def refitted(self, seeds: int) -> tuple[list[dict[str, Tensor]], IntArray]:
        """Fit heads without holding out a fold, one for each seed.

        Returns:
            The arrays of each head, and the positions that all are fitted on: those of the share of the
            patients that the trial trains on, shape (n,).
        """
        whole = np.full(len(self._data.labels), TRAINING)
        share = self.config.training.train_fraction
        positions = training_positions(whole, self._data.labels, self._data.groups, 0, share=share)
        states = [
            as_state(self._fitted_on(positions, fold=0, seed=self.seed * 1009 + one)) for one in range(seeds)
        ]
        return states, positions

    def _fitted(self, fold: int) -> FittedEstimator:
        # Seeds as in `Folds`, so that closed-form heads and nets resample alike.
        positions = self._data.train(fold, share=self.config.training.train_fraction)
        return self._fitted_on(positions, fold=fold, seed=self.seed * 1009 + fold)

    def _fitted_on(self, positions: IntArray, *, fold: int, seed: int) -> FittedEstimator:
        worked()
        training, data = self.config.training, self._data
        generator = torch.Generator().manual_seed(seed)
        positions = resampled(positions, data.labels, training.sampling, generator)
        weights = self._class_weights(positions)
        labels, shares = data.labels[positions], None
        if self.training_data.soft_targets is not None:
            positions, labels, shares = _as_shares(positions, self.training_data.soft_targets[fold])
        place = hashlib.sha1(
            positions.tobytes() + (b"" if shares is None else shares.tobytes()), usedforsecurity=False
        ).hexdigest()
        rows = Rows(
            inputs=self.training_inputs[positions],
            labels=labels,
            groups=data.groups[positions],
            classes=data.classes,
            class_weights=weights,
            key=f"{self._key}/{place}",
            units=None if self.training_data.units is None else self.training_data.units[positions],
            shares=shares,
            whole=Whole(self.training_inputs, self._key, positions),
        )
        return fit_estimator(self.config, rows, seed=seed)

    def _class_weights(self, positions: IntArray) -> Float64Array:
        """Weight of each class in the loss: of images, or of units where the head is trained on these."""
        training, data = self.config.training, self.training_data
        labels = data.labels[positions]
        if data.units is not None and self.estimator.weighs_units:
            labels = labels_of_units(labels, data.units[positions])
        return class_weights(training.class_weight, labels, data.classes, beta=training.effective_beta)


def _as_shares(positions: IntArray, targets: Float64Array) -> tuple[IntArray, IntArray, Float64Array]:
    """Positions once for each class that has a share of them, with these classes and their shares."""
    found = targets[positions]
    places, labels = np.nonzero(found)
    return positions[places], labels, found[places, labels]


def fit_estimator(config: TrialConfig, rows: Rows, *, seed: int) -> FittedEstimator:
    """Fit the closed-form head of a configuration.

    Args:
        config: The trial.
        rows: Rows to fit on.
        seed: Seed of everything that the estimator draws, at least 0.

    Raises:
        ConfigError: If there are too few rows or patients to fit it, or rows of one class alone where it
            tells classes apart.
        NanLossError: If its weights became NaN or infinite.
    """
    estimator = estimator_named(config.classical.name)
    if len(rows.present) < 2 and not estimator.learns_one_class:
        raise ConfigError(
            f"classical.name={estimator.name} tells classes apart, and a fold's training part has images of "
            "one class alone; set a larger training.train_fraction, take fewer --folds, or give more patients"
        )
    from sklearn.exceptions import ConvergenceWarning  # slow to import, and nets do not need it

    with warnings.catch_warnings(), np.errstate(over="ignore", invalid="ignore"):
        # Unscaled columns may need more iterations than the limit; the score shows whether that mattered.
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            fitted = estimator.fit(config, rows, scikit_learn_seed(seed))
        except ValueError as error:
            if "non-finite" not in str(error):
                raise
            raise _not_finite(config) from error
    if not fitted.is_finite:
        raise _not_finite(config)
    return fitted


def predicted(state: dict[str, Tensor], inputs: Float32Array, *, classes: int) -> Float32Array:
    """Map features (n, D) to probabilities (n, classes); 0 for a class that was not among the rows.

    A head that weighs the images of a unit has one more column, their attention, (n, classes + 1).

    Args:
        state: Arrays of a fitted head, from `as_state`.
        inputs: Features, shape (n, D).
        classes: Number of classes.

    Raises:
        NanLossError: If a probability is not finite.
    """
    module = EstimatorModule(state, classes=classes)
    at_once = (
        len(inputs) if module.is_random else _PREDICTED_AT_ONCE
    )  # a generator draws for all rows in turn
    with torch.inference_mode():
        found = [_outputs(module, part) for part in torch.from_numpy(inputs).split(max(1, at_once))]
    together: Float32Array = torch.cat(found).to(torch.float32).numpy()
    if not np.isfinite(together).all():
        raise NanLossError("the predictions are not finite")
    return together


def _outputs(module: EstimatorModule, inputs: Tensor) -> Tensor:
    found = probabilities(module(inputs))
    return torch.cat([found, module.attention(inputs)], dim=1) if module.weighs_units else found


def _not_finite(config: TrialConfig) -> NanLossError:
    return NanLossError(
        f"the weights of classical.name={config.classical.name} became NaN or infinite; scale the features "
        "with classical.standardize=true, or lower classical.lr"
    )


def open_inputs(
    config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime
) -> tuple[Features, FeatureUse]:
    """Open what a closed-form head is fitted on: the columns of a table, or the features of all its taps."""
    if training_data.patch_set.is_table:
        return Columns(training_data.patch_set.images, training_data.rows), FeatureUse(
            "table columns", None, 1, 0, 0
        )
    return open_side_by_side(config, training_data, runtime)


def open_side_by_side(
    config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime
) -> tuple[Features, FeatureUse]:
    """Open the features of all taps of a closed-form head; taps of one backbone share its passes."""
    parts = frozen_parts(config)
    runtime = replace(runtime, taps=_with_taps(parts, runtime))
    limit = runtime.fill_limit
    # The features of the first tap alone make a score, so the others get no grace.
    further = replace(runtime, fill_limit=None if limit is None else limit.strict())
    opened = [
        open_features(part, training_data, runtime if place == 0 else further)
        for place, part in enumerate(parts)
    ]
    if len(opened) == 1:
        return opened[0]
    uses = [(part.model.backbone, use) for part, (_, use) in zip(parts, opened, strict=True)]
    return SideBySide([features for features, _ in opened]), side_by_side(uses)


def _with_taps(parts: Sequence[TrialConfig], runtime: TrialRuntime) -> dict[str, tuple[Tap, ...]]:
    """Taps to store in the passes of these parts: those of the search, and all that the parts ask for."""
    names = {part.model.backbone for part in parts}
    taps = {name: list(runtime.taps.get(name, ())) for name in names}
    for part in parts:
        tap = tap_of(part, backbone_named(part.model.backbone))
        if tap is not None:
            taps[part.model.backbone].append(tap)
    return {name: tuple(dict.fromkeys(own)) for name, own in taps.items()}


def _digest(inputs: Float32Array) -> str:
    """Hash of inputs, without a copy of them where they lie as they are read."""
    return hashlib.sha1(np.ascontiguousarray(inputs).data, usedforsecurity=False).hexdigest()


def _for_prediction(features: Features, rows: int) -> Float32Array:
    (inputs,) = features.for_prediction(np.arange(rows))  # one view only: the plain image
    return _flat(inputs)


def _for_training(features: Features, rows: int) -> Float32Array:
    return _flat(features.for_training(np.arange(rows)[None], [torch.Generator()])[0])


def _flat(inputs: Tensor) -> Float32Array:
    flat: Float32Array = inputs.flatten(1).cpu().numpy()
    return flat


def refit_classical(
    config: TrialConfig,
    training_data: TrainingData,
    runtime: TrialRuntime,
    *,
    epochs: int,
    seeds: int,
    seed: int,
    losses: Sequence[float] = (),
) -> Refitted:
    """Fit a closed-form head without validation; arguments are those of `training.refit.refit`.

    Args:
        config: The trial.
        training_data: The training part; its folds are not used.
        runtime: Store, device and weights.
        epochs: Not used, since there is one fit.
        seeds: Number of heads. Heads that draw nothing are the same for every seed.
        seed: Seed of the trial.
        losses: Not used.

    Raises:
        ConfigError: If there are too few rows or patients to fit it.
        NanLossError: If weights are not finite.
    """
    validation = ClassicalValidation(config, training_data, runtime, seed=seed, score=_no_score)
    states, positions = validation.refitted(seeds)
    labels = training_data.labels[positions]
    found = predicted(states[0], validation.training_inputs[positions], classes=training_data.classes)
    training = config.training
    weights = class_weights(
        training.class_weight, labels, training_data.classes, beta=training.effective_beta
    )
    return Refitted(states, len(labels), float(log_loss(labels, found, weights)))


def _no_score(labels: IntArray, probabilities: Float32Array) -> dict[str, float]:
    return {}
