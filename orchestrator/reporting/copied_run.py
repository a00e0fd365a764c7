"""The copy of a run folder at a storage URI, as it is found there and brought to this machine."""

import contextlib
import datetime
import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from orchestrator.reporting.place import PART, Place, explained
from results.errors import RunError
from results.run.run_folder import RunFolder
from trainables.common.appending import append_line
from trainables.common.errors import MachineError, OrchestrateError
from trainables.common.files import make_private
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
            everything but trials that it lacks: its own files are kept.

    Raises:
        RunError: If a file there would lie outside the folder here, or another process runs the search here.
        MachineError: If the storage or this machine fails; what has been copied stays, and is copied again.
    """
    run = RunFolder(target)
    try:
        names = _names(place, prefix)
        if not target.exists():
            make_private(target)
        with contextlib.ExitStack() as stack:
            if run.search_file.is_file():
                stack.enter_context(run.exclusive())
                names = _lacking(run, names)
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
        f"{folder} and its copy have gone on apart: each has trials that the other lacks; fetch it to "
        "another folder, by --runs"
    )


def _lacking(run: RunFolder, names: list[str]) -> list[str]:
    """Names of files that a run here lacks; if the copy has more trials, all but those of trials here."""
    numbers = [number for number in run.trial_numbers() if run.has_record(number)]
    kept = {f"{run.trial(number).relative_to(run.path).as_posix()}/" for number in numbers}
    ended = {name.removesuffix("record.json") for name in names if _RECORD.fullmatch(name)}
    has_more, own = bool(ended - kept), tuple(kept)
    if has_more and kept - ended:
        raise gone_on_apart(run.path)
    return [
        name
        for name in names
        if (has_more and not name.startswith(own))
        or not (run.path / name).exists()
        or name == run.openings_file.name
    ]


def _names(place: Place, prefix: str) -> list[str]:
    """Names of the files of a run below its folder: what makes it a run first, records last."""
    found = [name for name in place.sizes(prefix) if not name.endswith(PART)]
    names = [name.removeprefix(f"{prefix}/") for name in found]
    for name in names:
        if ".." in PurePosixPath(name).parts or name.startswith("/"):
            raise RunError(
                f"{place.uri}: {prefix} is no copy of a run: it holds {name!r}, which leads out of it"
            )
    return sorted(names, key=lambda name: (name != "search.yaml", name.endswith("record.json"), name))
