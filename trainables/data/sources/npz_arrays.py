"""Arrays of an `.npz` file by their names: those that are read, near misses, and files in parts."""

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.text import size_text
from trainables.data.columns import NOT_STATED_WORDS, SIDES, decoded_text, known_text
from trainables.data.sources.npz_unread import Said, check_unread, did_you_mean_patient
from trainables.data.sources.split_words import extra_part, marked_test_part, note_validation, sealed

PARTS: Final = ("train", "val", "test")  # of a file in parts, as those of MedMNIST
_PATIENT: Final = re.compile(
    r"patients?(ids?|nos?|nrs?|numbers?|names?|codes?|keys?|uids?|identifiers?|index)?"
)
# Other words for a patient; they are used only where no array is named after patients.
_OTHER_PATIENT_NAMES: Final = frozenset(
    {"subject", "subjects", "subjectid", "subjectids", "group", "groups", "groupid", "groupids"}
    | {"case", "cases", "caseid", "caseids", "pid", "pids", "woman", "women"}
)
_TEST_NAMES: Final = frozenset({"istest", "testmask", "intest", "istestset"})
_SPLIT_NAMES: Final = frozenset({"split", "splits"})
# What names the unit of an image: its exam, its breast, and the view within it.
_COLUMN_NAMES: Final = MappingProxyType(
    {
        "exam": ("exam", "exams", "examid", "study", "studyid"),
        "laterality": ("laterality", "side", "breast"),
        "view": ("view", "views"),
    }
)
_FEWEST_GROUPS: Final = 10  # fewer values than this may be sites, views or folds as well


@dataclass(frozen=True, slots=True)
class StoredArrays:
    """The arrays of a file that are used, each under one name.

    Attributes:
        images: As stored.
        labels: As stored; (N, 1) is taken as (N,).
        patients: As stored, or None.
        patients_name: Name of the array of patients in the file.
        is_test: True for rows of the file's own test part, shape (N,), or None.
        is_extra: True for rows that train in every fold and are never scored, shape (N,), or None.
        columns: Exam, laterality and view of each image, as far as the file has them, text, "" where unknown,
            shape (N,).
    """

    images: NDArray[Any]
    labels: NDArray[Any]
    patients: NDArray[Any] | None
    patients_name: str
    is_test: NDArray[np.bool_] | None
    is_extra: NDArray[np.bool_] | None = None
    columns: Mapping[str, NDArray[np.str_]] | None = None


def read_arrays(path: Path, notes: list[str]) -> StoredArrays:
    """Read the arrays that are used, and no others, since a file may hold far more.

    Args:
        path: Path of the file.
        notes: Sentences on near misses that are used, and on the file's own test part, are added here.

    Raises:
        DataError: If the file cannot be read, an array is missing, or names leave open what is meant.
    """
    if not path.is_file() and not path.is_dir():
        raise DataError(f"{path} is not a regular file; give an .npz file that numpy.savez wrote")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            member = _Members(stored, path)
            in_parts = f"{PARTS[0]}_images" in stored.files
            found = _in_parts(member, notes) if in_parts else _in_one(member, notes)
            _check_unread(member, found, notes, in_parts=in_parts)
            return found
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and numpy have many error types and no common one
        raise DataError(
            f"{path} cannot be read as an .npz file ({error}); save it again with numpy.savez"
        ) from error


class _Members:
    """The arrays of an open file, read one by one."""

    def __init__(self, stored: Any, path: Path) -> None:
        self._stored, self.path = stored, path
        self.names: tuple[str, ...] = tuple(stored.files)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> NDArray[Any]:
        self._check_size(name)
        try:
            array = self._stored[name]
        except ValueError as error:
            raise DataError(
                f"{self.path.name}: {name} cannot be read ({error}); save plain numbers or text, not Python "
                "objects: for instance array.astype(str) for patients"
            ) from error
        except MemoryError as error:
            raise DataError(
                f"{self.path.name}: {name} needs more memory than this machine has ({error}); save it in "
                "smaller numbers, such as uint8, or give the images as files in class folders"
            ) from error
        if not isinstance(array, np.ndarray):
            raise DataError(f"{self.path.name}: {name} is not a NumPy array; save it with numpy.savez")
        self.read.add(name)
        return array

    def peek(self, name: str) -> NDArray[Any]:
        """An array that is looked at and not used."""
        array = self[name]
        self.read.discard(name)
        return array

    def _check_size(self, name: str) -> None:
        """Refuse what cannot fit into memory before it is tried, since a kernel may end the program."""
        size = next(
            (one.file_size for one in self._stored.zip.infolist() if one.filename == f"{name}.npy"), 0
        )
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if size > memory:
            raise DataError(
                f"{self.path.name}: {name} unpacks to {size_text(size)}, more than the "
                f"{size_text(memory)} of memory here; give the images as files in class folders, which "
                "are read one by one"
            )


