"""The copy of a run folder at a storage URI, as it is found there and brought to this machine."""

import contextlib
import datetime
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from orchestrator.reporting.place import PART, Place, explained
from results.errors import RunError
from results.run.records import TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.appending import append_line
from trainables.common.errors import MachineError, OrchestrateError
from trainables.common.files import folder_in_progress, make_private, replace_folder
from trainables.common.text import is_folder_name

_HALF: Final = ".half"  # ends the name of a file that is being copied
_RECORD: Final = re.compile(r"trials/\d+/record\.json")  # of a trial of the search itself


def started_there(place: Place, prefix: str) -> datetime.datetime | None:
    """Return when the search began whose copy is at `TASK/NAME` of a place; None without one.

    Raises:
        RunError: If its search.yaml cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = RunFolder(Path(folder))
        try:
            place.read(f"{prefix}/{copy.search_file.name}", copy.search_file)
        except FileNotFoundError:
            return None
        return copy.search().started_at


class CopiedRun(NamedTuple):
    """A run that lies at a place.

    Attributes:
        name: `TASK/NAME`.
        started_at: Time of the start of its search, with time zone.
    """

    name: str
    started_at: datetime.datetime


def named_copy(place: Place, text: str) -> CopiedRun:
    """Return the copied run that is meant.

    Args:
        place: The storage, as `--results` named it.
        text: `TASK/NAME`, a bare `NAME`, or `latest`.

    Raises:
        RunError: If there is none, or several have the bare name.
        MachineError: If the storage cannot be read.
    """
    try:
        tasks = filter(is_folder_name, place.folders())  # a storage may have names that lead out of a folder
        known = [f"{task}/{name}" for task in tasks for name in filter(is_folder_name, place.folders(task))]
        asked = [name for name in known if text in ("latest", name, name.rpartition("/")[2])]
        begun = [(name, started_there(place, name)) for name in asked]
    except OrchestrateError:
        raise
    except Exception as error:  # each storage has errors of its own
        raise MachineError(f"{place.uri} cannot be read: {explained(error)}") from error
    found = [CopiedRun(name, began) for name, began in begun if began is not None]
    if found and (text == "latest" or len(found) == 1):
        return max(found, key=lambda one: one.started_at)
    if found:
        names = ", ".join(one.name for one in found)
        raise RunError(f"{text!r} names several runs: {names}; name one by TASK/NAME")
    raise RunError(f"no run {text!r} at {place.uri}. Known: {', '.join(known) or 'none'}")


def fetch_copy(place: Place, prefix: str, target: Path) -> None:
    """Copy a run from a place to a folder of this machine, each file whole or not at all.

    What makes it a run, its search.yaml, comes last, so that no copy which was interrupted is taken for one.

    Args:
        place: The storage.
        prefix: `TASK/NAME` of the run there.
        target: Folder to make, or to complete if it is of the same search. A run that is there already has
            everything but trials that it lacks, and those that were run again there since: its own files are
            kept.

    Raises:
        RunError: If a file there would lie outside the folder here, another process runs the search here, or
            each has trials that the other lacks or has run again since.
        MachineError: If the storage or this machine fails; what has been copied stays, and is copied again.
    """
    run = RunFolder(target)
    try:
        there = _sizes(place, prefix)
        names = sorted(there, key=lambda name: (name != "search.yaml", name.endswith("record.json"), name))
        if not target.exists():
            make_private(target)
        with contextlib.ExitStack() as stack:
            if run.search_file.is_file():
                stack.enter_context(run.exclusive())
                apart = trials_apart(place, prefix, run, {name: size for name, (size, _) in there.items()})
                names = _lacking(run, names, apart)
                for number in apart.newer_there:
                    names = _replace_trial(place, prefix, run, number, names)
            for name in names:
                path = target / name
                path.parent.mkdir(parents=True, exist_ok=True)
                half = half_of(path)
                place.read(f"{prefix}/{name}", half)
                if path == run.openings_file and path.is_file():
                    add_openings(path, half)
                    half.unlink()
                else:
                    half.replace(draft_of(path) if path == run.search_file else path)
            if run.search_file.name in names:
                draft_of(run.search_file).replace(run.search_file)
            else:
                draft_of(run.search_file).unlink(missing_ok=True)  # of an earlier copy that was interrupted
    except OrchestrateError:
        raise
    except Exception as error:  # each storage has errors of its own
        raise MachineError(
            f"{place.uri}: {prefix} could not be copied to {target}: {explained(error)}; say it again"
        ) from error


def has_nothing_yet(target: Path) -> bool:
    """Tell whether a folder is empty, but for a file whose copy was interrupted."""
    return all(path.name.endswith(_HALF) for path in target.iterdir())


def interrupted_copy(target: Path) -> datetime.datetime | None:
    """Return when the search began of which a folder holds a part, by an interrupted copy; None without one.

    Raises:
        RunError: If its search.yaml cannot be read.
    """
    draft = draft_of(RunFolder(target).search_file)
    if not draft.is_file():
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = RunFolder(Path(folder))
        shutil.copyfile(draft, copy.search_file)
        return copy.search().started_at


def half_of(path: Path) -> Path:
    """Return the name that a file has while it is being copied."""
    return path.with_name(f".{path.name}{_HALF}")


def draft_of(path: Path) -> Path:
    """Return the name that a search.yaml has until all else is copied."""
    return path.with_name(f".{path.name}.part")


def add_openings(own: Path, copied: Path) -> None:
    """Add to the log of test openings of a run those that its copy has alone; none is ever lost.

    Lines are added to the file, so that an opening that is noted meanwhile stays, too.

    Args:
        own: The log of the run here.
        copied: That of its copy.

    Raises:
        OSError: If the log cannot be written.
    """
    known = set(own.read_text().splitlines())
    for line in copied.read_text().splitlines():
        if line not in known:
            append_line(own, line)


def gone_on_apart(folder: Path) -> RunError:
    """Return the error that a run and its copy cannot be brought together."""
    return RunError(
        f"{folder} and its copy have gone on apart: each has trials that the other lacks, or has not run "
        "again; fetch it to "
        "another folder, by --runs"
    )


class TrialsApart(NamedTuple):
    """Numbers of trials that have ended both here and in the copy of a run, and are not the same in both.

    Attributes:
        newer_there: Those that were run again over there since.
        newer_here: Those that were run again here since.
    """

    newer_there: frozenset[int]
    newer_here: frozenset[int]


def trials_apart(place: Place, prefix: str, run: RunFolder, sizes: Mapping[str, int]) -> TrialsApart:
    """Compare the trials that a run and its copy have both, by the times at which they ended.

    A trial that is complete here is taken to be the same where its record there is as long.

    Args:
        place: The storage.
        prefix: `TASK/NAME` of the run there.
        run: The run here.
        sizes: Name of a file of the copy below its folder -> its size in bytes.
    """
    newer_there, newer_here = set[int](), set[int]()
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "record.json"
        for number in run.trial_numbers():
            own = run.record_file(number)
            name = own.relative_to(run.path).as_posix()
            if name not in sizes or not own.is_file():
                continue
            here = _read_record(own)
            is_whole = here is not None and here.state == "complete"
            if is_whole and sizes[name] == own.stat().st_size:
                continue
            place.read(f"{prefix}/{name}", copied)
            there = _read_record(copied)
            if there is None or there == here:  # a damaged one takes the place of none
                continue
            is_newer = here is None or there.finished_at > here.finished_at
            (newer_there if is_newer else newer_here).add(number)
    return TrialsApart(frozenset(newer_there), frozenset(newer_here))


def _read_record(path: Path) -> TrialRecord | None:
    """The record of a trial; None for a damaged one, which verbs name when they read it."""
    try:
        return TrialRecord.model_validate_json(path.read_bytes())
    except ValueError:
        return None


def _replace_trial(place: Place, prefix: str, run: RunFolder, number: int, names: list[str]) -> list[str]:
    """Put a trial of a copy in the place of the one here, whole or not at all; returns the other names."""
    below = f"{run.trial(number).relative_to(run.path).as_posix()}/"
    own = [name for name in names if name.startswith(below)]
    with folder_in_progress(run.trial(number)) as folder:
        for name in own:
            path = folder / name.removeprefix(below)
            path.parent.mkdir(parents=True, exist_ok=True)
            place.read(f"{prefix}/{name}", path)
        replace_folder(run.trial(number), folder)
    return [name for name in names if not name.startswith(below)]


def _lacking(run: RunFolder, names: list[str], apart: TrialsApart) -> list[str]:
    """Names of files that a run here lacks, and all of the trials that were run again there since.

    If the copy has more trials, or has run one again, all but those of trials here.
    """

    def below(number: int) -> str:
        return f"{run.trial(number).relative_to(run.path).as_posix()}/"

    kept = {below(number) for number in run.trial_numbers() if run.has_record(number)}
    ended = {name.removesuffix("record.json") for name in names if _RECORD.fullmatch(name)}
    has_more = bool(ended - kept or apart.newer_there)
    if has_more and (kept - ended or apart.newer_here):
        raise gone_on_apart(run.path)
    own = tuple(kept - {below(number) for number in apart.newer_there})
    again_here = tuple(below(number) for number in apart.newer_here)  # what they lack, they lack by their run
    return [
        name
        for name in names
        if (has_more and not name.startswith(own))
        or (not (run.path / name).exists() and not name.startswith(again_here))
        or name == run.openings_file.name
    ]


def _sizes(place: Place, prefix: str) -> dict[str, tuple[int, float]]:
    """Name of each file of a run below its folder -> its size in bytes and time of writing."""
    found = place.sizes(prefix).items()
    names = {name.removeprefix(f"{prefix}/"): told for name, told in found if not name.endswith(PART)}
    for name in names:
        if ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise RunError(
                f"{place.uri}: {prefix} is no copy of a run: it holds {name!r}, which leads out of it"
            )
    return names
