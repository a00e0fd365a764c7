"""Patch sets: labelled images in one fixed form, stored once and read memory-mapped.

Whatever the data source, all later steps read `<folder>/<fingerprint>/images.npy`. The fingerprint identifies
the content, so two runs on the same data share one copy, and a split names the data that it belongs to. In
place of images a set may hold a table with one row of measurements per example.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.files import folder_in_progress, replace_folder, write_atomically
from trainables.common.progress import worked
from trainables.common.types import IntArray
from trainables.config.tasks import LEFT_OUT, StoredCodes, Task
from trainables.data.beside_content import add_to_stored, beside_content
from trainables.data.columns import (
    COLUMNS_FILE,
    Columns,
    checked_columns,
    columns_digest,
    read_columns,
    write_columns,
)
from trainables.data.declared_whites import WHITES
from trainables.data.from_files import FROM_FILES, FromFiles
from trainables.data.group_names import named_by_rows
from trainables.data.pixel_range import FULL_RANGES

PixelArray: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
TextArray: TypeAlias = NDArray[np.str_]
BoolArray: TypeAlias = NDArray[np.bool_]

NO_PARTNER: Final = -1  # a row without a baseline partner
_BLOCK_BYTES: Final = 16 * 2**20
_OPTIONAL: Final = ("patients", "partners", "is_test", "is_extra", "duplicate_of")


@dataclass(frozen=True, slots=True)
class RawPatches:
    """Checked arrays from a data source, not yet stored.

    Attributes:
        images: Images, shape (N, H, W) or (N, H, W, 3); uint8, uint16 or float32 in [0, 1]. Or a table of
            measurements, shape (N, columns), float32, any finite range.
        labels: Label codes, int64, shape (N,).
        label_codes: Name of the code book of the labels.
        patients: Patient of each row, shape (N,), or None where the source has none.
        partners: Row of the baseline partner or `NO_PARTNER`, int64, shape (N,), or None.
        is_test: True for rows of the source's own test set, shape (N,), or None.
        is_extra: True for rows that train in every fold and are never scored, shape (N,), or None.
        source: Readable name, such as "phantom" or "infn.npz".
        is_synthetic: True where the images are generated.
        max_value: Pixel value that becomes 1.0, where it is not the largest of the number type; else None.
        duplicate_of: Row of the first image with the same pixels or `NO_PARTNER`, int64, shape (N,); None
            where no picture is there twice.
        file: The `.npy` file that `images` are mapped from, if the store may take it over; else None.
        columns: What else is known about each image, such as `view` and `age_years`: column -> text,
            "" where unknown, or numbers, NaN where unknown, shape (N,). None where nothing is known.
        shared_file: The `.npy` file that `images` are mapped from, if the store may link to it; else None.
        preparation: Steps by which whole mammograms were made ready, as plain values; None for none.
        whites_of_16: White of the images of 16 bits whose files do not state it, before they were scaled to
            `max_value`, see `whites_of`; empty where there are none, or it is not known.
        from_files: Sizes of the files, and how images were resized; None where it is not known.
    """

    images: PixelArray
    labels: IntArray
    label_codes: StoredCodes
    patients: TextArray | None = None
    partners: IntArray | None = None
    is_test: BoolArray | None = None
    is_extra: BoolArray | None = None
    source: str = "arrays"
    is_synthetic: bool = False
    max_value: float | None = None
    duplicate_of: IntArray | None = None
    file: Path | None = None
    columns: Columns | None = None
    shared_file: Path | None = None
    preparation: Mapping[str, Any] | None = None
    whites_of_16: tuple[float, ...] = ()
    from_files: FromFiles | None = None


@dataclass(frozen=True, slots=True)
class PatchSet:
    """Labelled patches in the store. Arrays are read-only; the images are memory-mapped.

    Attributes:
        images: Images, shape (N, H, W) or (N, H, W, 3); uint8, uint16 or float32 in [0, 1]. Or a table of
            measurements, shape (N, columns), float32, any finite range.
        labels: Label codes, int64, shape (N,).
        label_codes: Name of the code book of the labels.
        patients: Patient of each row, shape (N,), or None where the source has none.
        partners: Row of the baseline partner or `NO_PARTNER`, int64, shape (N,), or None.
        is_test: True for rows of the source's own test set, shape (N,), or None.
        is_extra: True for rows that train in every fold and are never scored, shape (N,), or None.
        source: Readable name of the data source.
        is_synthetic: True where the images are generated.
        fingerprint: SHA-256, in hex, of pixels, labels, patients, partners and test rows.
        max_value: Pixel value that becomes 1.0: the largest that an image of the set can hold, such as 255,
            4095 or 65535; 1 for floats and for a table, whose values are not scaled.
        duplicate_of: Row of the first image with the same pixels or `NO_PARTNER`, int64, shape (N,); None
            where no picture is there twice.
        names: Name of each image for messages, such as its path below the folder; not stored, so empty for a
            set that was opened from the store, and where images have no names.
        file_shapes: Height and width of each image in its file, before it was resized, shape (N, 2); likewise
            not stored, and None where images are no files.
        columns: What else is known about each image: column -> text, "" where unknown, or float64, NaN where
            unknown, shape (N,). None where nothing is known.
        preparation: Steps by which whole mammograms were made ready, as plain values, which a prediction
            needs, too; None for none. They are no part of the fingerprint, as the pixels are.
        whites_of_16: White of the images of 16 bits whose files do not state it, before they were scaled to
            `max_value`, see `whites_of`; empty where there are none, or it is not known. Likewise no part of
            the fingerprint.
        from_files: Sizes of the files, and how images were resized, which a prediction repeats; None where
            images are no files, or it is not known. Likewise no part of the fingerprint.
    """

    images: PixelArray
    labels: IntArray
    label_codes: StoredCodes
    patients: TextArray | None
    partners: IntArray | None
    is_test: BoolArray | None
    source: str
    is_synthetic: bool
    fingerprint: str
    max_value: float
    duplicate_of: IntArray | None = None
    is_extra: BoolArray | None = None
    names: tuple[str, ...] = ()
    file_shapes: IntArray | None = None
    columns: Columns | None = None
    preparation: Mapping[str, Any] | None = None
    whites_of_16: tuple[float, ...] = ()
    from_files: FromFiles | None = None

    @property
    def is_table(self) -> bool:
        """True where rows are measurements and not images."""
        return self.images.ndim == 2

    @property
    def channels(self) -> int:
        """Number of channels: 3 for RGB images, 1 for grey ones and for a table."""
        return 3 if self.images.ndim == 4 else 1

    def drawn_as(self, rows: IntArray) -> IntArray:
        """Row that seeds the random views of each row; it is the same for both images of a pair.

        Args:
            rows: Rows of the patch set, shape (n,).

        Returns:
            The baseline's row for images that have one, else the row itself, shape (n,).
        """
        if self.partners is None:
            return rows
        return np.where(self.partners[rows] == NO_PARTNER, rows, self.partners[rows])


@dataclass(frozen=True, slots=True)
class TaskRows:
    """The rows of a patch set that have a part in a task.

    Attributes:
        rows: Rows of the patch set, ascending, int64, shape (n,).
        labels: Class indices, int64, shape (n,).
        groups: Group of each row, shape (n,), which a split keeps whole: the patient; without patients
            `row-<k>`, where a baseline and its abnormalities share the smallest of their rows. Patients that
            share a picture are one group, named after the one whose row comes first; so are such rows.
        is_test: True for rows of the source's own test set, shape (n,), or None.
        is_grouped: True where the groups are patients.
        is_extra: True for rows that train in every fold and are never scored, shape (n,), or None.
        units: Unit that each row is scored in, any whole numbers, shape (n,), see `trainables.data.units`;
            None for single images, and where a split need not know.
        patients: Patient of each row, shape (n,), where some share a picture, so that a group may be of
            several; None where the groups are the patients, or these are not known.
    """

    rows: IntArray
    labels: IntArray
    groups: TextArray
    is_test: BoolArray | None
    is_grouped: bool
    is_extra: BoolArray | None = None
    units: IntArray | None = None
    patients: TextArray | None = None


def select_rows(patch_set: PatchSet, task: Task) -> TaskRows:
    """Return the rows that have a part in a task, with class indices and groups.

    Raises:
        DataError: If a label is outside the code book.
        OneClassError: If fewer than two classes remain.
    """
    classes = task.classify(patch_set.labels, patch_set.label_codes)
    rows = np.flatnonzero(classes != LEFT_OUT).astype(np.int64)
    return TaskRows(
        rows=rows,
        labels=classes[rows],
        groups=_groups(patch_set)[rows],
        is_test=None if patch_set.is_test is None else patch_set.is_test[rows],
        is_grouped=patch_set.patients is not None,
        is_extra=None if patch_set.is_extra is None else patch_set.is_extra[rows],
        patients=None
        if patch_set.patients is None or patch_set.duplicate_of is None
        else patch_set.patients[rows],
    )


def store_patch_set(raw: RawPatches, folder: Path) -> PatchSet:
    """Store patches as `<folder>/<fingerprint>/`, or reuse the copy that is there.

    The copy is written under a temporary name and renamed, so it is whole or not there at all; several
    processes may store the same set at once. A damaged copy is replaced. Steps of preparation, whites of 16
    bits and sizes of files that the copy does not know, or knows otherwise, are written down with it; a set
    without them leaves them as they are.

    Raises:
        DataError: If the arrays do not fit together.
        OSError: If the folder cannot be written.
    """
    raw = _checked(raw)
    fingerprint = fingerprint_of(raw)
    try:
        stored = open_patch_set(folder, fingerprint)
    except DataError:
        _write(raw, fingerprint, folder)
        stored = open_patch_set(folder, fingerprint)
    said, known = (beside_content(one.preparation, one.whites_of_16, one.from_files) for one in (raw, stored))
    if known | said != known:
        add_to_stored(said, folder / fingerprint)
        stored = open_patch_set(folder, fingerprint)
    # The same content may come from another source than the stored copy did.
    return replace(stored, source=raw.source, is_synthetic=raw.is_synthetic)


def open_patch_set(folder: Path, fingerprint: str) -> PatchSet:
    """Open a stored patch set; its images are memory-mapped read-only.

    Raises:
        DataError: If it is not there, or its files are damaged.
    """
    place = folder / fingerprint
    if not (place / "meta.json").is_file():
        raise DataError(
            f"no stored patch set {fingerprint[:12]} in {folder}; load the data again to store it there"
        )
    try:
        meta = json.loads((place / "meta.json").read_text())
        arrays = {name: np.load(place / f"{name}.npy", allow_pickle=False) for name in meta["arrays"]}
        images = np.load(place / "images.npy", mmap_mode="r", allow_pickle=False)
        _check_stored(images, arrays, meta)
        columns = _stored_columns(place, meta)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise DataError(
            f"stored patch set {place} is damaged ({error}); delete that folder and load the data again"
        ) from error
    return PatchSet(
        images=images,
        labels=arrays["labels"],
        label_codes=meta["label_codes"],
        patients=arrays.get("patients"),
        partners=arrays.get("partners"),
        is_test=arrays.get("is_test"),
        source=meta["source"],
        is_synthetic=meta["is_synthetic"],
        fingerprint=fingerprint,
        max_value=meta.get("max_value") or FULL_RANGES[images.dtype.name],
        duplicate_of=arrays.get("duplicate_of"),
        is_extra=arrays.get("is_extra"),
        columns=columns,
        preparation=meta.get("preparation"),
        whites_of_16=tuple(meta.get(WHITES, ())),
        from_files=FromFiles(**meta[FROM_FILES]) if FROM_FILES in meta else None,
    )


def fingerprint_of(raw: RawPatches) -> str:
    """Return the SHA-256, in hex, of everything that identifies the data of a set.

    Pixels are read in blocks, so a memory-mapped array is never held in memory as a whole.

    >>> grey = np.zeros((2, 4, 4), np.uint8)
    >>> one = fingerprint_of(RawPatches(grey, np.array([0, 1]), "task"))
    >>> other = fingerprint_of(RawPatches(grey, np.array([1, 0]), "task"))
    >>> len(one), one == other
    (64, False)
    """
    digest = hashlib.sha256()
    head = [raw.images.dtype.newbyteorder("<").str, list(raw.images.shape), raw.label_codes]
    # What most sets lack is left out, so that their fingerprints are those of earlier versions.
    known = {
        "max_value": _own_range(raw),
        "duplicate_of": raw.duplicate_of is not None or None,
        "is_extra": None if raw.is_extra is None else raw.is_extra.tolist(),
        "columns": _columns_digest(raw),
    }
    head += [[name, value] for name, value in known.items() if value is not None]
    rest = [raw.labels, raw.patients, raw.partners, raw.is_test]
    text = json.dumps([*head, *(None if array is None else array.tolist() for array in rest)])
    digest.update(text.encode())
    for block in _blocks(raw.images):
        digest.update(np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("<")).data)
        worked()  # a worker that compares a large set is not taken for hung
    return digest.hexdigest()


def _columns_digest(raw: RawPatches) -> str | None:
    return columns_digest(checked_columns(raw.columns, len(raw.images))) if raw.columns else None


def _blocks(images: PixelArray) -> Iterator[NDArray[Any]]:
    rows = max(1, _BLOCK_BYTES // max(1, images[:1].nbytes))
    for start in range(0, len(images), rows):
        yield images[start : start + rows]


def _own_range(raw: RawPatches) -> float | None:
    """The largest value of a set whose range is not that of its number type, else None."""
    return None if raw.max_value == FULL_RANGES.get(raw.images.dtype.name) else raw.max_value


def _groups(patch_set: PatchSet) -> TextArray:
    groups = _own_groups(patch_set)
    if patch_set.duplicate_of is None:
        return groups
    return _tied(groups, patch_set.duplicate_of)


def _tied(groups: TextArray, duplicate_of: IntArray) -> TextArray:
    """Join the groups that share a picture; each gets the name of the one whose row comes first."""
    names, first_rows, group = np.unique(groups, return_index=True, return_inverse=True)
    leader = list(range(len(names)))

    def lead(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    for row in np.flatnonzero(duplicate_of != NO_PARTNER):
        one, other = lead(int(group[row])), lead(int(group[duplicate_of[row]]))
        first, last = sorted((one, other), key=lambda index: first_rows[index])
        leader[last] = first
    return names[[lead(int(index)) for index in group]]


def _own_groups(patch_set: PatchSet) -> TextArray:
    if patch_set.patients is not None:
        return patch_set.patients
    own = np.arange(len(patch_set.labels), dtype=np.int64)
    if patch_set.partners is None:
        smallest = own
    else:
        baseline = np.where(patch_set.partners == NO_PARTNER, own, patch_set.partners)
        smallest = own.copy()
        np.minimum.at(smallest, baseline, own)
        smallest = smallest[baseline]
    return named_by_rows(smallest.tolist())


def _checked(raw: RawPatches) -> RawPatches:
    """Check that arrays fit together; columns become text and float64, or None where there is none."""
    for name in ("labels", *_OPTIONAL):
        array = getattr(raw, name)
        if array is not None and array.shape != (len(raw.images),):
            raise DataError(
                f"{name} must be one value an image, shape ({len(raw.images)},), but has shape {array.shape}"
            )
    if raw.images.ndim == 2:
        _check_table(raw.images)
    elif raw.images.dtype.name not in FULL_RANGES or raw.images.ndim not in (3, 4):
        raise DataError(
            f"images must be (N, H, W) or (N, H, W, 3) of {', '.join(FULL_RANGES)}, "
            f"found {raw.images.shape} of {raw.images.dtype}"
        )
    columns = checked_columns(raw.columns, len(raw.images)) if raw.columns else None
    return replace(raw, columns=columns)


def _check_table(table: PixelArray) -> None:
    if table.dtype != np.float32 or table.shape[1] == 0:
        raise DataError(
            f"a table must be (N, columns) of float32 with at least one column, found {table.shape} of "
            f"{table.dtype}"
        )
    rows = np.flatnonzero(~np.isfinite(table).all(axis=1))
    if len(rows):
        raise DataError(
            f"a table must hold finite numbers only; {len(rows)} of {len(table)} rows do not, the first is "
            f"row {rows[0]}: fill the gaps or leave those rows out"
        )


def _check_stored(images: PixelArray, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
    found = {"images": images, **arrays}
    for name, expected in {"images": meta["images"], **meta["arrays"]}.items():
        described = _description(found[name])
        if described != expected:
            raise ValueError(f"{name}.npy holds {described}, not {expected}")
    for array in arrays.values():
        array.flags.writeable = False


def _stored_columns(place: Path, meta: dict[str, Any]) -> Columns | None:
    if "columns" not in meta:
        return None
    columns = read_columns(place / COLUMNS_FILE)
    if columns_digest(columns) != meta["columns"]:
        raise ValueError(f"{COLUMNS_FILE} has been changed")
    return columns


def _description(array: NDArray[Any]) -> list[Any]:
    return [array.dtype.str, list(array.shape)]


def _write(raw: RawPatches, fingerprint: str, folder: Path) -> None:
    with folder_in_progress(folder / fingerprint) as temporary:
        _write_files(raw, temporary)
        _move_into_place(temporary, folder / fingerprint)


def _write_files(raw: RawPatches, folder: Path) -> None:
    arrays = {name: array for name in ("labels", *_OPTIONAL) if (array := getattr(raw, name)) is not None}
    if raw.file is None:
        arrays_to_write = {"images": raw.images, **arrays}
    else:
        arrays_to_write = arrays
        shutil.move(raw.file, folder / "images.npy")
    for name, array in arrays_to_write.items():
        with (folder / f"{name}.npy").open("wb") as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
    meta = {
        "label_codes": raw.label_codes,
        "source": raw.source,
        "is_synthetic": raw.is_synthetic,
        "max_value": _own_range(raw),
        "images": _description(raw.images),
        "arrays": {name: _description(array) for name, array in arrays.items()},
    }
    if raw.columns:
        write_columns(raw.columns, folder / COLUMNS_FILE)
        meta["columns"] = columns_digest(raw.columns)
    meta |= beside_content(raw.preparation, raw.whites_of_16, raw.from_files)
    write_atomically(folder / "meta.json", json.dumps(meta, indent=1) + "\n")


def _move_into_place(temporary: Path, place: Path) -> None:
    try:
        temporary.rename(place)
    except OSError:
        if _is_whole(place):
            return  # another process was faster, and its copy is equal
        replace_folder(place, temporary)


def _is_whole(place: Path) -> bool:
    try:
        open_patch_set(place.parent, place.name)
    except DataError:
        return False
    return True