def _in_one(member: _Members, notes: list[str]) -> StoredArrays:
    images, labels = (_required(member, name, notes) for name in ("images", "labels"))
    count = len(images) if images.ndim else 0
    name = _patients_name(member, count, notes)
    is_test, is_extra = _parts_of_rows(member, count, notes)
    patients = None if name is None else member[name]
    columns = _columns(member, count)
    return StoredArrays(images, _flat(labels), patients, name or "", is_test, is_extra, columns)


def _columns(member: _Members, count: int) -> dict[str, NDArray[np.str_]] | None:
    """What names the breast and the exam of an image: left and right as L and R, "" where unknown."""
    found = {}
    for column, names in _COLUMN_NAMES.items():
        given = next((name for name in member.names if _plain(name) in names), None)
        if given is None:
            continue
        values = known_text(_flat(member[given]), f"{member.path.name}: {given}")
        if values.shape != (count,):
            raise DataError(
                f"{member.path.name}: {given} must hold one value an image, shape ({count},), but has shape "
                f"{values.shape}"
            )
        if column == "laterality":
            values = np.array([SIDES.get(value.upper(), value) for value in values.tolist()])
        if column != "exam":  # as in a table; an exam may have any name
            values = np.where(np.isin(np.char.lower(values), NOT_STATED_WORDS), "", values)
        found[column] = values
    return found or None


def _required(member: _Members, name: str, notes: list[str]) -> NDArray[Any]:
    if name in member.names:
        return member[name]
    near = [other for other in member.names if _plain(other) in (name, name.rstrip("s"))]
    if len(near) == 1:
        notes.append(f"{name}: the array {near[0]} is used")
        return member[near[0]]
    missing = [one for one in ("images", "labels") if one not in member.names]
    raise DataError(
        f"{member.path.name} must hold the arrays images and labels; {' and '.join(missing)} missing, "
        f"found: {', '.join(member.names) or 'none'}"
    )


def _patients_name(member: _Members, count: int, notes: list[str]) -> str | None:
    """Name of the array of patients: `patient`, else one that can only mean the same.

    Raises:
        DataError: If several arrays could be meant, or one whose name or content leaves it open.
    """
    for name in ("patient", "patients"):
        if name in member.names:
            return name
    named_so = [name for name in member.names if _PATIENT.fullmatch(_plain(name))]
    others = [name for name in member.names if _plain(name) in _OTHER_PATIENT_NAMES]
    for meant in (named_so, others):
        if len(meant) > 1:
            raise did_you_mean_patient(member.path.name, meant, "could each be the patients")
        if meant:
            _check_are_patients(member, meant[0], count, is_named_so=bool(named_so))
            notes.append(f"patients: the array {meant[0]} is used")
            return meant[0]
    near = [name for name in member.names if _is_near_patient(_plain(name))]
    if near:
        raise did_you_mean_patient(
            member.path.name, near, "is not read" if len(near) == 1 else "are not read"
        )
    return None


def _is_near_patient(name: str) -> bool:
    """True for a misspelt `patient`, not for a fact about one, such as `patient_age`."""
    known = ("patient", "patients", "patientid", "patientids")
    return "patient" not in name and bool(difflib.get_close_matches(name, known, n=1, cutoff=0.75))


