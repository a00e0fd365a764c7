"""Disk budget of a store: the least recently used files are evicted first, files in use never.

    <store>/prefix/.room.lock    held while a process frees disk space and reserves it

A running trial holds a shared lock on each file that it reads; eviction needs an exclusive lock and skips
files for which it does not get one.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainables.features.locks import held, unread
from trainables.features.stored_files import PARTIAL, discard, meta_path

GB: Final = 10**9
_LARGEST_DEFAULT: Final = 200 * GB
_SHARE_OF_DISK: Final = 0.8
STALE_SECONDS: Final = (
    86_400.0  # features that no trial has asked for yet may evict only files unused for longer than this
)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of features on disk.

    Attributes:
        path: Path of the features.
        inode: Number of the file in the file system, which stays when the file is renamed.
        bytes: Size of the file, in bytes.
        used_at: Time of the last use, in seconds since 1970.
    """

    path: Path
    inode: int
    bytes: int
    used_at: float


def stored_files(folder: Path) -> list[StoredFile]:
    """List all files of features below `<store>/prefix`, least recently used first. Reads no file."""
    found = []
    for path in files_below(folder, ".npy"):
        with contextlib.suppress(FileNotFoundError):  # evicted or replaced meanwhile
            stat = path.stat()
            found.append(StoredFile(path, stat.st_ino, stat.st_size, _used_at(path)))
    return sorted(found, key=lambda file: (file.used_at, str(file.path)))


def files_below(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders; folders may vanish meanwhile."""
    for place, _, names in os.walk(folder):  # unlike Path.glob it skips folders that are gone
        yield from (Path(place, name) for name in names if name.endswith(suffix))


def default_budget(folder: Path, taken: int) -> int:
    """Default budget in bytes: 200 GB, or 80 % of free disk space plus the store's own size if smaller."""
    return int(min(_LARGEST_DEFAULT, _SHARE_OF_DISK * (shutil.disk_usage(folder).free + taken)))


def is_read(path: Path) -> bool:
    """True while a process reads the file, and also if it is gone."""
    with unread(path) as is_free:
        return not is_free


def evict(path: Path) -> bool:
    """Remove a file of features unless somebody reads it; returns whether it was removed."""
    with unread(path) as is_free:
        if is_free:
            discard(path)
    if is_free:
        tidy(path.parent)
    return is_free


def tidy(view_folder: Path) -> None:
    """Remove the folders of a view and of its key if they are empty and no process works in them."""
    key_folder, lock = view_folder.parent, view_lock(view_folder)
    with contextlib.suppress(OSError), held(lock, may_wait=False) as is_mine:
        if is_mine:
            view_folder.rmdir()
            lock.unlink()
    with contextlib.suppress(OSError):
        if {entry.name for entry in key_folder.iterdir()} <= {"key.json"}:
            # A process that comes in between writes it again at the end of its pass.
            (key_folder / "key.json").unlink(missing_ok=True)
            key_folder.rmdir()


def view_lock(view_folder: Path) -> Path:
    """Path of the file that is locked while a view is being computed."""
    return view_folder.with_name(f"{view_folder.name}.lock")


def sweep(folder: Path) -> int:
    """Remove unfinished files of processes that died; returns the bytes that were freed."""
    freed = 0
    for partial in files_below(folder, PARTIAL):
        with held(view_lock(partial.parent), may_wait=False) as is_mine, contextlib.suppress(OSError):
            if is_mine:
                freed += partial.stat().st_size
                partial.unlink()
        tidy(partial.parent)
    return freed


class DiskReservation:
    """Files and size of the store at this moment, for reserving disk space; valid while its lock is held."""

    def __init__(self, folder: Path, budget_bytes: int | None) -> None:
        # Partial files first: one that is renamed meanwhile is then seen under both names, and not missed.
        sizes = _partial_bytes(folder)
        self.folder, self.files = folder, stored_files(folder)
        sizes |= {file.inode: file.bytes for file in self.files}
        self.taken = sum(sizes.values())
        self.budget = default_budget(folder, self.taken) if budget_bytes is None else budget_bytes

    def make_room(self, needed: int, *, unused_since: float | None = None) -> bool:
        """Evict files until the needed bytes fit into the budget, and count those bytes as taken.

        Args:
            needed: Disk space to reserve, in bytes.
            unused_since: Evict only files last used before this time; None evicts any file that is not read.

        Returns:
            False if that much cannot be freed; then nothing is evicted.
        """
        if self.taken + needed > self.budget:
            self.taken -= sweep(self.folder)
        excess = self.taken + needed - self.budget
        if excess > 0 and not self.free(excess, unused_since=unused_since):
            return False
        self.taken += needed
        return True

    def free(self, needed: int, *, unused_since: float | None = None) -> bool:
        """Evict at least `needed` bytes, whatever the budget; False if that much cannot be evicted."""
        chosen = self._oldest(needed, unused_since)
        if chosen is None:
            return False
        freed = 0
        for file in chosen:
            self.files.remove(file)
            if evict(file.path):
                freed += file.bytes
        self.taken -= freed
        return freed >= needed

    def _oldest(self, needed: int, unused_since: float | None) -> Sequence[StoredFile] | None:
        chosen, total = [], 0
        for file in self.files:
            if total >= needed:
                break
            is_old = unused_since is None or file.used_at < unused_since
            if is_old and not is_read(file.path):
                chosen.append(file)
                total += file.bytes
        return chosen if total >= needed else None


@dataclass(frozen=True, slots=True)
class DiskBudget:
    """The disk budget of a store, for all processes of a node.

    Attributes:
        folder: Folder of the features, `<store>/prefix`.
        budget_bytes: Largest size of the store, in bytes; None for `default_budget`, computed anew each time.
    """

    folder: Path
    budget_bytes: int | None = None

    @contextlib.contextmanager
    def reservation(self) -> Iterator[DiskReservation]:
        """Lock the store and list its files; other processes neither evict nor reserve meanwhile."""
        with held(self.folder / ".room.lock", may_wait=True):
            yield DiskReservation(self.folder, self.budget_bytes)


def _used_at(path: Path) -> float:
    try:
        return meta_path(path).stat().st_mtime
    except FileNotFoundError:
        return path.stat().st_mtime


def _partial_bytes(folder: Path) -> dict[int, int]:
    """Sizes of partial files in bytes, by inode."""
    found = {}
    for path in files_below(folder, PARTIAL):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            found[stat.st_ino] = stat.st_size
    return found
