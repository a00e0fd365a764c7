"""One fold of a trial in its own operating-system process, so that all its memory is freed at its end.

Child processes come from a preloaded fork server: it has imported the slow packages and nothing more, so a
child starts in milliseconds, without the memory, threads and CUDA context of its parent. The two communicate
over a pipe. The parent says before each epoch whether one follows; if it dies or closes the pipe, the child
ends.
"""

import contextlib
import ctypes
import io
import mmap
import multiprocessing
import multiprocessing.util
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch

from trainables.common.errors import OrchestrateError, OutOfTimeError
from trainables.common.progress import count_in, follow, forget
from trainables.common.registered import packed, unpack
from trainables.common.types import Float32Array
from trainables.config.trial_config import TrialConfig
from trainables.data.training_data import TrainingData
from trainables.features.feature_use import FeatureUse
from trainables.features.loading import open_features
from trainables.runtime.checkpoint import read_checkpoint, write_checkpoint, write_fold_weights
from trainables.runtime.devices import limit_threads
from trainables.runtime.memory import MemoryUse, PeakMemory, is_out_of_memory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import Folds, NanLossError
from trainables.training.initialisation import build_models, train_first_phase
from trainables.training.random_streams import load_shared_state, shared_state

_WAITS: Final = (0.05, 0.2, 1.0)  # seconds between attempts to start a process
_PRELOADED: Final = "trainables.validation.preloaded"
_STATE_FILE: Final = "state.safetensors"
_ERROR_LINES: Final = 8
# The path of a socket has at most 107 characters; that of the fork server adds 32 to its temporary folder.
_LONGEST_FOLDER: Final = 75
_SHORT_FOLDERS: Final = ("/tmp", "/var/tmp")
_SERVER_IS_GONE: Final = 255  # what multiprocessing reports as exit code if its fork server has died


class FoldProcessError(OrchestrateError):
    """Failure or death of a fold's process."""


class LostProcessError(FoldProcessError):
    """Death of the process that all processes of folds come from, or of a worker that trained some of them.

    Args:
        message: What died, and why.
        is_taken: It was asked to end, or its machine went, so that the trial has no part in it.
        is_helpers: It was a worker that trained some of the folds, and not the trial's own.
    """

    def __init__(self, message: str, *, is_taken: bool = False, is_helpers: bool = False) -> None:
        super().__init__(message)
        self.is_taken, self.is_helpers = is_taken, is_helpers


@dataclass(frozen=True, slots=True)
class FoldTask:
    """Task of a fold's process.

    Attributes:
        config: The trial.
        training_data: The training part.
        runtime: Store, device and weights.
        seed: Seed of the trial.
        fold: 0-based fold.
        losses: Mean validation losses over folds of the epochs before, shape (epochs,); training continues
            after them from the state that an earlier process wrote.
        keeps_state: True to write such a state at the end.
        scratch: Folder of this fold, for the weights of each epoch and the state.
    """

    config: TrialConfig
    training_data: TrainingData
    runtime: TrialRuntime
    seed: int
    fold: int
    losses: tuple[float, ...]
    keeps_state: bool
    scratch: Path


@dataclass(frozen=True, slots=True)
class Opened:
    """Message that a fold is ready to train.

    Attributes:
        feature_use: Origin and cost of the features that the fold trains on.
        trained_parameters: Number of weights that train, in one model.
    """

    feature_use: FeatureUse
    trained_parameters: int


@dataclass(frozen=True, slots=True)
class FoldEpoch:
    """Result of one epoch of a fold; its weights are in the scratch folder.

    Attributes:
        loss: Training loss.
        probabilities: Predictions of the images that the fold holds out, shape (m, classes).
        memory: Peak memory of the process so far; None where that cannot be measured.
    """

    loss: float
    probabilities: Float32Array
    memory: MemoryUse | None


@dataclass(frozen=True, slots=True)
class _Failure:
    kind: Literal["nan", "memory", "system", "late", "other"]
    text: str
    errno: int | None = None  # of a failed call of the operating system
    view_seconds: float | None = None  # of a view of features that was not computed in time


def epoch_folder(scratch: Path, epoch: int) -> Path:
    """Folder of a fold's weights after a 0-based epoch."""
    return scratch / f"epoch-{epoch}"


