"""Data sources of labelled images: the record that the registry holds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from trainables.common.types import IntArray
from trainables.config.tasks import LabelCodes, StoredCodes, Task, UpperFolders
from trainables.data.patches import BoolArray, RawPatches, TextArray


@dataclass(frozen=True, slots=True)
class Stated:
    """What the user says about the data; None where it is to be found out.

    Attributes:
        label_codes: Code book of the label numbers.
        upper_folders: What folders above the class folders are.
    """

    label_codes: LabelCodes | None = None
    upper_folders: UpperFolders | None = None


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """Labelled image files that are not read yet.

    Attributes:
        files: Paths, at least one.
        names: Short name of each file for messages, such as its path below the folder.
        labels: Label codes, int64, shape (N,).
        label_codes: Name of the code book of the labels.
        patients: Patient of each file, shape (N,), or None where the source has none.
        is_test: True for files of the source's own test set, shape (N,), or None.
        is_extra: True for files that train in every fold and are never scored, shape (N,), or None.
        source: Readable name of the data source.
    """

    files: tuple[Path, ...]
    names: tuple[str, ...]
    labels: IntArray
    label_codes: StoredCodes
    patients: TextArray | None
    is_test: BoolArray | None
    source: str
    is_extra: BoolArray | None = None


Loader: TypeAlias = Callable[[str, Task, Stated], tuple[RawPatches | ImageFiles, list[str]]]


def _reads_nothing(path: Path) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Source:
    """A source of labelled images.

    Attributes:
        name: Name that the user types after `--source`.
        load: Reads the data: maps the value of `--data`, the task and what the user states to the patches, or
            to image files that are read afterwards, and to messages for the user.
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
