"""A source of labelled images, as the registry knows it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from trainables.config.tasks import LabelCodes, Task
from trainables.data.patches import RawPatches

Loader: TypeAlias = Callable[[str, Task, LabelCodes | None], tuple[RawPatches, list[str]]]


def _reads_nothing(path: Path) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Source:
    """A source of labelled images.

    Attributes:
        name: Name, as the user types it after `--source`.
        load: Reads the data: maps what `--data` says, the task and the label codes (None to find them out) to
            the patches and messages for the user.
        accepts: What the source reads, in words, such as `an .npz file`.
        reads: Tells whether the source reads a path that exists; only asked where no `--source` is given.
        precedence: Of several sources that read a path the one with the highest is taken.
        takes_path: False for data that have a name and no path.
    """

    name: str
    load: Loader
    accepts: str
    reads: Callable[[Path], bool] = _reads_nothing
    precedence: int = 0
    takes_path: bool = True