class FoldProcess:
    """The process of a fold, seen from its parent; as a context it leaves no process behind.

    Args:
        task: Task of the process.

    Attributes:
        opened: Features and number of weights of the opened fold.
        pid: Process id.

    Raises:
        FoldProcessError: If the fold cannot be opened, or the process dies.
        OutOfTimeError: If its features were not computed in time.
        LostProcessError: If the fork server dies before it has started the process.
    """

    def __init__(self, task: FoldTask) -> None:
        self._task = task
        _keep_sockets_in_short_folder()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([_PRELOADED])
        self._work = context.RawValue(ctypes.c_uint64)
        follow(self._work)
        self._talk, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._work), name=f"fold {task.fold + 1}", daemon=True
        )
        try:
            with _blank_main():
                _start(self._process)
        except (EOFError, OSError) as error:
            self._talk.close()
            forget(self._work)
            raise LostProcessError(
                f"the process of fold {task.fold + 1} did not start, since the fork server that starts them "
                f"was killed ({str(error) or type(error).__name__})"
            ) from error
        finally:
            theirs.close()
        self.pid = self._process.pid
        try:
            self._send(_dumped((task, torch.get_num_threads(), dict(os.environ), packed())))
            self.opened: Opened = self._received()
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> "FoldProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def epoch(self) -> FoldEpoch:
        """Train one epoch.

        Raises:
            NanLossError: If a loss or prediction is not finite.
            MemoryError: If memory does not suffice.
            OSError: If a call of the operating system fails, as on a full disk.
            FoldProcessError: If the process fails otherwise, or dies.
        """
        self._send(pickle.dumps(True))
        found: FoldEpoch = self._received()
        return found

    def finish(self) -> None:
        """Let the process write its state if its task says so, and wait for its end.

        Raises:
            FoldProcessError: If it fails.
        """
        self._send(pickle.dumps(False))
        self._process.join()
        if self._process.exitcode:
            raise self._death()

    def kill(self) -> None:
        """Kill the process, whatever it is doing, and wait for its end."""
        forget(self._work)
        self._talk.close()
        self._process.kill()
        self._process.join()

    def _send(self, content: bytes) -> None:
        try:
            self._talk.send_bytes(content)
        except OSError as error:
            raise self._death() from error

    def _received(self) -> Any:
        try:
            found = pickle.loads(self._talk.recv_bytes())
        except (EOFError, OSError) as error:
            raise self._death() from error
        if isinstance(found, _Failure):
            raise _error_of(found, self._task.fold)
        return found

    def _death(self) -> FoldProcessError:
        self._process.join()
        code, fold = self._process.exitcode or 0, self._task.fold + 1
        if code == -signal.SIGKILL:
            return FoldProcessError(
                f"the process of fold {fold} was killed (signal 9), as the system does when it is out of "
                "memory; give trials more memory, or smaller batches or models"
            )
        if code == _SERVER_IS_GONE:
            return LostProcessError(
                f"nobody knows how the process of fold {fold} ended, since the fork server was killed"
            )
        cause = f"signal {-code}" if code < 0 else f"exit code {code}"
        return FoldProcessError(f"the process of fold {fold} ended by itself ({cause})")


def _error_of(failure: _Failure, fold: int) -> Exception:
    text = f"fold {fold + 1}: {failure.text}"
    if failure.kind == "nan":
        return NanLossError(text)
    if failure.kind == "system":
        return OSError(failure.errno, text)
    if failure.kind == "late":
        return OutOfTimeError(failure.text, view_seconds=failure.view_seconds)
    return MemoryError(text) if failure.kind == "memory" else FoldProcessError(text)


