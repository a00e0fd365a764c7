"""A folder at a storage URI, such as `s3://bucket/path`: what is written, listed and read there."""

import contextlib
import io
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from trainables.common.errors import ConfigError
from trainables.common.text import first_line

_OBJECT_STORES: Final = (
    "s3",
    "gcs",
    "abfs",
)  # a file is there when it is whole, and folders need not be made
_BLOCK_BYTES: Final = 1 << 22
_GOOGLE_SECONDS: Final = 30  # Google's client would try for a quarter of an hour, and say nothing meanwhile
_HADOOP_ATTEMPTS: Final = "4"  # 13 s; hdfs-native would ask a name node that does not answer for 3 minutes
_HADOOP: Final = (
    "; it needs the package hdfs-native, or Java and Hadoop's library (set JAVA_HOME, HADOOP_HOME and "
    "CLASSPATH); webhdfs://host:9870/path needs neither"
)
_NOBODY: Final = "anonymous"  # user of a storage that asks for no account
PART: Final = ".part"  # of a file that is being written, where it has its name only at the end
_PROBE: Final = ".orchestrate-probe"
# What storages say, as words of the first line of an error -> what to do about it.
_ADVICE: Final = (
    (("no_such_bucket", "(not_found:"), "there is no such bucket; make it first, or mend its name"),
    (
        ("invalid_access_key_id", "signature_does_not_match", "invalidtoken", "expiredtoken"),
        "the storage does not know this key; look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, of "
        "temporary keys, AWS_SESSION_TOKEN",
    ),
    (
        ("access_denied", "permission denied", "permission_denied"),
        "the account may not do this; it needs to write, read, list and delete below this path",
    ),
    (
        ("network_connection", "connection refused", "could not connect", "couldn't connect"),
        "the storage does not answer; look at its address, and at the network",
    ),
)


def check_uri(uri: str) -> None:
    """Make sure that a URI holds no secret, since it is recorded and shown.

    Raises:
        ConfigError: If it is none, or holds a user or a password.
    """
    parts = urlsplit(uri)
    if not parts.scheme or (not parts.netloc and parts.scheme != "file"):
        raise ConfigError(
            f"a storage is named by a URI, such as s3://bucket/path or file:///path, found {uri!r}"
        )
    has_user = "@" in parts.netloc.removeprefix(f"{_NOBODY}@")
    if has_user or any(word in parts.query.lower() for word in ("secret", "access_key", "token")):
        raise ConfigError(
            "the URI of the storage holds a secret, and would be recorded with it; leave it out and put it "
            "into the environment, as the tools of the storage ask for it, such as AWS_SECRET_ACCESS_KEY or "
            "GOOGLE_APPLICATION_CREDENTIALS"
        )


