"""The log of who looked at the sealed test part: one in the run folder, one in the store for all runs.

Every search on a data set seals the same patients unless told otherwise, so looks are counted over all runs:
each opening is written to both logs, and counted once.
"""

import contextlib
import datetime
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from results.errors import RunError
from results.run.run_folder import RunFolder
from results.run.source_trial import OpeningLog, SourceTrial
from results.run.source_trials import source_search
from trainables.common.appending import append_line
from trainables.common.errors import SplitError
from trainables.common.files import open_own
from trainables.common.frozen import FrozenModel
from trainables.data.split_record import TEST, Split, read_split

_DIGITS: Final = 12  # of a patient's digest: two of a million agree by chance once in 500 sets


class TestAccess(FrozenModel):
    """One time that the test part was read.

    Attributes:
        opening: Name that ties a result to its opening.
        when: Time of the opening, with time zone.
        by: Command that opened the test part.
        run: Run folder of the model; None in logs of earlier versions.
        sealed: Digest of the sealed patients; None in logs of earlier versions.
        patients: Digest of each of them, ascending; empty in logs of earlier versions.
        refit_digest: Digest of the refitted weights; None for fold models.
        model_digest: Digest that tells the model from others of its name, see `SelectedModel`; None in logs
            of earlier versions, and where other labelled data were looked at.
        images: Number of test images.
        data: Fingerprint of other labelled data that were looked at in place of the test part; None for the
            test part.
        result: Scores of the model, as `TestEvaluation` writes them; None if the command failed after the
            opening.
    """

    __test__: ClassVar[bool] = False  # not a test case, whatever pytest makes of the name

    opening: str
    when: datetime.datetime
    by: str
    run: str | None = None
    sealed: str | None = None
    patients: tuple[str, ...] = ()
    model: str
    trials: tuple[int, ...]
    threshold: float
    refit_digest: str | None = None
    model_digest: str | None = None
    images: int
    data: str | None = None
    result: dict[str, Any] | None = None

    @classmethod
    def of(  # noqa: PLR0913 - one line of the log
        cls,
        groups: NDArray[Any],
        *,
        run: Path | None,
        by: str,
        when: datetime.datetime,
        model: str,
        trials: tuple[int, ...],
        threshold: float,
        refit_digest: str | None = None,
        model_digest: str | None = None,
        data: str | None = None,
    ) -> "TestAccess":
        """Return a look at some images that has no result yet, given the patient of each, shape (images,)."""
        patients = SealedPatients.of(groups)
        return cls(
            opening=uuid.uuid4().hex,
            when=when,
            by=by,
            run=None if run is None else str(run),
            sealed=patients.digest,
            patients=tuple(sorted(patients.each)),
            model=model,
            trials=trials,
            threshold=threshold,
            refit_digest=refit_digest,
            model_digest=model_digest,
            images=len(groups),
            data=data,
        )

    @property
    def opened(self) -> dict[str, Any]:
        """The line of the log that is written before anything is read."""
        return self.model_dump(mode="json", exclude={"result"})

    def ended(self, result: FrozenModel) -> dict[str, Any]:
        """Return the line that is written when the scores are known."""
        return {**self.opened, "result": result.model_dump(mode="json")}

    @property
    def seen(self) -> "SealedPatients":
        """The patients that were looked at."""
        return SealedPatients(self.sealed or "", frozenset(self.patients))


@dataclass(frozen=True, slots=True)
class SealedPatients:
    """The patients of a sealed part, without their names.

    Attributes:
        digest: Digest of all of them, the same in all runs that sealed them.
        each: Digest of each; empty where a log of an earlier version does not tell them.
    """

    digest: str
    each: frozenset[str]

    @classmethod
    def of(cls, groups: NDArray[Any]) -> "SealedPatients":
        """Return the patients of some images, given the patient of each, shape (images,)."""
        names = sorted(map(str, np.unique(groups)))
        return cls(
            hashlib.sha256("\n".join(names).encode()).hexdigest(),
            frozenset(hashlib.sha256(name.encode()).hexdigest()[:_DIGITS] for name in names),
        )

    def were_seen_by(self, access: TestAccess) -> bool:
        """Tell whether an opening looked at some of them."""
        return self.digest == access.sealed or not self.each.isdisjoint(access.patients)


def record_access(run: RunFolder, entry: Mapping[str, Any]) -> None:
    """Append one line to both logs of openings; it is on the disk when this returns.

    Args:
        run: Folder of the search.
        entry: Plain values of the line; `opening` names the opening that it belongs to.
    """
    _record((run.openings_file, _shared_log(run)), entry)


def record_outside_access(
    store: Path, run: RunFolder | None, fingerprint: str, entry: Mapping[str, Any]
) -> None:
    """Append one line about a look at other labelled data to the log of the store, and to that of a run.

    Args:
        store: Folder of stored data and features.
        run: Run folder of the model; None for a bundle.
        fingerprint: Fingerprint of the other data.
        entry: Plain values of the line, as of `TestAccess`.
    """
    _record((*([] if run is None else [run.openings_file]), _log_of(store, fingerprint)), entry)


def read_outside_accesses(store: Path, fingerprint: str, *, patients: SealedPatients) -> list[TestAccess]:
    """Return every look at some of the patients of other labelled data, with any model, oldest first.

    Args:
        store: Folder of stored data and features.
        fingerprint: Fingerprint of the other data.
        patients: The patients.

    Raises:
        RunError: If a line of the log cannot be read.
    """
    found = [one for one in _read(_log_of(store, fingerprint)) if patients.were_seen_by(one)]
    return sorted(found, key=lambda one: one.when)