class _Pickler(pickle.Pickler):
    """Pickler that writes memory-mapped arrays as a reference to their file; the reader maps them again."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is np.memmap and isinstance(value.base, mmap.mmap) and value.flags.c_contiguous:
            return np.memmap, (value.filename, value.dtype, "r", value.offset, value.shape)
        return NotImplemented


def _dumped(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def _keep_sockets_in_short_folder() -> None:
    """Where the path of the temporary folder is too long for a socket, let multiprocessing take another one.

    It makes its folder once, for as long as this process lives, and with the permissions of this user alone.
    """
    if len(tempfile.gettempdir()) <= _LONGEST_FOLDER:
        return
    short = next((one for one in _SHORT_FOLDERS if os.access(one, os.W_OK | os.X_OK)), None)
    before, tempfile.tempdir = tempfile.tempdir, short
    try:
        multiprocessing.util.get_temp_dir()
    finally:
        tempfile.tempdir = before


def _start(process: BaseProcess) -> None:
    """Start a process; where the fork server has just been killed, wait until a new one takes its place."""
    for wait in _WAITS:
        try:
            process.start()
        except ConnectionRefusedError:  # the server is dead, and the system has not told so yet
            time.sleep(wait)
        else:
            return
    process.start()


@contextlib.contextmanager
def _blank_main() -> Iterator[None]:
    """Hide the program's main module, which multiprocessing would import again in every new process.

    Without this, each fold would import the worker script of Ray, and Ray with it, or a user's own script,
    which without a main guard would run once more inside the fold. Nothing that a fold needs is defined in a
    main module. All threads see the replacement, so it lasts only while a process starts.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _serve(talk: Connection, work: Any) -> None:
    """Main function of the child: train a fold, one epoch for each request."""
    count_in(work)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        task, threads, environment, registered_objects = pickle.loads(talk.recv_bytes())
        unpack(registered_objects)
        os.environ.update(environment)  # the fork server's dates from its own start
        limit_threads(threads)
        fold = _OpenFold(task)
        talk.send_bytes(pickle.dumps(fold.opened))
        while pickle.loads(talk.recv_bytes()):
            talk.send_bytes(pickle.dumps(fold.epoch()))
        if task.keeps_state:
            fold.write_state()
    except EOFError:
        return  # the parent has closed the pipe
    except Exception as error:  # every failure is reported to the parent
        talk.send_bytes(pickle.dumps(_failure(error)))


def _end_with_parent() -> None:
    """End this process at once, whatever it is doing, when its parent has died."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _failure(error: Exception) -> _Failure:
    if isinstance(error, NanLossError):
        return _Failure("nan", str(error))
    if isinstance(error, OSError) and not is_out_of_memory(error):
        return _Failure("system", error.strerror or str(error), error.errno)
    if isinstance(error, OutOfTimeError):
        return _Failure("late", str(error), view_seconds=error.view_seconds)
    lines = "".join(traceback.format_exception(error)).strip().splitlines()[-_ERROR_LINES:]
    return _Failure("memory" if is_out_of_memory(error) else "other", "\n".join(lines))


class _OpenFold:
    """A fold inside its process."""

    def __init__(self, task: FoldTask) -> None:
        self.task, self.peak = task, PeakMemory(task.runtime.device)
        self.epochs_done = len(task.losses)
        features, feature_use = open_features(task.config, task.training_data, task.runtime)
        self.folds: Folds = build_models(
            task.config,
            task.training_data,
            task.runtime,
            features=features,
            seed=task.seed,
            mode="sequential",
            numbers=range(task.fold, task.fold + 1),
        )
        self.opened = Opened(feature_use, self.folds.trained_parameters)
        self.held_out = self.folds.held_out[0]
        if task.losses:
            self._read_state()

    def epoch(self) -> FoldEpoch:
        """Train one epoch, predict, and write the weights to disk."""
        task = self.task
        if self.epochs_done == 0 and task.config.training.first_phase != "none":
            first = train_first_phase(
                task.config,
                task.training_data,
                task.runtime,
                seed=task.seed,
                mode="sequential",
                numbers=self.folds.numbers,
            )
            self.folds.start_from(first)
        (loss,) = self.folds.train_epoch(self.epochs_done, active=[True], losses=task.losses)
        probabilities = self.folds.predict()[self.held_out]
        write_fold_weights(epoch_folder(task.scratch, self.epochs_done), self.folds.kept_states(task.fold))
        self.epochs_done += 1
        return FoldEpoch(float(loss), probabilities, self.peak.use())

    def write_state(self) -> None:
        """Write everything that another process needs to continue."""
        state = self.folds.state() | shared_state(self.task.runtime.device)
        write_checkpoint(self.task.scratch / _STATE_FILE, state, key=f"after epoch {self.epochs_done}")

    def _read_state(self) -> None:
        state = read_checkpoint(self.task.scratch / _STATE_FILE, key=f"after epoch {self.epochs_done}")
        if state is None:
            raise FoldProcessError(f"{self.task.scratch} holds no state to go on from; was it removed?")
        self.folds.load_state(state)
        load_shared_state(state, self.task.runtime.device)
