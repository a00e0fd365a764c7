"""The run folder: plain files, each written whole or not at all."""

import contextlib
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from results.errors import DamagedFileError, RecordExistsError, RunError
from results.run.lease import Lease, lives_elsewhere, owned, read_owner
from results.run.predictions_file import packed_predictions, unpacked_predictions
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_paths import RunPaths
from results.run.trial_checks import predictions_fault, record_fault
from trainables.common.errors import ConfigError
from trainables.common.files import is_disk_full, read_plain, set_aside, write_atomically, write_new
from trainables.common.plain_yaml import PlainYamlError, dump_yaml, load_yaml
from trainables.common.text import first_line
from trainables.data.patches import PatchSet, open_patch_set
from trainables.data.split_record import TEST_PART, read_split
from trainables.features.locks import NO_LOCK, held

_TO_WRITE: Final = "a search writes to its folder: free it, or copy the run to one that can be written"
_NOT_A_RECORD: Final = (
    *(PlainYamlError, ValidationError, ConfigError),
    *(ValueError, KeyError, TypeError, AttributeError),
)


@dataclass(frozen=True, slots=True)
class RunFolder(RunPaths):
    """The folder `runs/<task>/<name>/`: formats of its files, but no decisions about them."""

    @property
    def local(self) -> "RunFolder":
        """This folder: whoever has it reads search and split from it."""
        return self

    def discard_weights(self, number: int) -> None:
        """Remove the weights of a trial; its record and predictions stay.

        Raises:
            OSError: If the record cannot be written. On a full disk the weights are gone first, as they may
                take the room that it needs. It can be called again.
        """
        with contextlib.suppress(DamagedFileError):
            record = self.record(number)
            if record is not None and record.has_weights:
                without = record.model_copy(update={"has_weights": False})
                try:
                    self.write_record(without)
                except OSError as error:
                    if not is_disk_full(error):
                        raise
                    self._remove_weights(number)
                    self.write_record(without)
        self._remove_weights(number)

    def _remove_weights(self, number: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.weights_folder(number))

    def patch_set(self) -> PatchSet:
        """Open the data that were searched.

        Raises:
            DataError: If the stored copy is gone.
        """
        return open_patch_set(*self.search().data_location)

    @property
    def has_sealed_part(self) -> bool:
        """True if a part of its data was sealed for the test.

        Raises:
            SplitError: If its split is missing or damaged.
        """
        return TEST_PART in read_split(self.split_file).counts

    def store_limit(self) -> int | None:
        """Read the bytes that stored features may take; None without a disk budget."""
        try:
            return int(self.store_limit_file.read_text())
        except (OSError, ValueError):
            return None

    def write_search(self, record: SearchRecord) -> None:
        """Write request and facts of the search."""
        write_atomically(self.search_file, dump_yaml(record.model_dump(mode="json")))

    def search(self) -> SearchRecord:
        """Read request and facts of the search.

        Where runs and store were moved together the store is the one that lies there now.

        Raises:
            RunError: If there are none, or they cannot be read.
        """
        try:
            found = self.search_file.stat()
            record = _search(self.search_file, (found.st_ino, found.st_mtime_ns, found.st_size))
            return record if Path(record.store).is_dir() else self._with_moved_store(record)
        except FileNotFoundError as error:
            raise RunError(
                f"{self.path} is not a run folder: it holds no search.yaml, which a search writes before its "
                "first trial; name another folder, or latest"
            ) from error
        except _NOT_A_RECORD as error:
            reason = first_line(error)
            raise RunError(f"{self.search_file} cannot be read: {reason}; was it edited by hand?") from error

    @contextlib.contextmanager
    def exclusive(self, say: Callable[[str], None] = lambda message: None) -> Iterator[Lease]:
        """Keep other processes from running this search meanwhile; the lock dies with its process.

        Where the file system carries no locks to other machines, a process there is known by its beats. It
        may take the folder over while this one is paused: then the lease that is yielded says so.

        Args:
            say: Function called with a message where that takes seconds.

        Raises:
            RunError: If another process runs it, or the file system has no locks.
        """
        with contextlib.ExitStack() as stack:
            try:
                is_ours = stack.enter_context(held(self.lock_file, may_wait=False))
            except OSError as error:
                said = error.strerror or str(error)
                has_no_locks = said.startswith(NO_LOCK)
                advice = "or put --runs on another file system" if has_no_locks else _TO_WRITE
                raise RunError(f"{self.path} cannot be kept from other searches: {said}; {advice}") from error
            known = self.owner_file
            other = lives_elsewhere(known, say=say) if is_ours else read_owner(known)
            if not is_ours or other is not None:
                who = f" ({other.said})" if other else ""
                raise RunError(f"{self.path} is being searched by another process{who}; wait, or stop it")
            yield stack.enter_context(owned(known))

    def write_record(self, record: TrialRecord) -> None:
        """Write the record of a trial, in the place of the one that it may have."""
        write_atomically(self.record_file(record.number), record.model_dump_json(indent=1))

    def add_record(self, record: TrialRecord) -> None:
        """Write the record of a trial that has just ended.

        Raises:
            RecordExistsError: If it has a record already; that one stays.
        """
        try:
            write_new(self.record_file(record.number), record.model_dump_json(indent=1))
        except FileExistsError as error:
            raise RecordExistsError(f"trial {record.number} has a record already, which is kept") from error

    def record(self, number: int) -> TrialRecord | None:
        """Read the record of a trial; None while it has not ended.

        Raises:
            DamagedFileError: If the file is not the record of this trial, or cannot be read.
        """
        try:
            record = TrialRecord.model_validate_json(read_plain(self.record_file(number)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self.damaged_file(number, "record.json", error.strerror or str(error)) from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise self.damaged_file(number, "record.json", f"{place}: {first['msg']}".strip(": ")) from error
        fault = record_fault(record, number, self._search_if_readable())
        if fault is not None:
            raise self.damaged_file(number, "record.json", fault)
        return record

    def records(self) -> list[TrialRecord]:
        """Read the records of all trials that have ended, in order of their numbers.

        Damaged ones are left out; `damaged_trials` names them.
        """
        found = []
        for number in self.trial_numbers():
            with contextlib.suppress(DamagedFileError):
                record = self.record(number)
                if record is not None:
                    found.append(record)
        return found

    def check_belongs(self, record: TrialRecord) -> None:
        """Check that a trial ran on the data of this search.

        Raises:
            DamagedFileError: If it ran on others.
        """
        fingerprint = self.search().fingerprint
        if record.fingerprint != fingerprint:
            raise self.damaged_file(
                record.number,
                "record.json",
                f"its trial ran on data {record.fingerprint[:12]}, the search is on {fingerprint[:12]}",
            )

    def has_score(self) -> bool:
        """Tell whether a trial of the search is complete; damaged records do not count."""
        for number in self.trial_numbers():
            with contextlib.suppress(DamagedFileError):
                record = self.record(number)
                if record is not None and record.state == "complete":
                    return True
        return False

    def has_record(self, number: int) -> bool:
        """Tell whether a trial has ended, however its record reads."""
        return self.record_file(number).exists()

    def write_out_of_fold(self, number: int, out_of_fold: OutOfFold) -> None:
        """Write a trial's out-of-fold predictions."""
        write_atomically(self.predictions_file(number), packed_predictions(out_of_fold))

    def write_weights(self, number: int, files: Iterable[tuple[str, bytes]]) -> None:
        """Write the weights of a trial's folds, given as names of files and their contents."""
        for name, content in files:
            write_atomically(self.weights_folder(number) / name, content)

    def checkpoint(self, number: int) -> Path:
        """Return where a trial's checkpoint lies; it need not exist."""
        return self.checkpoint_file(number)

    def write_checkpoint(self, number: int, content: bytes, *, is_last: bool = False) -> None:
        """Write the checkpoint of a trial in the place of an earlier one, the last one as any other."""
        write_atomically(self.checkpoint_file(number), content)

    def discard_checkpoint(self, number: int) -> None:
        """Remove the checkpoint of a trial that has ended."""
        self.checkpoint_file(number).unlink(missing_ok=True)

    def out_of_fold(self, number: int) -> OutOfFold:
        """Read a trial's out-of-fold predictions.

        Raises:
            RunError: If it has none, since it is not complete.
            DamagedFileError: If the file of a complete trial is gone, does not hold predictions of every
                image, or holds others than the record is of.
        """
        record = None
        with contextlib.suppress(DamagedFileError):  # predictions can be read without their record
            record = self.record(number)
        return self._predictions(number, record)

    def predictions_of(self, record: TrialRecord) -> OutOfFold:
        """Read the out-of-fold predictions of a trial whose record has been read.

        Raises:
            RunError: If it has none, since it is not complete.
            DamagedFileError: If the file of a complete trial is gone, does not hold predictions of every
                image, or holds others than the record is of.
        """
        return self._predictions(record.number, record)

    def predictions_digest(self, number: int) -> str | None:
        """Return the digest of a trial's out-of-fold predictions; None where none can be read.

        The record says it, so that they need not be read, unless it is of an earlier version.
        """
        try:
            record = self.record(number)
            if record is None or record.predictions_digest is not None:
                return None if record is None else record.predictions_digest
            return self.predictions_of(record).digest
        except RunError:
            return None

    def has_other_predictions(self, number: int, digest: str | None) -> bool:
        """Tell whether a trial has other predictions now than those that something was made of.

        Args:
            number: Number of the trial.
            digest: Digest of the predictions then; None, as in files of earlier versions, tells nothing.
        """
        return digest is not None and self.predictions_digest(number) not in (None, digest)

    def _predictions(self, number: int, record: TrialRecord | None) -> OutOfFold:
        try:
            found = unpacked_predictions(read_plain(self.predictions_file(number)))
        except (FileNotFoundError, NotADirectoryError) as error:
            if record is not None and record.state == "complete":
                raise self.damaged_file(number, "oof.npz", "it is not there") from error
            raise RunError(
                f"trial {number} has no out-of-fold predictions; only complete trials have"
            ) from error
        except OSError as error:
            raise self.damaged_file(number, "oof.npz", error.strerror or str(error)) from error
        except (ValueError, MemoryError) as error:
            reason = str(error).splitlines()[0] if str(error) else "it ends too early"
            raise self.damaged_file(number, "oof.npz", reason) from error
        fault = predictions_fault(found)
        if fault is None and record is not None and record.predictions_digest not in (None, found.digest):
            fault = "its predictions are not those that the record of the trial was made of"
        if fault is not None:
            raise self.damaged_file(number, "oof.npz", fault)
        return found

    def readable_predictions(self, records: Iterable[TrialRecord]) -> Iterator[tuple[TrialRecord, OutOfFold]]:
        """Yield each trial with its out-of-fold predictions, one at a time; damaged trials are left out.

        Raises:
            RunError: If a trial is not complete.
        """
        for record in records:
            try:
                self.check_belongs(record)
                found = self.predictions_of(record)
            except DamagedFileError:
                continue
            yield record, found

    def write_json(self, path: Path, value: Any) -> None:
        """Write a value as readable JSON; NaN is refused."""
        write_atomically(path, json.dumps(value, indent=1, allow_nan=False) + "\n")

    def set_bundle_aside(self) -> Path | None:
        """Set the bundle of an earlier session aside, which may be of another model; returns its new place.

        Returns:
            The folder as it is called now; None where there was none.

        Raises:
            OSError: If it cannot be renamed.
        """
        if not self.bundle.is_dir() or not any(self.bundle.iterdir()):
            return None
        return set_aside(self.bundle, "outdated")

    def trial_numbers(self) -> list[int]:
        """Numbers of all trials that have a folder, in order; other names are not ours."""
        folder = self.path / "trials"
        if not folder.is_dir():
            return []
        names = (entry.name for entry in folder.iterdir() if entry.is_dir())
        return sorted(int(name) for name in names if name.isascii() and name.isdigit() and _is_own(name))

    def damaged_file(self, number: int, name: str, fault: str) -> DamagedFileError:
        """Return the error that names a damaged file of a trial, and says what can be done about it."""
        return DamagedFileError(
            f"{self.trial(number) / name} is damaged: {fault}; to run the trial again: "
            f"{self.resume_command}; to leave it out, move its folder away"
        )

    def _with_moved_store(self, record: SearchRecord) -> SearchRecord:
        made, path = record.request.runs / record.task / record.name, self.path.resolve()
        if not made.is_absolute() or made == path:
            return record
        moved = Path(os.path.normpath(path / os.path.relpath(record.store, made)))
        return record.model_copy(update={"store": str(moved)}) if moved.is_dir() else record

    def _search_if_readable(self) -> SearchRecord | None:
        try:
            return self.search()
        except RunError:
            return None


def _is_own(name: str) -> bool:
    return name == f"{int(name):04d}"


@functools.lru_cache(maxsize=8)
def _search(path: Path, version: tuple[int, ...]) -> SearchRecord:
    """The record in a file; read once for each version of it, since YAML is slow to read."""
    return SearchRecord.model_validate(load_yaml(path.read_bytes()))
