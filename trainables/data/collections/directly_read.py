"""What a search reads as it is, as collections too: class folders, `.npz` files and the Pisa layout.

They are prepared where sets are to be joined, resampled or kept with their table.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.config.tasks import LEFT_OUT, StoredCodes, Task
from trainables.data.collections.collection import Choices, Collection, Example, Listing
from trainables.data.collections.parts import no_table, regions_of, task_option
from trainables.data.columns import EXTRA_COLUMN, SIDES
from trainables.data.patches import NO_PARTNER, RawPatches
from trainables.data.source import Stated
from trainables.data.sources.folder import load_folder
from trainables.data.sources.npz import load_npz
from trainables.data.sources.pisa import load_pisa

_UNKNOWN: Final = "unknown: they are the user's own images"


def list_folder(path: Path, choices: Choices) -> Listing:
    """List the images of class folders.

    Args:
        path: Folder that a search would read.
        choices: The task is the one whose classes the folders are named after.

    Raises:
        ConfigError: If the file of an own task cannot be used.
        DataError: If folders or files leave open what is meant.
    """
    task = _checked(choices)
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    found, notes = load_folder(str(path), task, Stated())
    examples = [
        Example(
            file=file,
            name=name,
            label=int(label),
            patient=None if found.patients is None else str(found.patients[row]),
            is_test=None if found.is_test is None else bool(found.is_test[row]),
            columns=_extra(found.is_extra, row),
        )
        for row, (file, name, label) in enumerate(zip(found.files, found.names, found.labels, strict=True))
    ]
    return Listing(
        tuple(examples), found.label_codes, tuple(notes), classes=_classes(found.label_codes, task)
    )


def list_npz(path: Path, choices: Choices) -> Listing:
    """List the rows of an `.npz` file.

    Args:
        path: The file.
        choices: The task is the one that labels are for; rows that an own one leaves out are not listed.

    Raises:
        ConfigError: If the file of an own task cannot be used.
        DataError: If an array cannot be used, or the images are in parts.
    """
    task = _checked(choices)
    raw, notes = load_npz(str(path), task, Stated())
    with np.load(path, allow_pickle=False) as stored:
        if "images" not in stored.files:
            raise DataError(
                f"{path.name} holds its images in parts or under another name; save them as one array, images"
            )
    places = [(path, row) for row in range(len(raw.images))]
    return _listing(raw, places, notes, task)


def list_pisa(path: Path, choices: Choices) -> Listing:
    """List the rows of the Pisa layout, training part first.

    Raises:
        DataError: If a file is missing, or an array cannot be used.
    """
    task = _checked(choices)
    raw, notes = load_pisa(str(path), task, Stated())
    train = len(np.load(path / "train_tensor.npy", mmap_mode="r"))
    test = next(
        (file for name in ("public_test", "test") if (file := path / f"{name}_tensor.npy").is_file()), None
    )
    places = [(path / "train_tensor.npy", row) for row in range(train)]
    if test is not None:
        places += [(test, row) for row in range(len(raw.images) - train)]
    return _listing(raw, places, notes, task)


def _checked(choices: Choices) -> Task:
    """The task that is chosen; nothing else can be."""
    task, _ = task_option(choices)
    no_table(choices)
    regions_of(choices, ("image",))
    return task


def _listing(
    raw: RawPatches, places: Sequence[tuple[Path, int]], notes: Sequence[str], task: Task
) -> Listing:
    names = [f"{file.stem}-{row}" for file, row in places]
    plain = [
        Example(file=file, name=name, label=int(label), frame=row)
        for (file, row), name, label in zip(places, names, raw.labels, strict=True)
    ]
    examples = tuple(
        dataclasses.replace(
            one,
            patient=_value(raw.patients, row),
            exam=_text(raw, "exam", row),
            laterality=SIDES.get(_text(raw, "laterality", row) or ""),
            view=_text(raw, "view", row),
            columns=_extra(raw.is_extra, row),
            is_test=_value(raw.is_test, row),
            partner=_partner(raw.partners, row, names),
        )
        for row, one in enumerate(plain)
    )
    used = tuple(one for one in examples if one.label != LEFT_OUT)
    return Listing(used, raw.label_codes, tuple(notes), classes=_classes(raw.label_codes, task))


def _value(array: NDArray[Any] | None, row: int) -> Any:
    return None if array is None else array[row].item()


def _text(raw: RawPatches, column: str, row: int) -> str | None:
    """What a column says of an image, None where it says nothing."""
    return str(raw.columns[column][row]) or None if raw.columns and column in raw.columns else None


def _extra(is_extra: NDArray[np.bool_] | None, row: int) -> dict[str, bool]:
    """The column of images that train in every fold and are never scored, where there are some."""
    return {} if is_extra is None else {EXTRA_COLUMN: bool(is_extra[row])}


def _partner(partners: NDArray[np.int64] | None, row: int, names: Sequence[str]) -> str | None:
    return None if partners is None or partners[row] == NO_PARTNER else names[partners[row]]


def _classes(codes: StoredCodes, task: Task) -> tuple[str, ...]:
    return task.classes if codes in ("task", "own") else ()


def _is_npz(path: Path) -> bool:
    return path.suffix.lower() == ".npz" and path.is_file()


def _is_pisa(path: Path) -> bool:
    return (path / "train_tensor.npy").is_file()


FOLDER = Collection(
    name="folder",
    title="Class folders",
    accepts="a folder of class folders with images",
    list=list_folder,
    reads=Path.is_dir,
    is_mammogram=False,
    licence=_UNKNOWN,
    is_read_directly=True,
    is_general=True,
)
NPZ = Collection(
    name="npz",
    title="Arrays of an .npz file",
    accepts="an .npz file with images and labels",
    list=list_npz,
    reads=_is_npz,
    is_mammogram=False,
    licence=_UNKNOWN,
    is_read_directly=True,
    is_general=True,
)
PISA = Collection(
    name="pisa",
    title="Patches of CBIS-DDSM in the layout of the Pisa course",
    accepts="a folder with train_tensor.npy",
    list=list_pisa,
    reads=_is_pisa,
    is_mammogram=False,
    licence="CC BY 3.0, as CBIS-DDSM; cite Lee et al. 2017",
    is_read_directly=True,
    is_general=True,
)
