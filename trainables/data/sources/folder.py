"""Data source of a folder of image files: `<class>/<file>`, or `<patient>/<class>/<file>` as in the IDC set.

Class folders are named after the task's classes, their numbers, or findings (`mass_benign`, ...), in any
case; they may lie below `train`, `val` and `test`. A table `patients.csv` names the patient of each image,
and wins over the folders.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.common.errors import DataError, OneClassError
from trainables.common.text import count_text, plain_name
from trainables.config.tasks import FINDINGS, LEFT_OUT, TASKS, LabelCodes, Task
from trainables.data.patches import BoolArray, TextArray
from trainables.data.source import ImageFiles, Source, Stated
from trainables.data.sources.checks import check_spellings
from trainables.data.sources.class_names import (
    ClassNames,
    class_names,
    code_books,
    expected_names,
)
from trainables.data.sources.companions import is_companion_folder, sort_out
from trainables.data.sources.folder_layout import (
    ClassFolder,
    enter_only_folder,
    find_class_folders,
    images_below,
    images_in,
    is_hidden,
)
from trainables.data.sources.left_out import FORMATS_IN_WORDS, RENAME, is_image_by_content, note_left_out
from trainables.data.sources.patient_table import TABLE_NAME, PatientTable, check_other_tables, find_table
from trainables.data.sources.split_words import (
    EXTRA_WORDS,
    TEST_WORDS,
    VALIDATION_WORDS,
    extra_part,
    marked_test_part,
)
from trainables.data.sources.upper_folders import UpperImage, check_patients, parts_in


@dataclass(frozen=True, slots=True)
class _Entry:
    """One image file with the label code that follows from its path, and the class folder it is in."""

    file: Path
    code: int
    place: ClassFolder


def load_folder(data: str, task: Task, stated: Stated) -> tuple[ImageFiles, list[str]]:
    """List the image files of class folders; they are read afterwards, one by one.

    Args:
        data: Path of the folder.
        task: Task, whose class names are folder names.
        stated: What the user says; without label codes 0 and 1 as folder names are the task's classes.

    Returns:
        The files, ordered by path, and messages on what was decided or left out.

    Raises:
        DataError: If folder names, files or `patients.csv` cannot be used, or leave open what is meant.
        OneClassError: If there is a single class folder.
    """
    root, notes = Path(data), list[str]()
    known = {name for book in code_books(task, stated.label_codes) for name in book.code_of_name}
    base = enter_only_folder(root, lambda name: plain_name(name) in known, notes)
    found_places = find_class_folders(base, lambda name: plain_name(name) in known, notes)
    names = _class_names_of(base, found_places, task, stated.label_codes)
    places = _with_a_part(found_places, names, task, notes)
    table = find_table(root) or (None if base == root else find_table(base))
    by_table = None if table is None else PatientTable.read(table, notes)
    entries = _entries(places, names, base, by_table, notes)
    has_parts = any(entry.place.part for entry in entries)
    knows_parts = has_parts or (by_table is not None and bool(by_table.part_of_name))
    check_other_tables(root, table, notes, knows_parts=knows_parts)
    patients = _patients(entries, by_table, base, stated, notes)
    book = f"those of task {task.name}" if task.is_own else names.label_codes
    notes.append(f"label codes: {book} (from the folder names)")
    note_left_out(root, base, [place.path for place in found_places], _read_files(entries, table), notes)
    found = ImageFiles(
        files=tuple(entry.file for entry in entries),
        names=tuple(entry.file.relative_to(base).as_posix() for entry in entries),
        labels=np.array([entry.code for entry in entries], dtype=np.int64),
        label_codes=names.label_codes,
        patients=patients,
        is_test=_test_part(entries, by_table, notes),
        is_extra=_extra_part(entries, by_table, notes),
        source=root.name,
    )
    return found, notes


def holds_classes_of(root: Path, task: Task) -> bool:
    """Tell whether a folder was sorted by the user into the classes of a task.

    Its visible folders are class folders, at least two, with images in them; and either a table of patients
    lies beside them, or the task is the user's own and has classes that no built-in task has, so that the
    labels of no published collection answer it.

    Args:
        root: Folder that the user names.
        task: Task, whose class names are folder names.
    """
    if not root.is_dir():
        return False
    known = {name for book in code_books(task, None) for name in book.code_of_name}
    folders = [one for one in root.iterdir() if one.is_dir() and not is_hidden(one)]
    folders = [one for one in folders if not is_companion_folder(one.name)]
    if len(folders) < 2 or not all(plain_name(one.name) in known and images_in(one) for one in folders):
        return False
    built_in = {plain_name(name) for one in TASKS.values() for name in (*one.classes, *FINDINGS)}
    return (root / TABLE_NAME).is_file() or not {plain_name(name) for name in task.classes} <= built_in


def _class_names_of(
    base: Path, places: Sequence[ClassFolder], task: Task, given: LabelCodes | None
) -> ClassNames:
    if not places:
        raise DataError(
            f"{base} must hold class folders ({expected_names(task)}) with images; it holds no folder"
        )
    names = class_names(_named(places, task, given), task, given)
    folders = [_class_of(place, names) for place in places]
    kept = [folder for folder in folders if names.code(folder) != LEFT_OUT]
    if len({names.code(folder) for folder in kept}) < 2:
        only = f"only one class folder, {kept[0].name}" if kept else "no class folder of the task"
        raise OneClassError(f"{base} holds {only}; task {task.name} needs {' and '.join(task.classes)}")
    return names


def _with_a_part(
    places: Sequence[ClassFolder], names: ClassNames, task: Task, notes: list[str]
) -> list[ClassFolder]:
    """The class folders without those that an own task leaves out."""
    folders = [_class_of(place, names) for place in places]
    has_part = [names.code(folder) != LEFT_OUT for folder in folders]
    kept = [place for place, is_kept in zip(places, has_part, strict=True) if is_kept]
    left_out = sorted({folder.name for folder, is_kept in zip(folders, has_part, strict=True) if not is_kept})
    if left_out:
        notes.append(f"left out, as task {task.name} says: class folders {', '.join(left_out)}")
    return kept


def _named(places: Sequence[ClassFolder], task: Task, given: LabelCodes | None) -> list[Path]:
    """The folders that must be named after classes: where parts lie below the classes, their parents."""
    known = {name for book in code_books(task, given) for name in book.code_of_name}
    return [_class_folder(place, known) for place in places]


def _class_folder(place: ClassFolder, known: set[str]) -> Path:
    is_part_below = place.part and place.upper is None and place.path.name.lower() == place.part
    return place.path.parent if is_part_below and plain_name(place.path.parent.name) in known else place.path


def _class_of(place: ClassFolder, names: ClassNames) -> Path:
    return _class_folder(place, set(names.code_of_name))


def _entries(
    places: Sequence[ClassFolder],
    names: ClassNames,
    base: Path,
    by_table: PatientTable | None,
    notes: list[str],
) -> list[_Entry]:
    """The images of all class folders, without masks and other companions.

    Images deeper than the class folders are among them if the table of patients names them.
    """
    entries, companions = list[_Entry](), list[Path]()
    for place in places:
        deeper = [] if by_table is None else [f for f in images_below(place.path) if by_table.has_row(f)]
        files = images_in(place.path) + deeper
        _check_links(files, place.path)
        if not files and place.upper is None:
            raise DataError(_about_empty(place.path))
        found = sort_out(files)
        _check_doubtful(found.doubtful, base)
        companions += found.companions
        code = names.code(_class_of(place, names))
        entries += [_Entry(file, code, place) for file in found.images]
    if companions:
        notes.append(
            f"left out as masks or other companions of an image: {len(companions)}, such as "
            f"{companions[0].relative_to(base).as_posix()}"
        )
    if not entries:
        raise DataError(f"the class folders below {base} must hold images; they hold none")
    return entries


def _check_links(files: Sequence[Path], folder: Path) -> None:
    broken = [file for file in files if not file.exists()]
    if broken:
        raise DataError(
            f"{len(broken)} of {len(files)} images in {folder} are links to files that are not there, "
            f"such as {broken[0].name} to {broken[0].readlink()}; fetch them (git annex get, dvc pull) or "
            "mount their disk, or remove the links"
        )


def _about_empty(folder: Path) -> str:
    deeper = images_below(folder)
    if deeper:
        return (
            f"class folder {folder} must hold {FORMATS_IN_WORDS} images itself; {len(deeper)} lie deeper, "
            f"such as {deeper[0].relative_to(folder.parent).as_posix()}: move them up, name their "
            "patients in patients.csv"
        )
    unnamed = sorted(filter(is_image_by_content, folder.iterdir()))
    if unnamed:
        return (
            f"class folder {folder} must hold files named as {FORMATS_IN_WORDS} images; {len(unnamed)} are "
            f"images by their content, such as {unnamed[0].name}: {RENAME}"
        )
    return f"class folder {folder} must hold {FORMATS_IN_WORDS} images; it holds none"


def _check_doubtful(files: Sequence[Path], base: Path) -> None:
    if files:
        listed = ", ".join(file.relative_to(base).as_posix() for file in files[:4])
        raise DataError(
            f"{count_text(len(files), 'file')} may be masks or second copies and not images of their own: "
            f"{listed}{', ...' if len(files) > 4 else ''}; move them out of the class folders, or give "
            "them names of their own if they are images"
        )


def _patients(
    entries: Sequence[_Entry],
    by_table: PatientTable | None,
    base: Path,
    stated: Stated,
    notes: list[str],
) -> TextArray | None:
    """Patients by the table, else by the folders above the class folders, else None."""
    upper = [entry.place.upper for entry in entries]
    if stated.upper_folders is not None and not any(upper):
        raise DataError(
            f"--upper-folders {stated.upper_folders} was said, but no folders lie above the class folders of "
            f"{base}; leave it out"
        )
    parts = parts_in(sorted({folder.name for folder in upper if folder is not None}))
    if by_table is not None:
        if parts and not by_table.part_of_name:
            raise DataError(
                f"the folders {', '.join(parts)} of {base} may be parts of a split; call them train, val, "
                f"test or extra, or name the parts in a column split of {by_table.path.name}"
            )
        return by_table.patients_of([entry.file for entry in entries], notes)
    if stated.upper_folders == "other":
        if parts:
            notes.append(f"the folders {', '.join(parts)} are not read as parts of a split")
        return None
    if not any(upper):
        return None
    if len(set(upper)) == 1:
        return None  # one folder around all class folders is no patient
    folders = defaultdict(list)
    for entry in entries:
        if entry.place.upper is not None:
            folders[entry.place.upper.name].append(UpperImage(entry.code, entry.file.stem))
    if stated.upper_folders is None:
        check_patients(folders)
    _check_all_have_a_patient(entries, base)
    notes.append(f"patients: the {len(folders)} folders of {base.name}")
    names = [unicodedata.normalize("NFC", folder.name) for folder in upper if folder is not None]
    check_spellings(names, f"the folders of {base.name}")
    return np.array(names)


def _check_all_have_a_patient(entries: Sequence[_Entry], base: Path) -> None:
    """Refuse a part of a split without folders of patients beside one that has them."""
    without = [entry for entry in entries if entry.place.upper is None]
    if without:
        raise DataError(
            f"{count_text(len(without), 'image')} of {base} lie in no folder of a patient, such as "
            f"{without[0].file.relative_to(base).as_posix()}, and the others do, so that it is not known "
            "whether patients are in several parts: name the patient of each image in patients.csv "
            "(file,patient), or say --upper-folders other if patients are not known"
        )


def _read_files(entries: Sequence[_Entry], table: Path | None) -> set[Path]:
    return {entry.file for entry in entries} | ({table} if table is not None else set())


def _test_part(
    entries: Sequence[_Entry], by_table: PatientTable | None, notes: list[str]
) -> BoolArray | None:
    """True for the images below `test`, or that the table marks as test; None where there are none."""
    if by_table is not None and by_table.part_of_name:
        words = by_table.parts_of([entry.file for entry in entries])
        _check_against_folders(entries, words, by_table)
        return marked_test_part(words, f"the column split of {by_table.path.name}", notes)
    parts = [entry.place.part for entry in entries]
    validation = sum(part in VALIDATION_WORDS for part in parts)
    if validation:
        notes.append(
            f"the {validation} images of the folder for validation belong to the training part, whose "
            "folds are cut anew"
        )
    is_test = np.array([part in TEST_WORDS for part in parts])
    if not is_test.any():
        return None
    notes.append(f"the {int(is_test.sum())} images of the test folder are the sealed test part")
    return is_test


def _check_against_folders(entries: Sequence[_Entry], words: Sequence[str], by_table: PatientTable) -> None:
    """Refuse a table that puts an image into another part than its folder; validation is training."""
    for entry, word in zip(entries, words, strict=True):
        folder, told = entry.place.part, word.strip().lower()
        if folder and any((folder in own) != (told in own) for own in (TEST_WORDS, EXTRA_WORDS)):
            raise DataError(
                f"{by_table.path} says {word} for {entry.file.name}, which lies below {folder}; correct its "
                "column split or the folders, or leave that column out"
            )


def _extra_part(
    entries: Sequence[_Entry], by_table: PatientTable | None, notes: list[str]
) -> BoolArray | None:
    """True for the images below `extra`, or that the table marks as extra; None where there are none."""
    if by_table is not None and by_table.part_of_name:
        words = by_table.parts_of([entry.file for entry in entries])
        return extra_part(words, f"the column split of {by_table.path.name}", notes)
    return extra_part([entry.place.part for entry in entries], "the layout of folders", notes)


FOLDER = Source("folder", load_folder, "a folder of class folders with images", Path.is_dir)
