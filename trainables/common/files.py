"""Atomic file writing: a file is written whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file under a temporary name, flush it to disk, then move it into place.

    Who may read it is the user's choice, by the umask.

    Args:
        path: Path of the file; its folder is created if it is missing.
        content: Content of the file; text is written as UTF-8.

    Raises:
        OSError: If the folder cannot be written; `path` is then as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _beside(place: Path) -> Path:
    """A hidden name in the same folder that nothing has yet. What `tempfile` makes heeds no umask."""
    return place.with_name(f".{place.name[:32]}.{uuid.uuid4().hex}")


@contextmanager
def folder_in_progress(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside another, to be filled and then moved to its place by the caller.

    What has not been moved when the context ends is removed.

    Args:
        folder: Final path of the new folder; its parent is created if it is missing.

    Raises:
        OSError: If the parent cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(folder)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(folder: Path, new: Path) -> None:
    """Put a folder in the place of another one, which is removed afterwards.

    Args:
        folder: The place; it need not exist.
        new: A folder beside it.
    """
    old = new.with_name(f"{new.name}.old")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    finally:
        shutil.rmtree(old, ignore_errors=True)