class Place:
    """A folder at a storage URI.

    Args:
        uri: URI that pyarrow or an installed package of fsspec understands.

    Raises:
        ConfigError: If it is no URI, holds a secret, or is not understood.
    """

    def __init__(self, uri: str) -> None:
        check_uri(uri)
        self.uri = uri
        self._files, self._root = _opened(uri)
        kind = self._files.type_name
        self._is_object_store = kind in _OBJECT_STORES
        self._has_own_move = not kind.startswith("py::")  # pyarrow's own replace what is there

    def check_writable(self) -> None:
        """Write a file, list and delete it, so that a search does not begin whose results cannot be copied.

        Raises:
            ConfigError: If that is not possible.
        """
        try:
            self.write(_PROBE, b"")
            self.sizes(f"{_PROBE}-folder")  # none; but a key that may not list is refused
            self.remove(_PROBE)
        except Exception as error:  # each storage has errors of its own
            raise ConfigError(
                f"--results {self.uri}: nothing can be written there: {explained(error)}"
            ) from error

    def write(self, name: str, content: bytes | Path) -> None:
        """Write a file, whole or not at all.

        Args:
            name: Name below the folder, with `/` between its parts.
            content: What it holds, or a file to copy.

        Raises:
            FileNotFoundError: If the file to copy is gone; then nothing is written.
        """
        path = f"{self._root}/{name}"
        target = path if self._is_object_store else f"{path}{PART}"
        with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
            if not self._is_object_store:
                self._files.create_dir(path.rpartition("/")[0], recursive=True)
            try:
                with self._files.open_output_stream(target) as stream:
                    while block := source.read(_BLOCK_BYTES):
                        stream.write(block)
            except BaseException:  # a stream that is left is closed, and then there is a part of a file
                with contextlib.suppress(Exception):
                    self._files.delete_file(target)
                raise
        if target == path:
            return
        if (
            not self._has_own_move
        ):  # Hadoop, for one, does not rename to a name that is taken, and says nothing
            self.remove(name)
        self._files.move(target, path)

    def read(self, name: str, target: Path) -> None:
        """Copy a file from there to this machine; what is there must not change meanwhile.

        Args:
            name: Name below the folder.
            target: File to write, whose folder exists.
        """
        with self._files.open_input_stream(f"{self._root}/{name}") as stream, target.open("wb") as file:
            while block := stream.read(_BLOCK_BYTES):
                file.write(block)

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens if there is none."""
        with contextlib.suppress(FileNotFoundError):
            self._files.delete_file(f"{self._root}/{name}")

    def sizes(self, folder: str) -> dict[str, tuple[int, float]]:
        """Return name below the place -> size in bytes and time of writing, of all files below a folder."""
        from pyarrow.fs import FileType

        start = len(self._root) + 1
        return {
            info.path[start:]: (info.size, info.mtime.timestamp() if info.mtime else 0.0)
            for info in self._listed(folder, is_deep=True)
            if info.type == FileType.File
        }

    def folders(self, folder: str = "") -> list[str]:
        """Return the sorted names of the folders in a folder; none if it does not exist."""
        from pyarrow.fs import FileType

        found = self._listed(folder, is_deep=False)
        return sorted(info.base_name for info in found if info.type == FileType.Directory)

    def _listed(self, folder: str, *, is_deep: bool) -> Any:
        from pyarrow.fs import FileSelector

        root = f"{self._root}/{folder}".rstrip("/")
        return self._files.get_file_info(FileSelector(root, allow_not_found=True, recursive=is_deep))


def explained(error: BaseException) -> str:
    """What a storage says, in one line, after what to do about it where that is known."""
    said = first_line(error)
    for words, advice in _ADVICE:
        if any(word in said.lower() for word in words):
            return f"{advice} ({said})"
    return said


def _opened(uri: str) -> tuple[Any, str]:
    """File system and path of a URI, by pyarrow's own or by a package of fsspec."""
    import pyarrow as pa
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    try:
        found: Any = FileSystem.from_uri(_bounded(uri))
        return found[0], str(found[1]).rstrip("/")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, ValueError) as error:
        reason = explained(error)
    import fsspec

    scheme = urlsplit(uri).scheme
    try:
        # A process that Ray forks drops what fsspec keeps, and hdfs-native then waits for threads that only
        # its parent has: for ever, and the parent with it.
        files, path = fsspec.core.url_to_fs(uri, skip_instance_cache=True, **_bounds(scheme))
    except Exception as error:  # each package has errors of its own
        hint = _HADOOP if scheme in ("hdfs", "viewfs") else ""
        raise ConfigError(f"{uri} is not understood: {reason}; {explained(error)}{hint}") from error
    return PyFileSystem(FSSpecHandler(files)), str(path).rstrip("/")


def _bounded(uri: str) -> str:
    """URI with a limit to the time for which a storage that does not answer is asked."""
    parts = urlsplit(uri)
    if parts.scheme not in ("gs", "gcs") or "retry_limit_seconds=" in parts.query:
        return uri
    return f"{uri}{'&' if parts.query else '?'}retry_limit_seconds={_GOOGLE_SECONDS}"


def _bounds(scheme: str) -> dict[str, str]:
    """The same as options of a package of fsspec."""
    import fsspec

    if scheme != "hdfs" or not fsspec.get_filesystem_class(scheme).__module__.startswith("hdfs_native"):
        return {}
    return {"dfs.client.failover.max.attempts": _HADOOP_ATTEMPTS}
