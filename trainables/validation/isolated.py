"""Cross-validation with a process for each fold: slower, but all memory is freed after every fold.

The folds train one after the other, so the mean curve over folds is only known at the end. Each fold
therefore trains all epochs and keeps the weights of each on disk until one is chosen, which takes epochs
times folds times the size of the trained weights. Where each fold stops separately, its best epoch is enough.
The trial then reports its epochs one by one, with the same numbers as if the folds had trained in lockstep.
"""

import functools
import hashlib
import json
import shutil
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from trainables.config.trial_config import TrialConfig
from trainables.data.split_record import TRAINING
from trainables.data.training_data import TrainingData
from trainables.features.locks import held
from trainables.runtime.checkpoint import read_checkpoint, write_checkpoint
from trainables.runtime.memory import MemoryUse
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import NanLossError
from trainables.training.optimizers import epochs_of_known_lr
from trainables.validation.epoch_selection import (
    EpochRecord,
    EpochReport,
    Judge,
    Score,
    TrialSnapshot,
    Weights,
)
from trainables.validation.fold_process import FoldEpoch, FoldProcess, FoldTask, epoch_folder

_FINISHED: Final = "finished.checkpoint"  # in the folder of a fold that has trained all its epochs
_KEPT_SECONDS: Final = 86_400.0  # that finished folds of a killed trial wait for it
_LOCK: Final = ".lock"
_NAME: Final = 32  # characters of a folder's name
_OLD_SECONDS: Final = 7 * 86_400.0
_SCRATCH: Final = "scratch"  # below the store, which is on a large disk; /tmp may be a memory file system

_LOCKS: Final[dict[Path, ExitStack]] = {}  # of the scratch folders of this process


class StoredWeights(Mapping[str, Tensor]):
    """Weights of one model on disk; a tensor is read when it is accessed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self.path, framework="pt") as file:
            if name not in file.keys():  # noqa: SIM118 - the file is not a mapping
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
    """State of one fold.

    Attributes:
        scratch: Folder of the fold's weights.
        alone: Record that decides the fold's own stop and kept epoch; None where the mean curve decides.
        epochs: Results of the epochs that the fold has trained.
        is_restored: An earlier process has trained all its epochs.
        error: Error that ended the fold's training; raised only if the trial reaches that epoch.
    """

    scratch: Path
    alone: EpochRecord | None
    epochs: list[FoldEpoch] = field(default_factory=list)
    is_restored: bool = False
    error: NanLossError | None = None

    @property
    def is_over(self) -> bool:
        is_alone_over = self.alone is not None and self.alone.is_over
        return self.error is not None or self.is_restored or is_alone_over

    def keep(self, key: str) -> None:
        """Write the results of all epochs, so that a trial that is killed need not train the fold again."""
        if self.error is None:
            epochs = [{"loss": own.loss, "probabilities": own.probabilities} for own in self.epochs]
            write_checkpoint(self.scratch / _FINISHED, {"epochs": epochs}, key=key)

    def restore(self, key: str) -> None:
        """Take over what an earlier process has kept, if it is whole; else nothing of it stays."""
        state = read_checkpoint(self.scratch / _FINISHED, key=key)
        if state is None:
            shutil.rmtree(self.scratch, ignore_errors=True)
            return
        for own in state["epochs"]:
            self.epochs.append(FoldEpoch(own["loss"], own["probabilities"], None))
            if self.alone is not None:
                self.alone.add([own["loss"]], [own["probabilities"]], self._weights_of_last)
        self.is_restored = True

    def train(self, process: FoldProcess, epochs: int) -> None:
        """Train up to `epochs` epochs in the fold's process; fewer if the fold stops before."""
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
        """Weights of each repeat after a 0-based epoch."""
        paths = epoch_folder(self.scratch, epoch).glob("*.safetensors")
        return [StoredWeights(path) for path in sorted(paths, key=lambda path: int(path.stem))]

    def remove_weights(self, *, keep: int) -> None:
        """Remove the weights of all epochs but one, which is 0-based."""
        kept = epoch_folder(self.scratch, keep)
        for folder in self.scratch.glob("epoch-*"):
            if folder != kept:
                shutil.rmtree(folder)

    def _weights_of_last(self, fold: int) -> list[Weights]:
        return self.weights(len(self.epochs) - 1)


