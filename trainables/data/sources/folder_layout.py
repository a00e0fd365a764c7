"""Layout of a folder of images: parts of a split, folders above the class folders, class folders.

The layouts are `CLASS/FILE`, `UPPER/CLASS/FILE` and the same below `train`, `val` and `test`, or with these
below the classes.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Final

from trainables.common.errors import DataError
from trainables.common.text import count_text
from trainables.data.image_files import SUFFIXES
from trainables.data.sources.companions import is_companion_folder
from trainables.data.sources.split_words import EXTRA_WORDS, TEST_WORDS, TRAINING_WORDS, VALIDATION_WORDS

_HIDDEN: Final = (".", "__")
_ENDING: Final = re.compile(r"\.[A-Za-z]\w*")  # of a file; the last part of a UID is none
_PART_WORDS: Final = TRAINING_WORDS | VALIDATION_WORDS | TEST_WORDS | EXTRA_WORDS

IsClass = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class ClassFolder:
    """A folder whose files are images of one class.

    Attributes:
        path: Path of the folder.
        part: Lower-case name of the part of a split that it is in, or empty.
        upper: The folder above it and below root and part, such as a patient; None without one.
    """

    path: Path
    part: str = ""
    upper: Path | None = None


def enter_only_folder(root: Path, is_class: IsClass, notes: list[str]) -> Path:
    """Return the folder that holds the layout: the root, or the only folder in it, as an archive unpacks.

    Args:
        root: Folder that the user names.
        is_class: True for a folder name that some code book holds.
        notes: A sentence on a folder that is entered is added here.
    """
    folders = folders_in(root)
    if len(folders) != 1 or is_class(folders[0].name) or _is_part(folders[0]) or images_in(root):
        return root
    inner = folders_in(folders[0])
    if not any(folders_in(one) or images_in(one) for one in inner):
        return root
    notes.append(f"{folders[0].name} is the only folder in {root.name}, so the folders in it are read")
    return enter_only_folder(folders[0], is_class, notes)


def find_class_folders(root: Path, is_class: IsClass, notes: list[str]) -> list[ClassFolder]:
    """Return the class folders below a folder, in order of their paths.

    Args:
        root: The folder.
        is_class: True for a folder name that some code book holds.
        notes: Sentences on folders that are passed through or left out are added here.

    Raises:
        DataError: If there are parts of a split beside other folders or without class folders, or a link that
            leads nowhere.
    """
    folders = _without_companions(folders_in(root), root, notes)
    parts = [folder for folder in folders if _is_part(folder)]
    if parts:
        _check_all_parts(folders, parts)
        return [
            replace(found, part=part.name.lower())
            for part in parts
            for found in _of_part(part, parts, is_class, notes)
        ]
    if folders and all(is_class(folder.name) and _holds_parts_only(folder) for folder in folders):
        return [ClassFolder(part, part.name.lower()) for folder in folders for part in folders_in(folder)]
    return _without_parts(root, is_class, notes)


def folders_in(folder: Path) -> list[Path]:
    """Return the visible folders in a folder, by name.

    Raises:
        DataError: If one is a link that leads nowhere.
    """
    found = []
    for entry in _entries(folder):
        path = folder / entry.name
        if entry.is_symlink() and not path.exists() and not _ENDING.fullmatch(path.suffix):
            raise DataError(
                f"{path} is a link to {path.readlink()}, which is not there; mount or fetch it first"
            )
        if _is_folder(entry, path):
            found.append(path)
    return found


def images_in(folder: Path) -> list[Path]:
    """Return the visible image files of a folder, by name; links that lead nowhere are among them."""
    return [
        folder / entry.name
        for entry in _entries(folder)
        if PurePath(entry.name).suffix.lower() in SUFFIXES and not _is_folder(entry, folder / entry.name)
    ]


def _is_folder(entry: "os.DirEntry[str]", path: Path) -> bool:
    """True for a folder and for a link to one, and not for a link to itself, of which an entry complains."""
    return path.is_dir() if entry.is_symlink() else entry.is_dir()


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    """Visible entries by name; unlike paths they know without a look at the disk whether they are folders."""
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(_HIDDEN)]
    return sorted(visible, key=lambda entry: entry.name)


def images_below(folder: Path) -> list[Path]:
    """Return the image files in the visible folders of a class folder, however deep they lie."""
    return sorted(
        path
        for inner in folders_in(folder)
        for path in inner.rglob("*")
        if path.suffix.lower() in SUFFIXES and not is_hidden(path)
    )


def is_hidden(path: Path) -> bool:
    """True for hidden and system files and folders."""
    return path.name.startswith(_HIDDEN)


def _is_part(folder: Path) -> bool:
    return folder.name.lower() in _PART_WORDS


def _holds_parts_only(folder: Path) -> bool:
    inner = folders_in(folder)
    return bool(inner) and all(map(_is_part, inner)) and not images_in(folder)


def _check_all_parts(folders: Sequence[Path], parts: Sequence[Path]) -> None:
    others = [folder.name for folder in folders if folder not in parts]
    if others:
        raise DataError(
            f"folders {', '.join(part.name for part in parts)} look like parts of a split, but "
            f"{others[0]} lies beside them; give the path of one of them, or move the others away"
        )
    if len({folder.name.lower() for folder in parts} & TEST_WORDS) > 1:
        raise DataError(f"several folders of {parts[0].parent} look like the test part; keep one")


def _of_part(part: Path, parts: Sequence[Path], is_class: IsClass, notes: list[str]) -> list[ClassFolder]:
    found = _without_parts(part, is_class, notes)
    if not found:
        images = images_in(part)
        rather = next((f", or give {one}" for one in parts if folders_in(one)), "")
        raise DataError(
            f"{part} is a part of a split and must hold class folders; it holds "
            f"{count_text(len(images), 'image') if images else 'nothing'} instead: sort its images into "
            f"class folders, move it away{rather}"
        )
    return found


def _without_parts(root: Path, is_class: IsClass, notes: list[str]) -> list[ClassFolder]:
    folders = _without_nested_copy(_without_companions(folders_in(root), root, notes), notes)
    if _is_by_upper(folders, is_class):
        return [
            ClassFolder(inner, upper=folder)
            for folder in folders
            for inner in _without_companions(folders_in(folder), folder, notes)
        ]
    return [ClassFolder(folder) for folder in folders]


def _is_by_upper(folders: Sequence[Path], is_class: IsClass) -> bool:
    inner = [folders_in(folder) for folder in folders]
    if not any(inner):
        return False
    if all(is_class(folder.name) for folder in folders):
        # Patients may be called 0 and 1 too; then they hold class folders, and no images themselves.
        holds_classes = all(is_class(one.name) for found in inner for one in found)
        return holds_classes and not any(images_in(folder) for folder in folders)
    return any(is_class(one.name) for found in inner for one in found) or not any(map(images_in, folders))


def _without_companions(folders: Sequence[Path], parent: Path, notes: list[str]) -> list[Path]:
    left_out = [folder for folder in folders if is_companion_folder(folder.name)]
    if left_out:
        notes.append(
            f"left out as {count_text(len(left_out), 'folder')} of masks or other companions of images in "
            f"{parent.name}: {', '.join(folder.name for folder in left_out)}"
        )
    return [folder for folder in folders if folder not in left_out]


def _without_nested_copy(folders: Sequence[Path], notes: list[str]) -> list[Path]:
    """Leave out a folder that contains copies of its siblings, as in an archive of the IDC set."""
    siblings = {folder.name for folder in folders}
    kept = []
    for folder in folders:
        inner = folders_in(folder)
        # Class folders inside patients 0 and 1 have their names among the siblings too, but hold images.
        if inner and {path.name for path in inner} < siblings and _hold_what_lies_beside(inner):
            notes.append(f"{folder.name} is a nested copy of its neighbours and was left out")
        else:
            kept.append(folder)
    return kept


def _hold_what_lies_beside(folders: Sequence[Path]) -> bool:
    """True if folders hold folders, each of which lies in the same place one level up too."""
    deeper = [path for folder in folders for path in folders_in(folder)]
    return bool(deeper) and all((path.parents[2] / path.parent.name / path.name).is_dir() for path in deeper)
