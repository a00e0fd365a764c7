"""Appending to a file: whole or not at all, so that what is there stays readable when the disk is full."""

import contextlib
import fcntl
import os
from io import FileIO
from pathlib import Path

from trainables.common.files import open_own


def append_whole(file: FileIO, text: bytes, *, is_synced: bool) -> None:
    """Append to an open file without buffer; if not all of it can be written, the file is as it was before.

    Nobody else may append meanwhile.

    Args:
        file: The file, open for writing.
        text: What to append.
        is_synced: Wait until the disk has it.

    Raises:
        OSError: If the disk is full, or fails otherwise.
    """
    before = file.seek(0, os.SEEK_END)
    try:
        left = memoryview(text)
        while left:
            left = left[file.write(left) :]
        if is_synced:
            os.fsync(file.fileno())
    except BaseException:
        file.truncate(before)
        raise


def append_line(path: Path, line: str) -> None:
    """Append a line to a file that several processes may write; it is on the disk when this returns.

    Half a line that a power failure has left at the end stays as it is, on a line of its own.

    Args:
        path: The file, which is made if it is missing; its folder exists.
        line: The line, without its end.

    Raises:
        OSError: If the disk is full, or fails otherwise; the file is then as it was before. Or if a link or
            a pipe lies in its place.
    """
    with open(path, "a+b", buffering=0, opener=open_own) as file:
        with contextlib.suppress(OSError):  # a file system without locks, such as NFS with `nolock`
            fcntl.flock(file, fcntl.LOCK_EX)
        end = b"" if _ends_whole(file) else b"\n"
        append_whole(file, end + f"{line}\n".encode(), is_synced=True)


def _ends_whole(file: FileIO) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
