"""Data source of a folder of image files: `<class>/<file>`, or `<patient>/<class>/<file>` as in the IDC set.

Class folders are named after the task's classes, their numbers, or findings (`mass_benign`, ...), in any
case. With `<class>/<file>`, an optional `patients.csv` names the patient of each image.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from trainables.common.errors import DataError, OneClassError
from trainables.config.tasks import FINDINGS, LabelCodes, Task
from trainables.data.patches import RawPatches
from trainables.data.source import Source
from trainables.data.sources.image_files import SUFFIXES, read_images
from trainables.data.sources.patient_table import patients_of

_PARTS_OF_A_SPLIT: Final = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})


@dataclass(frozen=True, slots=True)
class _ClassNames:
    """Code book that maps folder names to label codes."""

    label_codes: LabelCodes
    code_of_name: dict[str, int]

    def code(self, folder: Path) -> int:
        return self.code_of_name[_plain(folder.name)]


@dataclass(frozen=True, slots=True)
class _Entry:
    """One image file with the label code and patient that follow from its path."""

    file: Path
    code: int
    patient: str | None


def load_folder(data: str, task: Task, label_codes: LabelCodes | None) -> tuple[RawPatches, list[str]]:
    """Read image files from class folders.

    Args:
        data: Path of the folder.
        task: Task, whose class names are folder names.
        label_codes: Code book of numbers as folder names; None reads 0 and 1 as the task's classes.

    Returns:
        The patches, ordered by path, and messages on what was decided or converted.

    Raises:
        DataError: If folder names, files or `patients.csv` cannot be used.
        OneClassError: If there is a single class folder.
    """
    root, notes = Path(data), list[str]()
    folders = _without_nested_copy(_folders(root), notes)
    if _is_by_patient(folders):
        names, entries = _by_patient(folders, task, label_codes)
        notes.append(f"patients: the {len(folders)} folders of {root.name}")
    else:
        names, entries = _by_class(root, folders, task, label_codes)
    notes.append(f"label codes: {names.label_codes} (from the folder names)")
    _note_other_files(root, notes)
    images = read_images([entry.file for entry in entries], notes)
    patients = [entry.patient for entry in entries if entry.patient is not None]
    table = root / "patients.csv"
    files = [entry.file.relative_to(root).as_posix() for entry in entries]
    raw = RawPatches(
        images=images,
        labels=np.array([entry.code for entry in entries], dtype=np.int64),
        label_codes=names.label_codes,
        patients=np.array(patients)
        if patients
        else patients_of(table, files, notes)
        if table.is_file()
        else None,
        source=root.name,
    )
    return raw, notes


def _by_class(
    root: Path, folders: Sequence[Path], task: Task, given: LabelCodes | None
) -> tuple[_ClassNames, list[_Entry]]:
    if not folders:
        raise DataError(f"{root} must hold class folders ({_expected(task)}) with images; it holds no folder")
    names = _class_names(folders, task, given)
    if len(folders) == 1:
        raise OneClassError(
            f"{root} holds only one class folder, {folders[0].name}; "
            f"task {task.name} needs {' and '.join(task.classes)}"
        )
    entries = []
    for folder in folders:
        files = _images(folder)
        if not files:
            raise DataError(
                f"class folder {folder} must hold PNG, JPEG, TIFF, PGM or BMP images; it holds none"
            )
        entries += [_Entry(file, names.code(folder), None) for file in files]
    return names, entries


def _by_patient(
    folders: Sequence[Path], task: Task, given: LabelCodes | None
) -> tuple[_ClassNames, list[_Entry]]:
    parts = [folder.name for folder in folders if folder.name.lower() in _PARTS_OF_A_SPLIT]
    if parts:
        raise DataError(
            f"folders {', '.join(parts)} look like parts of a split, where patient folders were expected; "
            "give the path of one of them, or save images, labels and patients in one .npz file"
        )
    names = _class_names([inner for folder in folders for inner in _folders(folder)], task, given)
    entries = [
        _Entry(file, names.code(inner), folder.name)
        for folder in folders
        for inner in _folders(folder)
        for file in _images(inner)
    ]
    if not entries:
        raise DataError(f"the class folders below {folders[0].parent} must hold images; they hold none")
    return names, entries


def _is_by_patient(folders: Sequence[Path]) -> bool:
    return any(_folders(folder) for folder in folders) and not any(_images(folder) for folder in folders)


def _without_nested_copy(folders: Sequence[Path], notes: list[str]) -> list[Path]:
    """Leave out a folder that contains copies of its siblings, as in an archive of the IDC set."""
    siblings = {folder.name for folder in folders}
    kept = []
    for folder in folders:
        inner = {path.name for path in _folders(folder)}
        # Class folders inside patients 0 and 1 have their names among the siblings too, but hold images.
        if inner and inner < siblings and any(_folders(folder / name) for name in inner):
            notes.append(f"{folder.name} is a nested copy of its neighbours and was left out")
        else:
            kept.append(folder)
    return kept


def _class_names(folders: Sequence[Path], task: Task, given: LabelCodes | None) -> _ClassNames:
    """Find the code book in which every folder name is a class."""
    found = {_plain(folder.name): folder.name for folder in folders}
    numbers = len(task.classes) if given in (None, "task") else len(FINDINGS)
    books = (
        _ClassNames("task", {name: index for index, name in enumerate(task.classes)}),
        _ClassNames(given or "task", {str(number): number for number in range(numbers)}),
        _ClassNames("pisa", {name: index for index, name in enumerate(FINDINGS)}),
    )
    for book in books:
        if set(found) <= set(book.code_of_name):
            if given not in (None, book.label_codes):
                raise DataError(
                    f"the class folders {', '.join(sorted(found.values()))} say what they hold (label codes "
                    f"{book.label_codes}), against --label-codes {given}; leave that option out"
                )
            return book
    known = {name for book in books for name in book.code_of_name}
    strange = sorted(set(found) - known) or sorted(found)
    near = difflib.get_close_matches(strange[0], sorted(known), n=1)
    hint = f"; did you mean {near[0]} for {found[strange[0]]}?" if near and near[0] != strange[0] else ""
    raise DataError(
        f"class folders must be named {_expected(task)}; found: {', '.join(sorted(found.values())[:8])}{hint}"
    )


def _expected(task: Task) -> str:
    return (
        f"{' and '.join(task.classes)}, 0 and 1, findings ({', '.join(FINDINGS)}), "
        "or code numbers with --label-codes"
    )


def _note_other_files(root: Path, notes: list[str]) -> None:
    others = sum(
        1
        for path in root.rglob("*")
        if path.is_file() and path.suffix.lower() not in SUFFIXES and path != root / "patients.csv"
    )
    if others:
        notes.append(f"files left out, since they are not PNG, JPEG, TIFF, PGM or BMP: {others}")


def _folders(folder: Path) -> list[Path]:
    return sorted(
        path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))
    )


def _images(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in files if not path.name.startswith("."))


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


FOLDER = Source("folder", load_folder, "a folder of class folders with images", Path.is_dir)
