"""Early stopping, choice of the kept epoch, and the report of each epoch.

It uses predictions and losses only, so that it does not matter where, or when, the folds were trained.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from trainables.common.types import Float32Array, Float64Array, IntArray
from trainables.config.trial_config import TrialConfig
from trainables.config.unit_config import ATTENTION
from trainables.data.training_data import TrainingData
from trainables.data.units import labels_of_units, numbered
from trainables.models.unit_pooling import pooled
from trainables.training.folds import training_positions
from trainables.training.losses import class_weights, learned_weights, log_loss, weights_of_units
from trainables.validation.collapse import is_collapsed

Score = Callable[[IntArray, Float32Array], dict[str, float]]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Value of the metric that a search optimises.

    Attributes:
        value: Of all folds together.
        by_fold: Of each fold, in fold order, with the same calibration and thresholds.
    """

    value: float
    by_fold: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """The metric that a search optimises, of the predictions of all folds together.

    Attributes:
        of: Maps labels (n,), probabilities (n, classes), folds (n,) and patients (n,) to its values.
        higher_is_better: Direction.
    """

    of: Callable[[IntArray, Float32Array, IntArray, NDArray[Any]], Judgement]
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class EpochReport:
    """Report of one finished epoch of all folds.

    Attributes:
        epoch: 1-based epoch.
        value: The searched metric of all folds together, each at its best epoch so far.
        scalars: Name -> value: means over folds, and `fold_1/...` for each fold.
        collapsed: 0-based folds that give every image the same score, now and at the epoch that they keep: a
            fold that dies after a good epoch loses nothing. See `trainables.validation.collapse`.
        is_last: True if no epoch follows.
        fold_values: Metric of each fold at the best epoch so far, in fold order.
    """

    epoch: int
    value: float
    scalars: dict[str, float]
    collapsed: tuple[int, ...]
    is_last: bool
    fold_values: tuple[float, ...] = ()


@dataclass(slots=True)
class TrialSnapshot:
    """A trial at its kept epoch: predictions, metrics and weights of all folds.

    Attributes:
        epoch: 1-based kept epoch; the latest one where each fold keeps its own.
        loss: Validation loss that chooses the epoch, mean over folds.
        value: The searched metric of all folds together.
        probabilities: Out-of-fold predictions of what is scored, images or units, shape (rows, classes).
        fold_metrics: Metrics of each fold.
        collapsed: 0-based folds that give every image the same score.
        weights: Weights of each model: fold by fold, and within a fold repeat by repeat.
        losses: Mean validation loss over folds, of every epoch so far.
    """

    epoch: int
    loss: float
    value: float
    probabilities: Float32Array
    fold_metrics: tuple[dict[str, float], ...]
    collapsed: tuple[int, ...]
    weights: list[Weights]
    losses: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class FoldSnapshot:
    """One fold at its kept epoch.

    Attributes:
        epoch: 1-based kept epoch.
        loss: Validation loss.
        probabilities: Predictions of the images, or of the units, that the fold holds out, shape
            (m, classes).
        metrics: Metrics of those predictions.
        is_collapsed: True if nearly all of them are the same; see `trainables.validation.collapse`.
        weights: Weights of the fold's models, repeat by repeat.
    """

    epoch: int
    loss: float
    probabilities: Float32Array
    metrics: dict[str, float]
    is_collapsed: bool
    weights: Sequence[Weights]


