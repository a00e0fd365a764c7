"""A second copy of a run folder at a storage URI, such as `s3://bucket/path`, kept while the search runs.

It has the layout of the run folder. A trial is copied when it has ended, its record last, so that there, too,
a record means that the trial is whole. A place that does not answer holds up nothing: the run folder has
all, and what is missing is copied when the search ends: then nothing waits for copies that had not begun, and
a place that fails is left at the first file.
"""

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from orchestrator.callbacks import Callback, EndedSearch
from orchestrator.reporting.background import BackgroundThread
from orchestrator.reporting.copied_run import started_there, trials_apart
from orchestrator.reporting.place import Place, explained
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.errors import MachineError


def mirror_callbacks(uri: str | None) -> tuple[Callback, ...]:
    """Return the callback that copies a run folder to a URI; none without one.

    Raises:
        ConfigError: If nothing can be written there.
    """
    if uri is None:
        return ()
    place = Place(uri)
    place.check_writable()
    return (MirrorCallback(place),)


class MirrorCallback(Callback):
    """Copies a run folder to another place as its trials end.

    Args:
        place: Where to.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._pool = BackgroundThread("mirror")
        self._is_left = False  # the user has interrupted the last copies
        self._copies: list[Future[None]] = []
        self._run: RunFolder | None = None
        self._prefix = ""
        self._is_claimed = False
        # Name there -> state of the file here as it was copied. A storage has the times of another clock.
        self._copied: dict[str, tuple[int, int]] = {}

    def on_search_start(self, run: RunFolder, record: SearchRecord) -> None:
        """Copy request, split and first points."""
        self._prefix = f"{record.task}/{record.name}"
        self._begin(run, [run.split_file, run.initial_points_file, run.search_file])

    def on_trial_end(self, record: TrialRecord) -> None:
        """Copy the files of a trial; its record comes last.

        Raises:
            MachineError: If an earlier copy failed; this one is under way all the same.
        """
        if self._run is not None:
            self._begin(self._run, None, number=record.number)
        self._raise_failed()

    def on_search_end(self, result: EndedSearch) -> None:
        """Copy whatever is not there, or not as it is here, and remove what is not here any more.

        Raises:
            MachineError: If that is not possible.
        """
        run = result.run
        self._prefix = f"{result.record.task}/{result.record.name}"
        self._pool.cancel_waiting()  # the last one copies it, too
        last = self._pool.submit(lambda: self._sync(run))
        try:
            last.result()
        except Exception as error:
            raise self._explained(error) from error
        except BaseException:
            self._is_left = True
            raise
        finally:
            self._pool.close()

    def _begin(self, run: RunFolder, files: Sequence[Path] | None, *, number: int | None = None) -> None:
        self._run = run
        self._copies.append(self._pool.submit(lambda: self._copy(run, files, number)))

    def _copy(self, run: RunFolder, files: Sequence[Path] | None, number: int | None) -> None:
        self._claim(run)
        if files is None and number is not None:
            record = run.record_file(number)
            files = [*(path for path in _files(run.trial(number)) if path != record), record]
        for path in files or ():
            with contextlib.suppress(FileNotFoundError):  # such as weights that better ones have replaced
                self._write(run, path)

    def _sync(self, run: RunFolder) -> None:
        self._claim(run)
        there, names = self._place.sizes(self._prefix), set[str]()
        elsewhere = self._run_again_there(run, {name: size for name, (size, _) in there.items()})
        paths = sorted(_files(run.path), key=lambda path: path.name == "record.json")
        for path in paths:
            if self._is_left:
                return
            name = self._name(run, path)
            names.add(name)
            if name.startswith(elsewhere):
                continue
            if name not in there or not self._is_current(name, path, *there[name]):
                self._write(run, path)
        for name in there.keys() - names:
            if self._is_of_here(run, name) and not name.startswith(elsewhere):
                self._place.remove(name)

    def _run_again_there(self, run: RunFolder, sizes: Mapping[str, int]) -> tuple[str, ...]:
        """Folders there of trials that another machine has run again since they ended here; all of it stays.

        Trials that this session has copied are not asked about.
        """
        below = f"{self._prefix}/"
        others = {name.removeprefix(below): size for name, size in sizes.items() if name not in self._copied}
        again = trials_apart(self._place, self._prefix, run, others).newer_there
        return tuple(f"{self._name(run, run.trial(number))}/" for number in again)

    def _is_of_here(self, run: RunFolder, name: str) -> bool:
        """Tell whether a file may go: another machine may have gone on with the search, and have made it.

        Those of trials that are here may, those that this session has copied, and curves, which a resume
        draws anew from the records.
        """
        first, *rest = name.removeprefix(f"{self._prefix}/").split("/")
        if name in self._copied or first == run.tensorboard.name:
            return True
        return first == "trials" and len(rest) > 1 and (run.path / first / rest[0]).is_dir()

    def _claim(self, run: RunFolder) -> None:
        """Make sure that what is there under the name of this run is of this search, if there is anything."""
        if self._is_claimed:
            return
        if started_there(self._place, self._prefix) not in (None, run.search().started_at):
            raise MachineError(
                f"{self._place.uri} holds another search {self._prefix}, which is left as it is; nothing of "
                "this one is copied there: start it with another --name, or another --results"
            )
        self._is_claimed = True

    def _write(self, run: RunFolder, path: Path) -> None:
        name, state = self._name(run, path), _state(path)
        self._copied.pop(name, None)
        self._place.write(name, path)
        self._copied[name] = state

    def _is_current(self, name: str, path: Path, size: int, written_at: float) -> bool:
        """Whether a file that is there, of this size and time, is as it is here."""
        here = path.stat()
        if here.st_size != size:
            return False
        return self._copied[name] == _state(path) if name in self._copied else written_at >= here.st_mtime

    def _name(self, run: RunFolder, path: Path) -> str:
        return f"{self._prefix}/{path.relative_to(run.path).as_posix()}"

    def _raise_failed(self) -> None:
        ended = [copy for copy in self._copies if copy.done()]
        self._copies = [copy for copy in self._copies if not copy.done()]
        for copy in ended:
            error = copy.exception()
            if error is not None:
                raise self._explained(error) from error

    def _explained(self, error: BaseException) -> MachineError:
        if isinstance(error, MachineError):
            return error
        return MachineError(
            f"results could not be copied to {self._place.uri}: {explained(error)}; the run folder has "
            "them, and what is missing there is copied when the search ends or is resumed"
        )


def _state(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change, in nanoseconds, of a file here."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _files(folder: Path) -> list[Path]:
    """All files below a folder but hidden ones, which locks and drafts are."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(
        path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
