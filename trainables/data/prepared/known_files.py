"""What is known of the files that a set follows from, so that a change of one of them is noticed.

Size and time of modification tell most changes. A repaired file may keep both, so that the time of change,
which no program can set, is looked at too; a copied tree has new ones everywhere, so that where they differ
the content decides.
"""

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

from trainables.data.collections.collection import Example
from trainables.data.prepared.reading import files_beside

Stamp: TypeAlias = tuple[int, int, int]

_NOT_THERE: Final = (0, 0, 0)
_BLOCK: Final = 2**20


@dataclass(frozen=True, slots=True)
class KnownFiles:
    """Stamps of files, each looked up once.

    Attributes:
        examples: Examples of the listing.
        stamps: File -> size in bytes, time of modification and time of change in nanoseconds.
    """

    examples: Sequence[Example]
    stamps: dict[Path, Stamp] = field(default_factory=dict)

    def stamp(self, file: Path) -> Stamp:
        """Size, time of modification and time of change of a file; zeros for one that is not there."""
        if file not in self.stamps:
            try:
                found = file.stat()
                self.stamps[file] = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            except OSError:
                self.stamps[file] = _NOT_THERE
        return self.stamps[file]

    def is_there(self, file: Path) -> bool:
        """True for a file that is there."""
        return self.stamp(file) != _NOT_THERE

    def described(self, example: Example) -> str:
        """An example with size and time of modification of its file and its masks.

        The only frame of a file counts as that of number 0, as in sets of earlier versions.
        """
        stamps = [self.stamp(file)[:2] for file in (example.file, *example.masks)]
        known = replace(example, frame=example.frame or 0)
        return repr((known, *example.more_masks, *stamps))

    def beside(self, example: Example) -> str:
        """Size and time of modification of the headers beside its file; empty where it has none."""
        return "".join(repr((file.name, *self.stamp(file)[:2])) for file in files_beside(example.file))

    def changed_at(self) -> str:
        """Digest of the times of change of all files."""
        times = (self.stamp(file)[2] for example in self.examples for file in files_of(example))
        return _digest(str(time) for time in times)

    def content(self) -> str:
        """Digest of the content of all files, which are read for it."""
        return content_digest(content_of(example) for example in self.examples)


def files_of(example: Example) -> tuple[Path, ...]:
    """All files that the pixels and masks of an example follow from."""
    return (example.file, *example.masks, *files_beside(example.file))


def content_of(example: Example) -> str:
    """Digest of the content of an example's files; of one that cannot be read only that it cannot."""
    return _digest(_content(file) for file in files_of(example))[:16]


def content_digest(examples: Iterable[str]) -> str:
    """Digest of a set from those of its examples, in their order."""
    return _digest(examples)


def _content(file: Path) -> str:
    try:
        found = file.stat()
        return _read(file, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    except OSError:
        return ""


@functools.lru_cache(maxsize=8)  # regions of one film and rows of one array follow each other
def _read(file: Path, *stamp: int) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part}\n".encode())
    return digest.hexdigest()