def _check_are_patients(member: _Members, name: str, count: int, *, is_named_so: bool) -> None:
    array = member[name]
    if is_named_so and array.shape == (count,):
        return
    found = len(np.unique(array)) if array.shape == (count,) else 0
    if found < min(_FEWEST_GROUPS, count // 2):
        what = f"holds {found} values for {count} images" if found else f"has shape {array.shape}"
        raise did_you_mean_patient(member.path.name, [name], what)


def _check_unread(member: _Members, found: StoredArrays, notes: list[str], *, in_parts: bool) -> None:
    unread = [name for name in member.names if name not in member.read]
    knows_parts = in_parts or any(_plain(name) in _TEST_NAMES | _SPLIT_NAMES for name in member.read)
    said = Said(in_parts=in_parts, knows_parts=knows_parts, knows_patients=found.patients is not None)
    check_unread(member.path.name, {name: partial(member.peek, name) for name in unread}, said)
    if found.patients is None and "exam" in (found.columns or {}):
        notes.append("exams are known and patients are not; one of several exams may be in two parts")
    if unread:
        notes.append(f"arrays that are not read: {', '.join(unread)}")


Flags = NDArray[np.bool_] | None


def _parts_of_rows(member: _Members, count: int, notes: list[str]) -> tuple[Flags, Flags]:
    """True for rows of the test part, and for extra rows; None where there are none."""
    flags = [name for name in member.names if _plain(name) in _TEST_NAMES]
    splits = [name for name in member.names if _plain(name) in _SPLIT_NAMES]
    if len(flags) + len(splits) > 1:
        raise DataError(
            f"{member.path.name}: {' and '.join(flags + splits)} could each name the test part; keep one"
        )
    if not flags + splits:
        return None, None
    (name,) = flags + splits
    array = member[name]
    if array.shape != (count,):
        raise DataError(
            f"{member.path.name}: {name} must hold one value an image: there are {count} images, and "
            f"{name} has shape {array.shape}"
        )
    if splits:
        words = decoded_text(array, f"{member.path.name}: {name}").tolist()
        return marked_test_part(words, name, notes), extra_part(words, name, notes)
    return sealed(_flags(array, name, member.path), name, notes), None


def _flags(array: NDArray[Any], name: str, path: Path) -> NDArray[np.bool_]:
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise DataError(f"{path.name}: {name} must hold true and false, or 1 and 0")
    return array.astype(bool)


def _in_parts(member: _Members, notes: list[str]) -> StoredArrays:
    """Join `train_images`, `train_labels`, `val_...` and `test_...`."""
    parts = [part for part in PARTS if f"{part}_images" in member.names]
    lacking = [f"{part}_labels" for part in parts if f"{part}_labels" not in member.names]
    if lacking:
        raise DataError(
            f"{member.path.name} holds images in parts, and {' and '.join(lacking)} missing; save labels "
            "for each"
        )
    images = [member[f"{part}_images"] for part in parts]
    if len({(one.shape[1:], one.dtype) for one in images}) > 1:
        raise DataError(
            f"{member.path.name}: the images of {' and '.join(parts)} must be alike; found "
            f"{', '.join(f'{one.shape[1:]} of {one.dtype}' for one in images)}"
        )
    labels = [_flat(member[f"{part}_labels"]) for part in parts]
    sizes = [len(one) for one in images]
    is_test = np.repeat([part == "test" for part in parts], sizes)
    if "val" in parts:
        note_validation(sizes[parts.index("val")], "val_images", notes)
    if is_test.any():
        notes.append(f"the {int(is_test.sum())} images of test_images are the sealed test part")
    patients = _patients_in_parts(member, parts)
    return StoredArrays(
        np.concatenate(images),
        np.concatenate(labels),
        patients,
        "patient of each part",
        is_test if is_test.any() else None,
    )


def _patients_in_parts(member: _Members, parts: Sequence[str]) -> NDArray[Any] | None:
    names = {
        part: next((name for name in member.names if _is_patients_of(name, part)), None) for part in parts
    }
    known = [name for name in names.values() if name is not None]
    if not known:
        return None
    if len(known) < len(parts):
        lacking = ", ".join(f"{part}_patient" for part, name in names.items() if name is None)
        raise DataError(
            f"{member.path.name} holds patients for some parts only; add {lacking}, or leave the others out"
        )
    return np.concatenate([decoded_text(member[name], f"{member.path.name}: {name}") for name in known])


def _is_patients_of(name: str, part: str) -> bool:
    plain = _plain(name)
    return plain.startswith(part) and _PATIENT.fullmatch(plain.removeprefix(part)) is not None


def _flat(labels: NDArray[Any]) -> NDArray[Any]:
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
