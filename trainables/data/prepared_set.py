"""A prepared set on the disk: images as one memory-mapped array, a table of what is known, and its papers.

SET/set.json           what it is: collection, choices, settings, counts, licence, versions, fingerprint
SET/images.npy         images, shape (N, H, W) or (N, H, W, 3), uint8 or uint16
SET/masks.npy          outlines of findings, 0 or 255, shape (N, H, W), where there are some
SET/examples.parquet   one row an image; what is unknown is null
SET/problems.csv       what was not used, each with its reason
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.types import IntArray
from trainables.config.tasks import StoredCodes
from trainables.data.columns import EXTRA_COLUMN, Columns
from trainables.data.declared_steps import steps_of
from trainables.data.declared_whites import whites_of
from trainables.data.from_files import from_files_of
from trainables.data.parquet import read_parquet, write_parquet
from trainables.data.patches import NO_PARTNER, PixelArray, RawPatches

FORMAT: Final = 1
FACTS_FILE: Final = "set.json"
IMAGES_FILE: Final = "images.npy"
MASKS_FILE: Final = "masks.npy"
TABLE_FILE: Final = "examples.parquet"
PROBLEMS_FILE: Final = "problems.csv"

# Columns of the table that are parts of a set by themselves, or say where on the disk an image lay.
# The frame is one where regions are cut from it.
_NO_COLUMNS: Final = frozenset({"label", "patient", "is_test", "partner", "frame"})


@dataclass(frozen=True, slots=True)
class PreparedSet:
    """A prepared set that is open.

    Attributes:
        folder: Its folder.
        images: Images, memory-mapped read-only, shape (N, H, W) or (N, H, W, 3), uint8 or uint16.
        masks: Outlines of findings, 0 or 255, shape (N, H, W), memory-mapped; None where there are none.
        table: Column -> value of each image, None where unknown.
        facts: What `set.json` holds.
    """

    folder: Path
    images: PixelArray
    masks: NDArray[np.uint8] | None
    table: Mapping[str, Sequence[Any]]
    facts: Mapping[str, Any]

    @property
    def label_codes(self) -> StoredCodes:
        """Code book of the labels."""
        codes: StoredCodes = self.facts["label_codes"]
        return codes

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes where labels are class indices; empty where they are codes of findings."""
        return tuple(self.facts["classes"])

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of pixels and table, as of a patch set."""
        return str(self.facts["fingerprint"])

    def as_patches(self) -> RawPatches:
        """Return the set as patches, whose images may be shared with the store."""
        raw = raw_patches(
            self.images,
            self.table,
            self.label_codes,
            source=str(self.facts["collection"]),
            max_value=float(self.facts["max_value"]),
            shared_file=self.folder / IMAGES_FILE,
            preparation=steps_of(self.facts),
        )
        return replace(
            raw,
            whites_of_16=whites_of(self.facts) or (),
            from_files=from_files_of(self.facts, self.table),
        )


def is_prepared_set(folder: Path) -> bool:
    """True for the folder of a prepared set."""
    return (folder / FACTS_FILE).is_file() and (folder / IMAGES_FILE).is_file()


def open_prepared_set(folder: Path) -> PreparedSet:
    """Open a prepared set.

    Raises:
        DataError: If there is none, it was written by a later version, or its files are damaged.
    """
    if not is_prepared_set(folder):
        raise DataError(
            f"{folder} is no prepared set; it must hold {FACTS_FILE} and {IMAGES_FILE}, which "
            "`orchestrate data prepare` writes"
        )
    try:
        facts = json.loads((folder / FACTS_FILE).read_text())
        if facts["format"] > FORMAT:
            raise DataError(
                f"{folder} has the format {facts['format']} of a later version; this one reads {FORMAT}"
            )
        images = np.load(folder / IMAGES_FILE, mmap_mode="r", allow_pickle=False)
        masks = folder / MASKS_FILE
        outlines = np.load(masks, mmap_mode="r", allow_pickle=False) if masks.is_file() else None
        table = read_parquet(folder / TABLE_FILE)
        _check_rows(table, images)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DataError(f"the prepared set {folder} is damaged ({error}); prepare it again") from error
    return PreparedSet(folder, images, outlines, table, facts)


def _check_rows(table: Mapping[str, Sequence[Any]], images: PixelArray) -> None:
    if len(table["name"]) != len(images):
        raise ValueError(f"{len(table['name'])} rows for {len(images)} images")


def raw_patches(
    images: PixelArray,
    table: Mapping[str, Sequence[Any]],
    label_codes: StoredCodes,
    *,
    source: str,
    max_value: float,
    shared_file: Path | None = None,
    preparation: Mapping[str, Any] | None = None,
) -> RawPatches:
    """Return images and a table as patches.

    Args:
        images: Shape (N, H, W) or (N, H, W, 3).
        table: Column -> value of each image, None where unknown; `name` and `label` are needed.
        label_codes: Code book of the labels.
        source: Readable name.
        max_value: Brightest value that an image can hold.
        shared_file: File of the images, which the store may link to.
        preparation: Steps by which whole mammograms were made ready, as plain values; None for none.
    """
    return RawPatches(
        images=images,
        labels=np.asarray(table["label"], dtype=np.int64),
        label_codes=label_codes,
        patients=_patients(table),
        partners=_partners(table),
        is_test=_flags(table.get("is_test")),
        is_extra=_extra(table),
        source=source,
        max_value=max_value,
        columns=_columns(table),
        shared_file=shared_file,
        preparation=preparation,
    )


def _patients(table: Mapping[str, Sequence[Any]]) -> NDArray[np.str_] | None:
    """Patients; an image of nobody known is a patient of its own, of which `note_patient_gaps` warns."""
    patients = table.get("patient")
    if patients is None or all(one is None for one in patients):
        return None
    names = table["name"]
    return np.array(
        [f"unknown, {name}" if one is None else one for name, one in zip(names, patients, strict=True)]
    )


def _partners(table: Mapping[str, Sequence[Any]]) -> IntArray | None:
    partners = table.get("partner")
    if partners is None or all(one is None for one in partners):
        return None
    row_of = {name: row for row, name in enumerate(table["name"])}
    return np.array([row_of.get(one, NO_PARTNER) for one in partners], dtype=np.int64)


def _flags(values: Sequence[Any] | None) -> NDArray[np.bool_] | None:
    return np.array([bool(one) for one in values]) if values is not None and any(values) else None


def _extra(table: Mapping[str, Sequence[Any]]) -> NDArray[np.bool_] | None:
    """Images that train in every fold and are never scored; numbers or texts of that name are no flags."""
    values = table.get(EXTRA_COLUMN)
    return _flags(values) if values is not None and _are_flags(values) else None


def _are_flags(values: Sequence[Any]) -> bool:
    return all(value is None or isinstance(value, bool) for value in values)


def _has_regions_of_frames(table: Mapping[str, Sequence[Any]]) -> bool:
    """True where regions are cut from several images of one file, so that the frame says from which."""
    sides = [table.get(name) for name in ("box_width", "width_px", "box_height", "height_px")]
    if not any(table.get("frame") or ()) or any(side is None for side in sides):
        return False
    return any(
        (wide, high) != (all_wide, all_high)
        for wide, all_wide, high, all_high in zip(*(side or () for side in sides), strict=True)
    )


def _columns(table: Mapping[str, Sequence[Any]]) -> Columns | None:
    left_out = _NO_COLUMNS - {"frame"} if _has_regions_of_frames(table) else _NO_COLUMNS
    kept = {
        name: _column(values)
        for name, values in table.items()
        if name not in left_out
        and any(value is not None for value in values)
        and not (name == EXTRA_COLUMN and _are_flags(values))
    }
    return kept or None


def _column(values: Sequence[Any]) -> NDArray[Any]:
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else str(value) for value in values], dtype=np.str_)
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)


def write_table(table: Mapping[str, Sequence[Any]], folder: Path) -> None:
    """Write the table of a set as Parquet; a column without a value is text.

    Raises:
        OSError: If it cannot be written.
    """
    write_parquet(table, folder / TABLE_FILE)
