"""What the folds of trials do, noted in the processes that train them, for searches of `arena`.

`at_start/sitecustomize.py` calls `watch` at the start of every Python of such a search: driver, workers of
Ray, and the processes of folds. Four functions then write a line to the log of the search after each call:

    begun TRIAL WORKER               a worker, by its process id, has taken a trial on
    trained TRIAL WORKER FOLD EPOCH  a fold has trained an epoch; both count from 0
    kept TRIAL WORKER FOLD EPOCHS    so many epochs of a fold are in a checkpoint on the disk; `*`: of each
    ended TRIAL WORKER               a worker has written the record of a trial

The log is opened for appending, and a line is one call of the system, so that lines of several processes do
not mix. It imports the standard library only, since every process of Ray imports it.
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

FOLDER: Final = "CHAOS_LOG"  # environment variable: folder of the logs; without it nothing is noted
_TRIAL: Final = "CHAOS_TRIAL"  # log, trial and worker that this process works for; children inherit it
_CHECKPOINT: Final = "checkpoint.safetensors"
_FINISHED: Final = "finished.checkpoint"
_RECORD: Final = "record.json"


def log_of(folder: Path, name: str) -> Path:
    """Log of a search, by its name."""
    return folder / f"{name}.epochs"


def note(log: Path, *words: object) -> None:
    """Append a line to a log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(descriptor)


def kept_epochs(path: Path, content: bytes) -> tuple[str, int] | None:
    """Return which fold a checkpoint is of, `*` for all, and its epochs; None for any other file.

    Args:
        path: Where it was written.
        content: Content of the file, a safetensors file.
    """
    if path.name not in (_CHECKPOINT, _FINISHED):
        return None
    size = int.from_bytes(content[:8], "little")
    head = json.loads(bytes(content[8 : 8 + size]))
    state = json.loads(head["__metadata__"]["state"])
    if path.name == _FINISHED:
        return path.parent.name, len(state["epochs"])
    return ("*", state["epochs_done"]) if "epochs_done" in state else None


def watch() -> None:
    """Note what happens in this process from now on, if its environment names a folder of logs."""
    if FOLDER in os.environ:
        sys.meta_path.insert(0, _Watched())


def _note_of_trial(kind: str, *words: object) -> None:
    """Note something of the trial at hand; outside of trials, as in a driver, nothing."""
    if _TRIAL in os.environ:
        log, number, worker = os.environ[_TRIAL].rsplit(":", 2)
        note(Path(log), kind, number, worker, *words)


def _watch_runner(module: ModuleType) -> None:
    runner, begin = module.TrialRunner, module.TrialRunner.__init__

    @functools.wraps(begin)
    def begun(self: Any, run: Any, number: int, *args: Any, **options: Any) -> None:
        log = log_of(Path(os.environ[FOLDER]), run.local.path.name)
        os.environ[_TRIAL] = f"{log}:{number}:{os.getpid()}"
        _note_of_trial("begun")
        begin(self, run, number, *args, **options)

    runner.__init__ = begun


def _watch_folds(module: ModuleType) -> None:
    folds, train = module.Folds, module.Folds.train_epoch

    @functools.wraps(train)
    def trained(self: Any, epoch: int, *, active: Sequence[bool], **options: Any) -> Any:
        losses = train(self, epoch, active=active, **options)
        for fold, is_active in zip(self.numbers, active, strict=True):
            if is_active:
                _note_of_trial("trained", fold, epoch)
        return losses

    folds.train_epoch = trained


def _watch_files(module: ModuleType) -> None:
    write, write_new = module.write_atomically, module.write_new

    @functools.wraps(write)
    def written(path: Path, content: Any) -> None:
        write(path, content)
        if _TRIAL in os.environ and (kept := kept_epochs(path, content)) is not None:
            _note_of_trial("kept", *kept)

    @functools.wraps(write_new)
    def added(path: Path, content: Any) -> None:
        write_new(path, content)
        if path.name == _RECORD:
            _note_of_trial("ended")

    vars(module).update(write_atomically=written, write_new=added)


_WATCHED: Final[dict[str, Callable[[ModuleType], None]]] = {
    "orchestrator.tuning.trial_runner": _watch_runner,
    "trainables.training.folds": _watch_folds,
    "trainables.common.files": _watch_files,
}


class _Watched(importlib.abc.MetaPathFinder):
    """Finds the watched modules as Python does, and has them watched once they are there."""

    def __init__(self) -> None:
        self._looks_for = ""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in _WATCHED or fullname == self._looks_for:
            return None
        self._looks_for = fullname
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looks_for = ""
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_watch(module: ModuleType) -> None:
            run(module)
            _WATCHED[fullname](module)

        spec.loader.exec_module = run_and_watch  # type: ignore[method-assign]
        return spec