class EpochRecord:
    """Record of a trial's epochs, which decides early stopping and the kept epoch.

    The validation loss of a fold weighs classes as the fold's training does, by class weights and resampling
    (see `learned_weights`): an unweighted loss would call the shift of the scores that these cause on purpose
    an error, and keep an untrained epoch. Where units are scored, a class has as much weight in all as its
    images have in training, however many of them make up a unit; a head that is trained on whole units weighs
    these. `training.checkpoint_metric=unweighted_loss` brings it back.

    Args:
        config: The trial.
        training_data: The training part.
        score: Maps labels (n,) and probabilities (n, classes) to metrics.
        metric: Name of the searched metric; each fold's own, a key of what `score` returns, has a curve.
        judge: Computes the searched metric of all folds together; None takes the mean of the folds' own.

    Attributes:
        epochs_done: Number of finished epochs.
        losses: Mean validation loss over folds, of each finished epoch; a fold that has stopped counts with
            the loss of the epoch that it keeps.
        kept: Snapshot of each fold at its kept epoch; None before the first epoch.
        held_out: Positions of the images that each fold holds out, shape (m,) each.
        scored: What the scores are computed on: the images, or the units that they make up.
    """

    def __init__(
        self,
        config: TrialConfig,
        training_data: TrainingData,
        *,
        score: Score,
        metric: str,
        judge: Judge | None = None,
    ) -> None:
        self.training, self.training_data = config.training, training_data
        self.scored, self._combine = training_data.scored, config.unit.combine
        self.score, self.metric, self.judge = score, metric, judge
        folds = range(int(training_data.folds.max()) + 1)
        self._class_weights = [self._weights_of(fold) for fold in folds]
        self.held_out = [np.flatnonzero(training_data.folds == fold) for fold in folds]
        self._scored_in = [np.flatnonzero(self.scored.folds == fold) for fold in folds]
        self.epochs_done = 0
        self.losses: list[float] = []
        self.kept: list[FoldSnapshot | None] = [None for _ in folds]

    @property
    def is_over(self) -> bool:
        """True when no epoch follows."""
        return self.epochs_done >= self.training.epochs or not any(self.active())

    @property
    def best(self) -> TrialSnapshot | None:
        """Snapshot at the epoch that is kept so far; None before the first epoch."""
        kept = self._kept()
        if not kept:
            return None
        probabilities = np.zeros((len(self.scored.labels), self.training_data.classes), dtype=np.float32)
        for own, scored in zip(kept, self._scored_in, strict=True):
            probabilities[scored] = own.probabilities
        return TrialSnapshot(
            epoch=max(own.epoch for own in kept),
            loss=_mean(own.loss for own in kept),
            value=self._judged(kept, range(len(kept))).value,
            probabilities=probabilities,
            fold_metrics=tuple(own.metrics for own in kept),
            collapsed=_collapsed(kept),
            weights=[state for own in kept for state in own.weights],
            losses=tuple(self.losses),
        )

    def active(self) -> list[bool]:
        """True for each fold that goes on: all until the mean curve stops, or each separately."""
        patience = self.training.patience
        return [
            own is None or patience is None or self.epochs_done - own.epoch < patience for own in self.kept
        ]

    def add(
        self,
        training_losses: Sequence[float] | Float32Array | None,
        probabilities: Sequence[Float32Array],
        weights_of: Callable[[int], Sequence[Weights]],
    ) -> EpochReport:
        """Add an epoch that all folds have finished.

        What is given for a fold that has stopped before is not read: it stays at the epoch that it keeps.

        Args:
            training_losses: Training loss of each fold, shape (folds,); None where there are none.
            probabilities: Predictions of the images that each fold holds out, shape (m, classes) each; with
                a last column of attention for a head that weighs the images of a unit.
            weights_of: Returns the weights of a fold's models; called for folds that keep this epoch.
        """
        active = self.active()
        self.epochs_done += 1
        now = [
            self._evaluated(fold, probabilities[fold]) if kept is None or active[fold] else kept
            for fold, kept in enumerate(self.kept)
        ]
        self.losses.append(_mean(own.loss for own in now))
        for fold in self._improved(now, active):
            self.kept[fold] = replace(now[fold], weights=weights_of(fold))
        judged = self._judged(self._kept(), range(len(self.kept)))
        return EpochReport(
            epoch=self.epochs_done,
            value=judged.value,
            scalars=_scalars(training_losses, now, active, self.metric)
            | {f"objective/{self.metric}": judged.value},
            collapsed=tuple(fold for fold in _collapsed(now) if fold in _collapsed(self._kept())),
            is_last=self.is_over,
            fold_values=judged.by_fold,
        )

    def _kept(self) -> list[FoldSnapshot]:
        return [own for own in self.kept if own is not None]

    def _evaluated(self, fold: int, predictions: Float32Array) -> FoldSnapshot:
        labels = self.scored.labels[self._scored_in[fold]]
        probabilities = self._of_scored(fold, predictions)
        is_plain = self.training.checkpoint_metric == "unweighted_loss"
        gamma = 0.0 if is_plain else self.training.focal_gamma
        loss = log_loss(labels, probabilities, self._class_weights[fold], focal_gamma=gamma)
        metrics, has_collapsed = self.score(labels, probabilities), is_collapsed(labels, probabilities)
        return FoldSnapshot(self.epochs_done, loss, probabilities, metrics, has_collapsed, [])

    def _of_scored(self, fold: int, predictions: Float32Array) -> Float32Array:
        """Predictions of what a fold is scored on: those of its images, or pooled to their units."""
        units = self.training_data.units
        if units is None:
            return predictions
        return pooled(predictions, numbered(units[self.held_out[fold]]), self._combine)

    def _weights_of(self, fold: int) -> Float64Array | None:
        """Weight of each class in a fold's validation loss; None for equal ones."""
        training, data = self.training, self.training_data
        if training.checkpoint_metric == "unweighted_loss":
            return None
        share = training.train_fraction
        trained = training_positions(data.folds, data.labels, data.groups, fold, share=share)
        labels = data.labels[trained]
        if data.units is not None and self._combine == ATTENTION:
            of_units = labels_of_units(labels, data.units[trained])
            return class_weights(training.class_weight, of_units, data.classes, beta=training.effective_beta)
        weights = learned_weights(
            training.class_weight,
            training.sampling,
            labels,
            data.classes,
            beta=training.effective_beta,
        )
        return weights if data.units is None else weights_of_units(weights, labels, data.units[trained])

    def _improved(self, now: Sequence[FoldSnapshot], active: Sequence[bool]) -> list[int]:
        """Folds for which this epoch is better than the kept one."""
        if self.training.early_stopping_scope == "fold":
            return [
                fold
                for fold, (new, old) in enumerate(zip(now, self.kept, strict=True))
                if active[fold] and (old is None or self._is_better([new], [old], [fold]))
            ]
        old, folds = self._kept(), list(range(len(now)))
        return folds if not old or self._is_better(now, old, folds) else []

    def _is_better(
        self, now: Sequence[FoldSnapshot], old: Sequence[FoldSnapshot], folds: Sequence[int]
    ) -> bool:
        if self.training.checkpoint_metric != "metric":
            return _mean(own.loss for own in now) < _mean(own.loss for own in old)
        new, best = self._judged(now, folds).value, self._judged(old, folds).value
        return new > best if self.judge is None or self.judge.higher_is_better else new < best

    def _judged(self, snapshots: Sequence[FoldSnapshot], folds: Sequence[int]) -> Judgement:
        """The searched metric of some folds, in order of the folds."""
        if self.judge is None:
            by_fold = tuple(own.metrics[self.metric] for own in snapshots)
            return Judgement(_mean(by_fold), by_fold)
        held_out = np.concatenate([self._scored_in[fold] for fold in folds])
        order = np.argsort(held_out)
        rows, data = held_out[order], self.scored
        probabilities = np.concatenate([own.probabilities for own in snapshots])[order]
        return self.judge.of(data.labels[rows], probabilities, data.folds[rows], data.groups[rows])


def _collapsed(folds: Sequence[FoldSnapshot]) -> tuple[int, ...]:
    return tuple(fold for fold, own in enumerate(folds) if own.is_collapsed)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _scalars(
    training: Sequence[float] | Float32Array | None,
    now: Sequence[FoldSnapshot],
    active: Sequence[bool],
    metric: str,
) -> dict[str, float]:
    trained = {
        fold: float(loss) for fold, loss in enumerate(() if training is None else training) if active[fold]
    }
    scalars = {"loss/train": _mean(trained.values())} if trained else {}
    scalars["loss/validation"] = _mean(fold.loss for fold in now)
    for name in now[0].metrics:
        scalars[f"{name}/validation"] = _mean(fold.metrics[name] for fold in now)
    for number, fold in enumerate(now, start=1):
        if number - 1 in trained:
            scalars[f"fold_{number}/loss_train"] = trained[number - 1]
        scalars[f"fold_{number}/loss_validation"] = fold.loss
        scalars[f"fold_{number}/{metric}"] = fold.metrics[metric]
    return scalars
