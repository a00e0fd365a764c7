"""Data sources of labelled images: the record that the registry holds."""

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
        name: Name that the user types after `--source`.
        load: Reads the data: maps the value of `--data`, the task and the label codes (None to decide them)
            to the patches and messages for the user.
        accepts: Description of the data that the source reads, such as `an .npz file`.
        reads: True for an existing path that the source reads; called only where no `--source` is given.
        precedence: Rank of the source; of several sources that read a path, the highest is taken.
        takes_path: False for data that are given by name, not by path.
    """

    name: str
    load: Loader
    accepts: str
    reads: Callable[[Path], bool] = _reads_nothing
    precedence: int = 0
    takes_path: bool = True