def _record(logs: Iterable[Path], entry: Mapping[str, Any]) -> None:
    line, logs = json.dumps(entry, allow_nan=False), tuple(logs)
    for path in logs:  # what is in one of them alone would be a look that never took place
        _open(path)
    for path in logs:
        _append(path, line)


def read_accesses(run: RunFolder, *, patients: SealedPatients | None = None) -> list[TestAccess]:
    """Return every time that the run's test part was read, or a part of it by another run, oldest first.

    Args:
        run: Folder of the search.
        patients: The sealed patients; None returns what this run did alone. Where the search started from one
            on fewer patients and kept its sealed ones sealed, looks at those count, too.

    Raises:
        RunError: If a line of a log cannot be read; a log is evidence, so it is never repaired silently.
    """
    own = [one for one in _read(run.openings_file) if one.data is None]
    if patients is None:
        return own
    others = [one for one in _read(_shared_log(run)) if patients.were_seen_by(one)]
    others += _before_it_grew(run, patients)
    found = {one.opening: one for one in (*others, *own)}
    return sorted(found.values(), key=lambda one: one.when)


def openings_of(run: RunFolder, split: Split) -> list[TestAccess]:
    """Return every time that the sealed part of a run was read, by any run, oldest first.

    Args:
        run: Folder of the search.
        split: Its split.
    """
    groups = _sealed_groups(split)
    return read_accesses(run, patients=SealedPatients.of(np.array(sorted(groups)))) if groups else []


def opening_logs(run: RunFolder) -> tuple[OpeningLog, ...]:
    """Return the logs of looks at the sealed patients of a run, and of the runs that it was started from.

    A search that starts from this run records them, so that looks are counted whatever becomes of its folder.
    Those of a split without patients are left out: its groups are named by rows, which are others elsewhere.

    Args:
        run: Folder of a search.

    Raises:
        RunError: If the run cannot be read.
        SplitError: If its split cannot.
    """
    search, split = run.search(), read_split(run.split_file)
    groups = _sealed_groups(split) if split.is_grouped else set()
    earlier: tuple[OpeningLog, ...] = ()
    if search.start_from is not None:
        earlier = search.start_from.logs or _logs_where_it_lies(search.start_from)
    if not groups:
        return earlier
    digest = SealedPatients.of(np.array(sorted(groups))).digest
    own = OpeningLog(store=search.store, fingerprint=search.fingerprint, sealed=digest)
    return (own, *earlier)


def unknown_looks(run: RunFolder) -> str:
    """Return a sentence where looks at the sealed part by earlier searches cannot be counted; else nothing.

    They are read in the folder of the run that a search was started from, or in the log of its store.

    Args:
        run: Folder of the search.
    """
    source = run.search().start_from
    if source is None or (all(Path(log.store).is_dir() for log in source.logs) and source.logs):
        return ""
    try:
        source_search(source)
        read_split(RunFolder(Path(source.run)).split_file)
    except (RunError, SplitError):
        return (
            f"looks at the test part by the earlier run {source.run} are not known, and not counted: its "
            "folder is gone or another run lies there, and so is the log of its store"
        )
    return ""


def _logs_where_it_lies(source: SourceTrial) -> tuple[OpeningLog, ...]:
    """Logs of a source of which a record of an earlier version tells the path alone; none if it is gone."""
    try:
        return opening_logs(RunFolder(Path(source.run)))
    except (RunError, SplitError):
        return ()


def _before_it_grew(run: RunFolder, patients: "SealedPatients") -> list[TestAccess]:
    """Looks at sealed patients that a search has taken over from an earlier one on fewer patients."""
    source = run.search().start_from
    if source is None:
        return []
    found = [
        look
        for log in source.logs
        for look in _read(_log_of(Path(log.store), log.fingerprint))
        if patients.were_seen_by(look) or (not look.patients and look.sealed == log.sealed)
    ]
    earlier = RunFolder(Path(source.run))
    try:
        source_search(source)
        theirs, own = read_split(earlier.split_file), read_split(run.split_file)
        if _sealed_groups(theirs) & _sealed_groups(own) and theirs.is_grouped:
            found += openings_of(earlier, theirs)
    except (RunError, SplitError):  # it was moved, or another run has taken its place: the logs tell
        return found
    return found


def _sealed_groups(split: Split) -> set[str]:
    return {group for group, part in split.fold_of_group.items() if part == TEST}


def _shared_log(run: RunFolder) -> Path:
    search = run.search()
    return _log_of(Path(search.store), search.fingerprint)


def _log_of(store: Path, fingerprint: str) -> Path:
    return store / "test_openings" / f"{fingerprint[:24]}.jsonl"


def _open(path: Path) -> None:
    """Make sure that a log is there and can be written."""
    with _closed_if_unable():
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        os.close(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
        if is_new:
            _flush_folder(path.parent)


def _append(path: Path, line: str) -> None:
    with _closed_if_unable():
        append_line(path, line)


@contextlib.contextmanager
def _closed_if_unable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"the test part stays closed, since the log of its openings cannot be written: {error}"
        ) from error


def _read(path: Path) -> list[TestAccess]:
    if not path.exists():
        return []
    found: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(_entries(path), start=1):
        try:
            found.setdefault(entry["opening"], {}).update(entry)
        except (KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, f"line {number}") from error
    try:
        return [TestAccess.model_validate(entry) for entry in found.values()]
    except ValidationError as error:
        raise _damaged(path, str(error.errors()[0]["loc"])) from error


def _entries(path: Path) -> Iterable[Any]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _damaged(path, f"line {number}") from error


def _damaged(path: Path, where: str) -> RunError:
    return RunError(
        f"{path} is damaged at {where}; it is the record of who looked at the test part: "
        "restore it from a backup, or mend that line by hand"
    )


def _flush_folder(path: Path) -> None:
    # The name of a new file is safe on the disk only after its folder is flushed, too.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
