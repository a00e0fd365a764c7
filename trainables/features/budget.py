"""The disk budget of a store: what was used longest ago leaves first, and what is being read never leaves.

    <store>/prefix/.room.lock    held for the moment in which a process makes room and reserves it

A running trial holds a shared lock on each file that it reads; eviction needs the same lock for itself alone
and passes over files that it does not get.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainables.features.files import PARTIAL, discard, meta_path
from trainables.features.locks import held, unread

GB: Final = 10**9
_LARGEST_DEFAULT: Final = 200 * GB
_SHARE_OF_DISK: Final = 0.8
STALE_SECONDS: Final = (
    86_400.0  # features that nobody has asked for yet displace only what is older than this
)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of features on disk.

    Attributes:
        path: Of the features.
        inode: Its number in the file system, which stays when the file is renamed.
        bytes: Its size.
        used_at: Time of its last use, seconds since 1970.
    """

    path: Path
    inode: int
    bytes: int
    used_at: float


def stored_files(folder: Path) -> list[StoredFile]:
    """All files of features below `<store>/prefix`, used longest ago first. Reads no file."""
    found = []
    for path in files_below(folder, ".npy"):
        with contextlib.suppress(FileNotFoundError):  # evicted or replaced meanwhile
            stat = path.stat()
            found.append(StoredFile(path, stat.st_ino, stat.st_size, _used_at(path)))
    return sorted(found, key=lambda file: (file.used_at, str(file.path)))


def files_below(folder: Path, suffix: str) -> Iterator[Path]:
    """Files in a folder and those below it; folders may vanish meanwhile."""
    for place, _, names in os.walk(folder):  # unlike Path.glob it passes over what is gone
        yield from (Path(place, name) for name in names if name.endswith(suffix))


def default_budget(folder: Path, taken: int) -> int:
    """In bytes: the smaller of 200 GB and 80 % of what is free on the disk plus what the store takes."""
    return int(min(_LARGEST_DEFAULT, _SHARE_OF_DISK * (shutil.disk_usage(folder).free + taken)))


def is_read(path: Path) -> bool:
    """True while a process reads the file, or has just removed it."""
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
    """Remove the folders of a view and of its key where they are empty and nobody works in them."""
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
    """The file that is locked while a view is being computed."""
    return view_folder.with_name(f"{view_folder.name}.lock")


def sweep(folder: Path) -> int:
    """Remove what processes that died left half-written; returns the bytes."""
    freed = 0
    for partial in files_below(folder, PARTIAL):
        with held(view_lock(partial.parent), may_wait=False) as is_mine, contextlib.suppress(OSError):
            if is_mine:
                freed += partial.stat().st_size
                partial.unlink()
        tidy(partial.parent)
    return freed


class DiskReservation:
    """What the store holds at this moment; valid while the room is locked."""

    def __init__(self, folder: Path, budget_bytes: int | None) -> None:
        # Files on their way first: one that gets its name meanwhile is then seen under both, and not missed.
        sizes = _partial_bytes(folder)
        self.folder, self.files = folder, stored_files(folder)
        sizes |= {file.inode: file.bytes for file in self.files}
        self.taken = sum(sizes.values())
        self.budget = default_budget(folder, self.taken) if budget_bytes is None else budget_bytes

    def make_room(self, needed: int, *, unused_since: float | None = None) -> bool:
        """Evict until the budget has room for some bytes, and count them as taken.

        Args:
            needed: In bytes.
            unused_since: Evict only what was last used before this time; None evicts whatever nobody reads.

        Returns:
            False if there is no way to make the room; nothing is evicted then.
        """
        if self.taken + needed > self.budget:
            self.taken -= sweep(self.folder)
        excess = self.taken + needed - self.budget
        if excess > 0 and not self.free(excess, unused_since=unused_since):
            return False
        self.taken += needed
        return True

    def free(self, needed: int, *, unused_since: float | None = None) -> bool:
        """Evict at least some bytes, whatever the budget; False if that much cannot be evicted."""
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
        folder: `<store>/prefix`.
        budget_bytes: Most that the store may take; None for `default_budget`, reckoned anew each time.
    """

    folder: Path
    budget_bytes: int | None = None

    @contextlib.contextmanager
    def reservation(self) -> Iterator[DiskReservation]:
        """Look at what is there; other processes neither evict nor reserve meanwhile."""
        with held(self.folder / ".room.lock", may_wait=True):
            yield DiskReservation(self.folder, self.budget_bytes)


def _used_at(path: Path) -> float:
    try:
        return meta_path(path).stat().st_mtime
    except FileNotFoundError:
        return path.stat().st_mtime


def _partial_bytes(folder: Path) -> dict[int, int]:
    """Sizes of files on their way, by inode."""
    found = {}
    for path in files_below(folder, PARTIAL):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            found[stat.st_ino] = stat.st_size
    return found