class IsolatedValidation:
    """Trains the folds of one configuration one after the other, each in its own process.

    The first call of `epoch` trains all folds; later calls report epochs that are trained already. With a
    learning rate that follows the mean curve (`plateau`), all folds train as many epochs as the learning rate
    is known for, then continue in new processes. A trial that is killed goes on after its last finished fold
    on the same machine, where the learning rate of all epochs is known; else it starts with its first fold.

    Args:
        config: The trial.
        training_data: The training part.
        runtime: Store, device and weights.
        seed: Seed of initial weights, order and views.
        score: Maps labels (n,) and probabilities (n, classes) to metrics.
        metric: Name of the searched metric, a key of the metrics that `score` returns.
        judge: Computes the searched metric of all folds together; None takes the mean of the folds' own.

    Attributes:
        record: Losses of the epochs so far, and the kept epoch of each fold.
        feature_use: Origin and cost of the features, as reported by the first fold.
        trained_parameters: Number of weights that train, in one model.
        child_peak_memory: Peak memory of the folds' processes; None where that cannot be measured.

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
        judge: Judge | None = None,
    ) -> None:
        self.config, self.training_data, self.runtime, self.seed = config, training_data, runtime, seed
        record_of = functools.partial(EpochRecord, config, score=score, metric=metric, judge=judge)
        self.record = record_of(training_data)
        self._key = _key_of(config, training_data, runtime, seed, metric=metric)
        scratch = _scratch_in(runtime.store, self._key)
        # Not at the end of the process: one that is ended in the middle of a trial leaves its finished folds.
        self._finaliser = weakref.finalize(self, _remove, scratch)
        self._finaliser.atexit = False
        folds = range(len(self.record.kept))
        stops_alone = config.training.early_stopping_scope == "fold" or len(folds) == 1
        self._folds = [
            _Fold(
                scratch / str(fold),
                record_of(_alone(training_data, fold)) if stops_alone else None,
            )
            for fold in folds
        ]
        self._round_ends = 0
        self.child_peak_memory: MemoryUse | None = None
        for fold in self._folds:
            fold.restore(self._key)
        # Where all folds are there, the process of the first one is opened for what it says of the features.
        begins = next((number for number, fold in enumerate(self._folds) if not fold.is_restored), 0)
        self._first: FoldProcess | None = self._process(begins, self._epochs_of_round())
        self.feature_use = self._first.opened.feature_use
        self.trained_parameters = self._first.opened.trained_parameters

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs that were reported."""
        return self.record.epochs_done

    @property
    def is_over(self) -> bool:
        """True when no epoch follows."""
        return self.record.is_over

    @property
    def has_buffered_epochs(self) -> bool:
        """True if the next epoch is trained already, so that it takes no time."""
        return not self.is_over and self.epochs_done < self._round_ends

    @property
    def best(self) -> TrialSnapshot | None:
        """Snapshot at the epoch that is kept so far; its weights are read from disk when accessed."""
        return self.record.best

    def epoch(self) -> EpochReport:
        """Report the next epoch of all folds, after training them if that has not been done.

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
            if epochs == self.config.training.epochs:
                with suppress(OSError):  # a full disk: after a kill the fold would be trained again
                    fold.keep(self._key)
        if self._first is not None:  # all folds were there
            self._first.kill()
            self._first = None
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
    """0-based epoch that is kept of a fold; -1 before the first one."""
    kept = record.kept[fold]
    return -1 if kept is None else kept.epoch - 1


def _alone(training_data: TrainingData, fold: int) -> TrainingData:
    """The training data as a hold-out split whose validation part is the given fold."""
    return replace(training_data, folds=np.where(training_data.folds == fold, 0, TRAINING))


def _key_of(
    config: TrialConfig, training_data: TrainingData, runtime: TrialRuntime, seed: int, *, metric: str
) -> str:
    """Key of all that a fold is trained on: finished folds of another trial are none of this one."""
    weights, start = runtime.weights.get(config.model.backbone), runtime.start
    facts = {
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "data": training_data.patch_set.fingerprint,
        "weights": None if weights is None else weights.sha256,
        "features": runtime.features,
        "dtype": str(runtime.dtype),
        "start": None if start is None else start.config.model_dump(mode="json"),
        "metric": metric,  # it may decide when a fold stops, as the units do on which it is computed
    }
    found = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in ("rows", "labels", "groups", "folds", "type_probability", "units", "soft_targets"):
        own = getattr(training_data, name)
        found.update(name.encode() if own is None else np.ascontiguousarray(own).tobytes())
    if start is not None and config.model.weights == "start":
        for state in start.folds:
            for name in sorted(state):
                found.update(name.encode())
                found.update(state[name].cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _scratch_in(store: Path, key: str = "") -> Path:
    """Return a folder for this trial, and remove the folders of trials whose processes were killed.

    As long as this process holds its lock, nobody removes the folder. A process number would not tell, since
    containers that share a store have the same ones.

    Args:
        store: Folder of the store.
        key: Key of the trial, whose finished folds may be there; empty for a folder that is new.
    """
    room = store / _SCRATCH
    room.mkdir(parents=True, exist_ok=True)
    for lock in room.glob(f"*{_LOCK}"):
        if lock.stem != key[:_NAME]:
            _remove_left(lock)
    for folder in room.iterdir():
        if _is_of_earlier_version(folder):
            shutil.rmtree(folder, ignore_errors=True)
    own, lock = ExitStack(), room / f"{key[:_NAME] or uuid.uuid4().hex}{_LOCK}"
    is_ours = False
    with suppress(OSError):  # without locks nobody can take this folder for one that was left
        is_ours = own.enter_context(held(lock, may_wait=False))
    if key and not is_ours:  # the same trial runs here once more, as in another search
        own.close()
        return _scratch_in(store)
    folder = lock.with_suffix("")
    folder.mkdir(exist_ok=bool(key))
    _LOCKS[folder] = own
    return folder


def _is_of_earlier_version(folder: Path) -> bool:
    """Tell whether a folder without a lock is so old that no trial of an earlier version uses it."""
    with suppress(OSError):
        is_old = time.time() - folder.stat().st_mtime > _OLD_SECONDS
        return is_old and folder.is_dir() and not folder.with_suffix(_LOCK).exists()
    return False


def _remove_left(lock: Path) -> None:
    """Remove the folder of a lock that nobody holds any more."""
    with suppress(OSError), held(lock, may_wait=False) as is_left:
        if is_left and not _waits_for_its_trial(lock.with_suffix("")):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink()


def _waits_for_its_trial(folder: Path) -> bool:
    """Tell whether finished folds are there that a trial may still go on from."""
    return any(
        time.time() - finished.stat().st_mtime < _KEPT_SECONDS for finished in folder.glob(f"*/{_FINISHED}")
    )


def _remove(scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.with_suffix(_LOCK).unlink(missing_ok=True)
    _LOCKS.pop(scratch).close()
