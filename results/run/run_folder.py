"""The run folder: plain files, each written whole or not at all."""

import contextlib
import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from results.errors import RunError
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from trainables.common.files import write_atomically
from trainables.common.text import command_text, typed_path
from trainables.data.patches import PatchSet, open_patch_set


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder `runs/<task>/<name>/`: names and formats of its files, but no decisions about them."""

    path: Path

    @property
    def search_file(self) -> Path:
        """Request and facts of the search, as YAML."""
        return self.path / "search.yaml"

    @property
    def split_file(self) -> Path:
        """Split manifest: the fold of each patient, or the sealed test part."""
        return self.path / "split.json"

    @property
    def study_file(self) -> Path:
        """Optuna's journal of the study."""
        return self.path / "study.log"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard event files, one for each trial."""
        return self.path / "tensorboard"

    @property
    def leaderboard_file(self) -> Path:
        """Leaderboard, as CSV."""
        return self.path / "leaderboard.csv"

    @property
    def openings_file(self) -> Path:
        """Log of every time that the sealed test part was read."""
        return self.path / "test_openings.jsonl"

    def trial(self, number: int) -> Path:
        """Folder of one trial."""
        return self.path / "trials" / f"{number:04d}"

    def record_file(self, number: int) -> Path:
        """Record of one trial, written when the trial has ended."""
        return self.trial(number) / "record.json"

    def checkpoint_file(self, number: int) -> Path:
        """Checkpoint of a trial that has not ended."""
        return self.trial(number) / "checkpoint.pt"

    def weights_folder(self, number: int) -> Path:
        """Folder of the weights of a trial's folds."""
        return self.trial(number) / "folds"

    def discard_weights(self, number: int) -> None:
        """Remove the weights of a trial; its record and predictions stay."""
        record = self.record(number)
        if record is not None:
            self.write_record(record.model_copy(update={"has_weights": False}))
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.weights_folder(number))

    def patch_set(self) -> PatchSet:
        """Open the data that were searched.

        Raises:
            DataError: If the stored copy is gone.
        """
        return open_patch_set(*self.search().data_location)

    def ensemble_file(self, name: str) -> Path:
        """File of one ensemble."""
        return self.path / "ensembles" / f"{name}.json"

    def write_search(self, record: SearchRecord) -> None:
        """Write request and facts of the search."""
        text = yaml.safe_dump(record.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
        write_atomically(self.search_file, text)

    def search(self) -> SearchRecord:
        """Read request and facts of the search."""
        try:
            return SearchRecord.model_validate(yaml.safe_load(self.search_file.read_text()))
        except FileNotFoundError as error:
            raise RunError(f"{self.path} is not a run folder: it holds no search.yaml") from error
        except (yaml.YAMLError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"{self.search_file} cannot be read: {reason}; was it edited by hand?") from error

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other processes from running this search meanwhile; the lock dies with its process.

        Raises:
            RunError: If another process runs it.
        """
        descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RunError(
                    f"{self.path} is being searched by another process; wait, or stop it"
                ) from error
            yield
        finally:
            os.close(descriptor)

    def write_record(self, record: TrialRecord) -> None:
        """Write the record of a trial that ended."""
        write_atomically(self.record_file(record.number), record.model_dump_json(indent=1))

    def record(self, number: int) -> TrialRecord | None:
        """Read the record of a trial; None while it has not ended."""
        try:
            return TrialRecord.model_validate_json(self.record_file(number).read_bytes())
        except FileNotFoundError:
            return None

    def records(self) -> list[TrialRecord]:
        """Read the records of all trials that have ended, in order of their numbers."""
        return [record for number in self._trial_numbers() if (record := self.record(number)) is not None]

    def write_out_of_fold(self, number: int, out_of_fold: OutOfFold) -> None:
        """Write a trial's out-of-fold predictions."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: getattr(out_of_fold, name) for name in OutOfFold.__slots__})
        write_atomically(self.trial(number) / "oof.npz", buffer.getvalue())

    def out_of_fold(self, number: int) -> OutOfFold:
        """Read a trial's out-of-fold predictions."""
        path = self.trial(number) / "oof.npz"
        try:
            with np.load(path, allow_pickle=False) as stored:
                return OutOfFold(**{name: stored[name] for name in OutOfFold.__slots__})
        except FileNotFoundError as error:
            raise RunError(
                f"trial {number} has no out-of-fold predictions; only complete trials have"
            ) from error

    def write_json(self, path: Path, value: Any) -> None:
        """Write a value as readable JSON; NaN is refused."""
        write_atomically(path, json.dumps(value, indent=1, allow_nan=False) + "\n")

    def _trial_numbers(self) -> Iterator[int]:
        folder = self.path / "trials"
        if folder.is_dir():
            yield from sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit())


def find_run(text: str, root: Path) -> RunFolder:
    """Return the run folder that the user means.

    Args:
        text: Path of a run folder, `TASK/NAME` below `root`, a bare `NAME`, or `latest`.
        root: Folder of all runs.

    Raises:
        RunError: If there is none, or several have the bare name.
    """
    if text == "latest":
        found = sorted(root.glob("*/*/search.yaml"), key=lambda path: path.stat().st_mtime)
        if not found:
            where = () if root == Path("runs") else ("--runs", typed_path(root))
            start = command_text("orchestrate", "search", "benign_malignant", *where)
            raise RunError(f"no run in {root} yet; start one with: {start}")
        return RunFolder(found[-1].parent)
    for candidate in (Path(text), root / text):
        if (candidate / "search.yaml").is_file():
            return RunFolder(candidate)
    named = [path.parent for path in root.glob(f"*/{text}/search.yaml")] if "/" not in text else []
    if len(named) == 1:
        return RunFolder(named[0])
    if named:
        raise RunError(f"{text!r} names several runs: {', '.join(str(path) for path in named)}")
    known = ", ".join(sorted(str(path.parent.relative_to(root)) for path in root.glob("*/*/search.yaml")))
    raise RunError(f"no run {text!r}: neither a run folder nor a name below {root}. Known: {known or 'none'}")
