"""A second copy of a run folder at a storage URI, such as `s3://bucket/path`, kept while the search runs.

It has the layout of the run folder. A trial is copied when it has ended, its record last, so that there, too,
a record means that the trial is whole. A place that does not answer holds up nothing: the run folder has
all, and what is missing is copied when the search ends.
"""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from orchestrator.callbacks import Callback, EndedSearch
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError, MachineError

_OBJECT_STORES: Final = (
    "s3",
    "gcs",
    "abfs",
)  # a file is there when it is whole, and folders need not be made
_BLOCK_BYTES: Final = 1 << 22
_GOOGLE_SECONDS: Final = 30  # Google's client would try for a quarter of an hour, and say nothing meanwhile
_HADOOP: Final = "; it needs Java and Hadoop's library: set JAVA_HOME, HADOOP_HOME and CLASSPATH"
_NOBODY: Final = "anonymous"  # user of a storage that asks for no account


def mirror_callbacks(uri: str | None) -> tuple[Callback, ...]:
    """Return the callback that copies a run folder to a URI; none without one.

    Raises:
        ConfigError: If nothing can be written there.
    """
    return () if uri is None else (MirrorCallback(Place(uri)),)


def check_uri(uri: str) -> None:
    """Make sure that a URI holds no secret, since it is recorded and shown.

    Raises:
        ConfigError: If it is none, or holds a user or a password.
    """
    parts = urlsplit(uri)
    if not parts.scheme or (not parts.netloc and parts.scheme != "file"):
        raise ConfigError(f"--results takes a URI, such as s3://bucket/path or file:///path, found {uri!r}")
    has_user = "@" in parts.netloc.removeprefix(f"{_NOBODY}@")
    if has_user or any(word in parts.query.lower() for word in ("secret", "access_key", "token")):
        raise ConfigError(
            "--results holds a secret, and would be recorded with it; leave it out and put it into the "
            "environment, as the tools of the storage ask for it, such as AWS_SECRET_ACCESS_KEY or "
            "GOOGLE_APPLICATION_CREDENTIALS"
        )


class Place:
    """A folder at a storage URI.

    Args:
        uri: URI that pyarrow or an installed package of fsspec understands.

    Raises:
        ConfigError: If it is not understood, or nothing can be written there.
    """

    def __init__(self, uri: str) -> None:
        check_uri(uri)
        self.uri = uri
        self._files, self._root = _opened(uri)
        self._is_object_store = self._files.type_name in _OBJECT_STORES
        probe = ".orchestrate-probe"
        try:
            self.write(probe, b"")
            self.remove(probe)
        except Exception as error:  # each storage has errors of its own
            raise ConfigError(
                f"--results {uri}: nothing can be written there: {_first_line(error)}"
            ) from error

    def write(self, name: str, content: bytes | Path) -> None:
        """Write a file, whole or not at all.

        Args:
            name: Name below the folder, with `/` between its parts.
            content: What it holds, or a file to copy.
        """
        path = f"{self._root}/{name}"
        target = path if self._is_object_store else f"{path}.part"
        if not self._is_object_store:
            self._files.create_dir(path.rpartition("/")[0], recursive=True)
        with self._files.open_output_stream(target) as stream:
            for block in _blocks(content):
                stream.write(block)
        if target != path:
            self._files.move(target, path)

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens if there is none."""
        with contextlib.suppress(FileNotFoundError):
            self._files.delete_file(f"{self._root}/{name}")

    def sizes(self, folder: str) -> dict[str, tuple[int, float]]:
        """Return name below the place -> size in bytes and time of writing, of all files below a folder."""
        from pyarrow.fs import FileSelector, FileType

        root = f"{self._root}/{folder}"
        found = self._files.get_file_info(FileSelector(root, allow_not_found=True, recursive=True))
        start = len(self._root) + 1
        return {
            info.path[start:]: (info.size, info.mtime.timestamp() if info.mtime else 0.0)
            for info in found
            if info.type == FileType.File
        }


class MirrorCallback(Callback):
    """Copies a run folder to another place as its trials end.

    Args:
        place: Where to.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mirror")
        self._copies: list[Future[None]] = []
        self._run: RunFolder | None = None
        self._prefix = ""

    def on_search_start(self, run: RunFolder, record: SearchRecord) -> None:
        """Copy request, split and initial points."""
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
        last = self._pool.submit(self._sync, run)
        self._pool.shutdown(wait=True)
        try:
            last.result()
        except Exception as error:
            raise self._explained(error) from error

    def _begin(self, run: RunFolder, files: Sequence[Path] | None, *, number: int | None = None) -> None:
        self._run = run
        self._copies.append(self._pool.submit(self._copy, run, files, number))

    def _copy(self, run: RunFolder, files: Sequence[Path] | None, number: int | None) -> None:
        if files is None and number is not None:
            record = run.record_file(number)
            files = [*(path for path in _files(run.trial(number)) if path != record), record]
        for path in files or ():
            with contextlib.suppress(FileNotFoundError):  # such as weights that better ones have replaced
                self._place.write(self._name(run, path), path)

    def _sync(self, run: RunFolder) -> None:
        there, names = self._place.sizes(self._prefix), set[str]()
        paths = sorted(_files(run.path), key=lambda path: path.name == "record.json")
        for path in paths:
            name, here = self._name(run, path), path.stat()
            names.add(name)
            if there.get(name, (-1, 0.0))[0] != here.st_size or there[name][1] < here.st_mtime:
                self._place.write(name, path)
        for name in there.keys() - names:
            self._place.remove(name)

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
        return MachineError(
            f"results could not be copied to {self._place.uri}: {_first_line(error)}; the run folder has "
            "them, and what is missing there is copied when the search ends or is resumed"
        )


def _files(folder: Path) -> list[Path]:
    """All files below a folder but hidden ones, which locks and drafts are."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(
        path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _blocks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _opened(uri: str) -> tuple[Any, str]:
    """File system and path of a URI, by pyarrow's own or by a package of fsspec."""
    import pyarrow as pa
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    try:
        found: Any = FileSystem.from_uri(_bounded(uri))
        return found[0], str(found[1]).rstrip("/")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, ValueError) as error:
        reason = _first_line(error)
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError, OSError) as error:
        hint = _HADOOP if urlsplit(uri).scheme in ("hdfs", "viewfs") else ""
        raise ConfigError(
            f"--results {uri} is not understood: {reason}; {_first_line(error)}{hint}"
        ) from error
    return PyFileSystem(FSSpecHandler(files)), str(path).rstrip("/")


def _bounded(uri: str) -> str:
    """URI with a limit to the time for which a storage that does not answer is asked."""
    parts = urlsplit(uri)
    if parts.scheme not in ("gs", "gcs") or "retry_limit_seconds=" in parts.query:
        return uri
    return f"{uri}{'&' if parts.query else '?'}retry_limit_seconds={_GOOGLE_SECONDS}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
