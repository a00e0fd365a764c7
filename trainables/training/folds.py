"""Training of all models of a trial, one for each fold and repeat, in lockstep, epoch by epoch."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.common.errors import OrchestrateError
from trainables.common.progress import worked
from trainables.common.types import Float32Array, IntArray
from trainables.config.trial_config import TrialConfig
from trainables.features.batches import Features
from trainables.models.stages import TrainedPart
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.fused import FusedModels
from trainables.training.losses import class_weights
from trainables.training.optimizers import lr_factor, warmup_factor
from trainables.training.random_streams import RandomStreams, epoch_order, resampled
from trainables.training.sequential import ExecutionMode, Models, SequentialModels, TrainingInputs
from trainables.training.weight_average import WeightAverage

_PREDICTION_BATCH: Final = 256


class NanLossError(OrchestrateError):
    """A loss, weight or prediction became NaN or infinite in training."""


@dataclass(frozen=True, slots=True)
class FoldData:
    """Features, labels and fold assignment of the rows that the folds train on and predict.

    Attributes:
        features: Features that batches are taken from; shared by all folds.
        folds: 0-based fold that holds each position out, or `TRAINING`, shape (rows,).
        labels: Class indices of all positions, shape (rows,).
        classes: Number of classes.
        groups: Patient of each position, shape (rows,).
        side_input: Extra inputs of the head besides the pixels, shape (rows, K); None for none.
        targets: Share of each class that the models of each fold learn in place of the label, shape
            (folds, rows, classes); None for labels.
    """

    features: Features
    folds: IntArray
    labels: IntArray
    classes: int
    groups: NDArray[np.str_]
    side_input: NDArray[np.float64] | None = None
    targets: NDArray[np.float64] | None = None

    @property
    def count(self) -> int:
        """Number of folds; 1 where no position is held out."""
        return max(int(self.folds.max()) + 1, 1)

    def train(self, fold: int, *, share: float = 1.0) -> IntArray:
        """Positions that a fold trains on, for a share of its patients in (0, 1], shape (n,)."""
        return training_positions(self.folds, self.labels, self.groups, fold, share=share)

    def held_out(self, fold: int) -> IntArray:
        """Positions that a fold predicts, shape (m,)."""
        return np.flatnonzero(self.folds == fold)


def training_positions(
    folds: IntArray, labels: IntArray, groups: NDArray[np.str_], fold: int, *, share: float = 1.0
) -> IntArray:
    """Positions that a fold trains on.

    Args:
        folds: 0-based fold that holds each position out, or `TRAINING`, shape (rows,).
        labels: Class indices of all positions, shape (rows,).
        groups: Patient of each position, shape (rows,).
        fold: 0-based fold.
        share: Share of the patients that is used, in (0, 1]. They have the classes about as all have them,
            and the rarest class keeps a patient, however small the share.

    Returns:
        Shape (n,).
    """
    positions = np.flatnonzero(folds != fold)
    if share == 1.0:
        return positions
    patients, of_patient = np.unique(groups[positions], return_inverse=True)
    rarest = _rarest_class(labels[positions], of_patient)
    # The same patients in every trial, and those of a smaller share among those of a larger.
    ordered = np.random.default_rng(0).permutation(len(patients))
    place = np.empty(len(patients))
    for label in np.unique(rarest):
        own = ordered[rarest[ordered] == label]
        place[own] = np.arange(len(own)) / len(own)
    count = max(len(np.unique(rarest)), round(share * len(patients)))
    kept = ordered[np.argsort(place[ordered], kind="stable")][:count]
    return positions[np.isin(of_patient, kept)]


def _rarest_class(labels: IntArray, of_patient: IntArray) -> IntArray:
    """The class of each patient that the fewest positions have, shape (patients,)."""
    by_number = np.argsort(np.bincount(labels), kind="stable")
    rank = np.argsort(by_number)[labels]
    least = np.full(int(of_patient.max()) + 1, len(by_number))
    np.minimum.at(least, of_patient, rank)
    return by_number[least]


class Folds:
    """Trains the models of a trial in lockstep.

    Models are numbered `fold * repeats + repeat`. In an epoch every model sees each of its images once; folds
    with fewer images than the largest see some a second time, so that all take the same number of steps.

    Args:
        config: The trial.
        data: Features, labels and folds.
        build: Builds a new trained part for a fold; called once for each model, in order.
        seed: Seed of order, views, dropout and noise.
        runtime: Device and number type.
        mode: `fused` or `sequential`; the results agree.
        numbers: Build and train the models of these folds alone, which follow each other, with the results
            that they have among the others; None for all.

    Attributes:
        numbers: Folds whose models are trained here; arguments and results for each fold are in this order.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: FoldData,
        build: Callable[[int], TrainedPart],
        *,
        seed: int,
        runtime: TrialRuntime,
        mode: ExecutionMode,
        numbers: range | None = None,
    ) -> None:
        self.config, self.data = config, data
        device = runtime.device
        self.repeats = config.training.repeats
        self.numbers = range(data.count) if numbers is None else numbers
        self.model_numbers = range(self.numbers.start * self.repeats, self.numbers.stop * self.repeats)
        streams = [
            RandomStreams.seeded(seed * 1009 + model, device) for model in range(data.count * self.repeats)
        ]
        positions = [
            resampled(
                data.train(model // self.repeats, share=config.training.train_fraction),
                data.labels,
                config.training.sampling,
                own.order,
            )
            for model, own in enumerate(streams)
        ]
        self.length = max(map(len, positions))
        self.streams = [streams[model] for model in self.model_numbers]
        self.train_positions = [positions[model] for model in self.model_numbers]
        self.held_out = [data.held_out(fold) for fold in self.numbers]
        inputs = TrainingInputs(
            config,
            data.features,
            torch.from_numpy(data.labels).to(device),
            torch.stack([self._class_weights(own) for own in self.train_positions]).to(device, runtime.dtype),
            self.streams,
            None if data.side_input is None else torch.from_numpy(data.side_input).to(device, runtime.dtype),
            None if data.targets is None else self._targets(data.targets).to(device, runtime.dtype),
        )
        parts = []
        for model in range(self.model_numbers.stop):
            part = build(model // self.repeats)  # also of earlier folds: one stream draws all first weights
            if model in self.model_numbers:
                parts.append(part.to(runtime.dtype))
        self.trained_parameters = sum(p.numel() for p in parts[0].parameters() if p.requires_grad)
        self.models: Models = (FusedModels if mode == "fused" else SequentialModels)(parts, inputs, device)
        live = [self.models.live_tensors(model) for model in range(len(parts))]
        decay = config.fine_tuning.ema
        self.average = WeightAverage(decay, live) if decay else None

    @property
    def mode(self) -> ExecutionMode:
        """How the models run."""
        return self.models.mode

    def train_epoch(
        self, epoch: int, *, active: Sequence[bool], losses: Sequence[float] = ()
    ) -> Float32Array:
        """Train one epoch.

        Args:
            epoch: 0-based epoch.
            active: True for each fold that trains; the models of the others stay as they are.
            losses: Mean validation losses of the epochs so far, which a learning rate may depend on.

        Returns:
            Mean weighted loss of each fold, shape (folds,).

        Raises:
            NanLossError: If a loss is not finite.
        """
        factor = lr_factor(self.config.optimizer, epoch, self.config.training.epochs, losses)
        warmup = self.config.fine_tuning.warmup_epochs
        by_model = [is_active for is_active in active for _ in range(self.repeats)]
        orders = np.stack(
            [
                epoch_order(positions, self.length, own.order)
                for positions, own in zip(self.train_positions, self.streams, strict=True)
            ]
        )
        last, total, images = self.config.training.augment_last, torch.zeros(()), 0
        augmented = last is None or epoch >= self.config.training.epochs - last
        batches = self._batches(orders)
        for step, batch in enumerate(batches):
            self._set_lr(factor * warmup_factor(warmup, epoch, step, len(batches)))
            losses_of_step = self.models.train_step(batch, active=by_model, augmented=augmented)
            total = losses_of_step * batch.shape[1] + total.to(losses_of_step)
            images += batch.shape[1]
            worked()
            if self.average is not None:
                self.average.update(by_model)
        means = (total.double() / images).view(-1, self.repeats).mean(dim=1).cpu().numpy()
        for loss in means[~np.isfinite(means)][:1]:
            raise NanLossError(
                f"the training loss became {loss} in epoch {epoch + 1}; the learning rate is "
                f"{self.config.optimizer.lr:g}"
            )
        found: Float32Array = means.astype(np.float32)
        return found

    def predict(self) -> Float32Array:
        """Out-of-fold probabilities of every position, shape (rows, classes).

        Positions that no fold here holds out are zero.

        Raises:
            NanLossError: If a probability is not finite.
        """
        widest = max(map(len, self.held_out))
        # Shorter folds are padded with their first images; those repeated predictions are not read.
        padded = np.stack([np.resize(own, widest) for own in self.held_out]).repeat(self.repeats, axis=0)
        with self._averaged():
            parts = [
                self.models.predict(padded[:, start : start + _PREDICTION_BATCH])
                for start in range(0, widest, _PREDICTION_BATCH)
            ]
        by_model = torch.cat(parts, dim=1).float().cpu().numpy()
        by_fold = by_model.reshape(len(self.numbers), self.repeats, widest, -1).mean(axis=1)
        probabilities = np.zeros((len(self.data.labels), self.data.classes), dtype=np.float32)
        for own, found in zip(self.held_out, by_fold, strict=True):
            probabilities[own] = found[: len(own)]
        if not np.isfinite(probabilities).all():
            raise NanLossError("the predictions are not finite")
        return probabilities

    def start_from(self, states: Sequence[Mapping[str, Tensor]]) -> None:
        """Copy tensors of other models, one mapping for each model; tensors without an entry stay."""
        for model, state in enumerate(states):
            own = self.models.kept_state(model)
            self.models.load_kept_state(model, own | dict(state))
        if self.average is not None:
            self.average.reset()

    def kept_states(self, fold: int) -> list[dict[str, Tensor]]:
        """Weights of a fold's models, one for each repeat."""
        first = (fold - self.numbers.start) * self.repeats
        with self._averaged():
            return [self.models.kept_state(model) for model in range(first, first + self.repeats)]

    def state(self) -> dict[str, Any]:
        """Checkpoint, to continue with models of the same execution mode."""
        return {
            "how": self.mode,
            "models": [self.models.kept_state(model) for model in range(len(self.streams))],
            "draws": [own.state() for own in self.streams],
            "optimizer": self.models.optimizer.state_dict(),
            "scale": self.models.stepper.state(),
            "average": None if self.average is None else self.average.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        for model, kept in enumerate(state["models"]):
            self.models.load_kept_state(model, kept)
        for own, kept in zip(self.streams, state["draws"], strict=True):
            own.load_state(kept)
        self.models.optimizer.load_state_dict(state["optimizer"])
        self.models.stepper.load_state(state.get("scale", {}))  # checkpoints of earlier versions have neither
        if self.average is not None and state.get("average") is not None:
            self.average.load_state(state["average"])

    def _averaged(self) -> AbstractContextManager[None]:
        """Context in which the models have their averaged weights, if the trial averages them."""
        return nullcontext() if self.average is None else self.average.in_place()

    def _batches(self, orders: IntArray) -> list[IntArray]:
        size = self.config.training.batch_size
        batches = [orders[:, start : start + size] for start in range(0, self.length, size)]
        # Batch normalisation cannot train on a single image.
        return batches[:-1] if len(batches) > 1 and batches[-1].shape[1] == 1 else batches

    def _class_weights(self, positions: IntArray) -> Tensor:
        training, data = self.config.training, self.data
        weights = class_weights(
            training.class_weight, data.labels[positions], data.classes, beta=training.effective_beta
        )
        return torch.from_numpy(weights)

    def _targets(self, by_fold: NDArray[np.float64]) -> Tensor:
        """Targets of each model, (models, rows, classes)."""
        return torch.from_numpy(by_fold[[model // self.repeats for model in self.model_numbers]])

    def _set_lr(self, factor: float) -> None:
        for group in self.models.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
