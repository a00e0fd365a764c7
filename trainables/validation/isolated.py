"""Cross-validation with a process for each fold: slower, and all memory comes back after every fold.

The folds train one after the other, so the mean curve over folds is known at the end only. Each fold
therefore trains all epochs, and keeps the weights of each on disk until one is chosen: epochs times folds
times the trained weights. Where a fold stops by itself its best epoch is enough. The trial then reports its
epochs one by one, as if the folds had trained side by side, and with the same numbers.
"""

import os
import shutil
import socket
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import safe_open
from torch import Tensor

from trainables.config.trial_config import TrialConfig
from trainables.data.splits import TRAINING
from trainables.data.training_data import TrainingData
from trainables.runtime.memory import MemoryUse
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import NanLossError
from trainables.training.optimizers import epochs_of_known_lr
from trainables.validation.epoch_selection import EpochRecord, EpochReport, Score, TrialSnapshot, Weights
from trainables.validation.fold_process import FoldEpoch, FoldProcess, FoldTask, epoch_folder

_SCRATCH: Final = "scratch"  # below the store, which has room and is no memory in disguise


class StoredWeights(Mapping[str, Tensor]):
    """Weights of one model on disk; a tensor is read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self.path, framework="pt") as file:
            if name not in file.keys():  # noqa: SIM118 - the file is no mapping
                raise KeyError(name)
            tensor: Tensor = file.get_tensor(name).clone()  # else the whole file stays mapped with it
            return tensor

    def __iter__(self) -> Iterator[str]:
        with safe_open(self.path, framework="pt") as file:
            return iter(list(file.keys()))

    def __len__(self) -> int:
        return len(list(iter(self)))


@dataclass(slots=True)
class _Fold:
    """What is known of a fold.

    Attributes:
        scratch: Folder of its weights.
        alone: What it keeps and when it stops, where it decides that by itself; None where the mean does.
        epochs: Those that it trained.
        error: Why no epoch follows; counts only if the trial comes so far.
    """

    scratch: Path
    alone: EpochRecord | None
    epochs: list[FoldEpoch] = field(default_factory=list)
    error: NanLossError | None = None

    @property
    def is_over(self) -> bool:
        return self.error is not None or (self.alone is not None and self.alone.is_over)

    def train(self, process: FoldProcess, epochs: int) -> None:
        """Let its process train so many epochs, or fewer where the fold stops before."""
        for _ in range(epochs):
            try:
                self.epochs.append(process.epoch())
            except NanLossError as error:
                self.error = error
                return
            if self.alone is not None:
                last = self.epochs[-1]
                self.alone.add([last.loss], [last.probabilities], self._weights_of_last)
                self.remove_weights(keep=_epoch_of(self.alone, 0))
            if self.is_over:
                break
        process.finish()

    def at(self, epoch: int) -> FoldEpoch:
        """The fold after an epoch, which counts from 0: after its last it stays as it is.

        Raises:
            NanLossError: If that is what ended it.
        """
        if epoch < len(self.epochs):
            return self.epochs[epoch]
        if self.error is not None:
            raise self.error
        return FoldEpoch(0.0, self.epochs[-1].probabilities, None)

    def weights(self, epoch: int) -> list[Weights]:
        """Of each repeat, after an epoch that counts from 0."""
        paths = epoch_folder(self.scratch, epoch).glob("*.safetensors")
        return [StoredWeights(path) for path in sorted(paths, key=lambda path: int(path.stem))]

    def remove_weights(self, *, keep: int) -> None:
        """Remove the weights of all epochs but one, which counts from 0."""
        kept = epoch_folder(self.scratch, keep)
        for folder in self.scratch.glob("epoch-*"):
            if folder != kept:
                shutil.rmtree(folder)

    def _weights_of_last(self, fold: int) -> list[Weights]:
        return self.weights(len(self.epochs) - 1)


class IsolatedValidation:
    """Trains the folds of one configuration one after the other, each in a process of its own.

    The first epoch that is asked for trains all folds; the others are there already and only reported. With a
    learning rate that follows the mean curve (`plateau`), all folds train for as many epochs as it is known,
    then go on in new processes. A trial that is interrupted starts again from its first fold.

    Args:
        config: The trial.
        training_data: The training part.
        runtime: Store, device and weights.
        seed: Decides initial weights, order and views.
        score: Maps labels (n,) and probabilities (n, classes) to metrics.
        metric: The metric to report, a key of what `score` returns.

    Attributes:
        record: What became of the epochs so far.
        feature_use: How the trial is fed, as its first fold found it.
        trained_parameters: Number of weights that train, in one model.
        child_peak_memory: Most that a fold's process has needed.

    Raises:
        FoldProcessError: If the first fold cannot be opened.
    """

    def __init__(
        self,
        config: TrialConfig,
        training_data: TrainingData,
        runtime: TrialRuntime,
        *,
        seed: int,
        score: Score,
        metric: str = "auc",
    ) -> None:
        self.config, self.training_data, self.runtime, self.seed = config, training_data, runtime, seed
        self.record = EpochRecord(config, training_data, score=score, metric=metric)
        scratch = _scratch_in(runtime.store)
        weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)
        folds = range(len(self.record.kept))
        stops_alone = config.training.early_stopping_scope == "fold" or len(folds) == 1
        self._folds = [
            _Fold(
                scratch / str(fold),
                EpochRecord(config, _alone(training_data, fold), score=score, metric=metric)
                if stops_alone
                else None,
            )
            for fold in folds
        ]
        self._round_ends = 0
        self.child_peak_memory: MemoryUse | None = None
        self._first: FoldProcess | None = self._process(0, self._epochs_of_round())
        self.feature_use = self._first.opened.feature_use
        self.trained_parameters = self._first.opened.trained_parameters

    @property
    def epochs_done(self) -> int:
        """Finished epochs that were reported."""
        return self.record.epochs_done

    @property
    def is_over(self) -> bool:
        """True when no epoch follows."""
        return self.record.is_over

    @property
    def has_buffered_epochs(self) -> bool:
        """True while the next epoch is trained already, so that it takes no time."""
        return not self.is_over and self.epochs_done < self._round_ends

    @property
    def best(self) -> TrialSnapshot | None:
        """What is kept so far; weights are read from disk when they are asked for."""
        return self.record.best

    def epoch(self) -> EpochReport:
        """Report the next epoch of all folds; train them first where that has not been done.

        Raises:
            NanLossError: If a loss or prediction is not finite.
            MemoryError: If memory does not suffice.
            FoldProcessError: If a fold's process fails otherwise, or dies.
        """
        done = self.epochs_done
        if done == self._round_ends:
            self._train_round()
        now = [fold.at(done) for fold in self._folds]
        report = self.record.add(
            [own.loss for own in now],
            [own.probabilities for own in now],
            lambda fold: self._folds[fold].weights(done),
        )
        if report.is_last:
            for number, fold in enumerate(self._folds):
                fold.remove_weights(keep=_epoch_of(self.record, number))
        return report

    def state(self) -> dict[str, Any]:
        """Checkpoint: nothing, since the folds of an interrupted trial are trained again."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Start again."""

    def _epochs_of_round(self) -> int:
        return epochs_of_known_lr(self.config.optimizer, self.config.training.epochs, self.record.losses)

    def _train_round(self) -> None:
        epochs = self._epochs_of_round()
        for number, fold in enumerate(self._folds):
            if fold.is_over:
                continue
            process, self._first = self._first or self._process(number, epochs), None
            with process:
                fold.train(process, epochs)
            self._note_memory(fold)
        self._round_ends += epochs

    def _process(self, fold: int, epochs: int) -> FoldProcess:
        return FoldProcess(
            FoldTask(
                config=self.config,
                training_data=self.training_data,
                runtime=self.runtime,
                seed=self.seed,
                fold=fold,
                losses=tuple(self.record.losses),
                keeps_state=self.epochs_done + epochs < self.config.training.epochs,
                scratch=self._folds[fold].scratch,
            )
        )

    def _note_memory(self, fold: _Fold) -> None:
        found = [own.memory for own in fold.epochs if own.memory is not None]
        known = found if self.child_peak_memory is None else [*found, self.child_peak_memory]
        self.child_peak_memory = max(known, key=lambda memory: memory.peak_bytes, default=None)


def _epoch_of(record: EpochRecord, fold: int) -> int:
    """Epoch, from 0, that is kept of a fold."""
    kept = record.kept[fold]
    return -1 if kept is None else kept.epoch - 1


def _alone(training_data: TrainingData, fold: int) -> TrainingData:
    """The material as a hold-out of one fold."""
    return replace(training_data, folds=np.where(training_data.folds == fold, 0, TRAINING))


def _scratch_in(store: Path) -> Path:
    """A new folder of this process; what processes that were killed left behind is removed."""
    room, host = store / _SCRATCH, socket.gethostname()
    room.mkdir(parents=True, exist_ok=True)
    for left in room.glob(f"{host}-*-*"):
        owner = left.name.removeprefix(f"{host}-").partition("-")[0]
        if not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=room, prefix=f"{host}-{os.getpid()}-"))
