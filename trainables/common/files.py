"""Atomic file writing: a file is written whole or not at all."""

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LEAST_BYTES: Final = 16_000_000  # that must fit before a disk counts as one with room
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NO_HARD_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def write_atomically(path: Path, content: bytes | memoryview | str) -> None:
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


def make_private(folder: Path) -> None:
    """Make a folder that others cannot enter, and so reach nothing in it, whatever the modes of its files.

    The group may enter where the umask lets it write (002), since its users work together then.

    Args:
        folder: Path of the folder; its parents are made as the umask says.

    Raises:
        FileExistsError: If it is there; its mode then stays as its owner chose.
        OSError: If it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o770)
    if not folder.stat().st_mode & stat.S_IWGRP:
        folder.chmod(0o700)


def write_new(path: Path, content: bytes | str) -> None:
    """Write a file whole under a name that must be free; of several writers at once only one succeeds.

    Args:
        path: Path of the file; its folder is created if it is missing.
        content: Content of the file; text is written as UTF-8.

    Raises:
        FileExistsError: If there is such a file, which is then as it was before.
        OSError: If the folder cannot be written.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    write_atomically(draft, content)
    try:
        os.link(draft, path)  # unlike a rename, it never replaces
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def open_own(path: str | Path, flags: int) -> int:
    """Open a file that nobody else puts there; a link, a pipe or a folder in its place is refused.

    Who has handed a folder over may have put a link into it, through which another file would be written.

    Args:
        path: Path of the file; folders above it may be links.
        flags: Flags of `os.open`; who may read a file that is made is the user's choice, by the umask.

    Returns:
        The descriptor.

    Raises:
        OSError: If it is no regular file, or cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(errno.ELOOP, "it is a symbolic link, which is not followed", str(path)) from error
        raise
    return _regular(descriptor, path)


def read_plain(path: Path) -> bytes:
    """Return the content of a file; a pipe or a device in its place is refused, and not waited for.

    Raises:
        OSError: If it is no regular file, or cannot be read.
    """
    with open(_regular(os.open(path, os.O_RDONLY | os.O_NONBLOCK), path), "rb") as file:
        return file.read()


def _regular(descriptor: int, path: str | Path) -> int:
    """The descriptor of an open file; it is closed if that is no regular file."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


def is_disk_full(error: BaseException) -> bool:
    """Tell whether nothing can be written: the disk or the quota is used up, or the disk is read-only."""
    return isinstance(error, OSError) and error.errno in _FULL


def is_seen_folder(path: Path) -> bool:
    """Tell whether a folder is there and may be looked at; one whose mount is stale is not seen, either."""
    try:
        return path.is_dir()
    except OSError:  # it may not be entered, or its file server does not know it any more
        return False


def free_name(path: Path, mark: str) -> Path:
    """Return `<name>.<mark>` beside a file, or the same with a number behind it where that name is taken."""
    name, number = path.with_name(f"{path.name}.{mark}"), 1
    while name.exists():
        number += 1
        name = path.with_name(f"{path.name}.{mark}.{number}")
    return name


def set_aside(path: Path, mark: str) -> Path:
    """Rename a file to a free name with a mark, so that nothing is lost with it; returns the new path.

    Raises:
        OSError: If it cannot be renamed.
    """
    return path.rename(free_name(path, mark))


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


def reserve(folder: Path, size_bytes: int) -> None:
    """Make sure that a folder can hold as much, by taking the room and giving it back.

    A quota is not seen in the free space of a disk.

    Raises:
        OSError: If there is no room, or the folder cannot be written.
    """
    probe = _beside(folder / "room")
    with probe.open("xb") as file:
        probe.unlink()  # a process that is killed meanwhile leaves nothing
        os.posix_fallocate(file.fileno(), 0, max(1, size_bytes))


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
