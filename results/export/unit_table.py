"""Which images make up a breast, exam or patient to predict: a table, folders, or DICOM headers."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from results.errors import ExportError
from results.export.image_table import ImageTable
from trainables.common.errors import DataError
from trainables.config.unit_config import UnitName
from trainables.data.columns import NOT_STATED_WORDS, SIDES
from trainables.data.dicom.headers import DicomHeader
from trainables.data.dicom.reading import is_dicom, read_headers
from trainables.data.prepared.identity import hashed

# Columns that name a unit, from the outermost to the innermost; those in the second row may be missing.
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "patient": ("patient",),
    "exam": ("exam",),
    "breast": ("laterality",),
}
_ORDER: Final = ("patient", "exam", "laterality")
# What a header must state for a unit; of the breast the examination tells whose it is.
_STATED: Final[Mapping[str, tuple[str, ...]]] = {
    "patient": ("PatientID",),
    "exam": ("StudyInstanceUID",),
    "breast": ("StudyInstanceUID", "ImageLaterality"),
}


def read_unit_table(path: Path, unit: UnitName) -> tuple[list[Path], list[str]]:
    """Read a CSV table with one row an image: `file`, and the columns that name its unit.

    A unit is named by the columns `patient`, `exam` and `laterality`, as many as are there down to its own:
    `laterality` names a breast, and needs `exam` or `patient` beside it. Files are relative to the table.

    Args:
        path: The table, as `ImageTable` reads it; a side is `L`, `R`, `left` or `right`, in any case.
        unit: Unit of the model.

    Returns:
        The files, and the name of the unit of each.

    Raises:
        ExportError: If it cannot be read, a column is missing, or a value is empty, not known or no side.
    """
    table = ImageTable.read(path)
    if not table.rows:
        raise ExportError(f"{path} names no image; it needs a header and one row an image")
    columns = _columns(table, unit)
    files, units = [], []
    for number, row in table.rows.items():
        where = f"{path}, line {number}"
        if empty := [name for name in ("file", *columns) if not row[name]]:
            raise ExportError(f"{where}: {' and '.join(empty)} must not be empty")
        files.append(path.parent / row["file"])
        units.append("/".join(_word(row[name], name, unit, where) for name in columns))
    return files, units


def units_by_folder(folders: Sequence[Path], unit: UnitName) -> tuple[list[Path], list[str]]:
    """Take each folder as one unit, and the files directly in it as its images.

    Raises:
        ExportError: If a path is no folder, or holds no file.
    """
    files, units = [], []
    for folder in folders:
        if not folder.is_dir():
            raise ExportError(
                f"this model predicts a {unit} from its images, and {folder} is no folder: give a folder for "
                f"each {unit}, or a table of all images with --units"
            )
        own = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
        if not own:
            raise ExportError(f"{folder} holds no file; it should hold the images of one {unit}")
        files += own
        units += [str(folder)] * len(own)
    return files, units


def units_by_header(
    files: Sequence[Path], unit: UnitName, *, key: bytes | None = None
) -> tuple[list[Path], list[str]]:
    """Take the unit of each image from its DICOM header: patient, examination and side of the breast.

    Units are named by hashes, so that no id leaves the file.

    Args:
        files: DICOM files.
        unit: Unit of the model.
        key: Key of the hashes, with which a prepared set has the same ones; None draws one for this call.

    Returns:
        The files, and the name of the unit of each.

    Raises:
        ExportError: If a file is not DICOM, or its header lacks what names the unit.
    """
    key = secrets.token_bytes(32) if key is None else key
    return list(files), [_unit_of_header(file, unit, key) for file in files]


def _unit_of_header(file: Path, unit: UnitName, key: bytes) -> str:
    otherwise = f"give a folder for each {unit}, or a table of all images with --units"
    if not file.exists():
        raise ExportError(f"there is no file {file}")
    if not is_dicom(file):
        raise ExportError(
            f"this model predicts a {unit} from its images, and {file} is no DICOM file whose header would "
            f"tell its {unit}: {otherwise}"
        )
    try:
        header = read_headers(file)
    except DataError as error:
        raise ExportError(str(error)) from error
    stated = _stated(header)
    missing = [name for name in _STATED[unit] if stated[name] is None]
    if missing:
        raise ExportError(
            f"{file} states no {' and no '.join(missing)}, which would tell its {unit}: {otherwise}"
        )
    parts = [f"patient-{hashed(header.patient, key)}"] if header.patient else []
    if unit != "patient":
        parts.append(f"exam-{hashed(header.study_uid or '', key)}")
    if unit == "breast":
        parts.append(str(header.laterality))
    return "/".join(parts)


def _stated(header: DicomHeader) -> dict[str, str | None]:
    return {
        "PatientID": header.patient,
        "StudyInstanceUID": header.study_uid,
        "ImageLaterality": header.laterality,
    }


def _word(cell: str, name: str, unit: UnitName, where: str) -> str:
    """A cell as it names a unit, a side as `L` or `R`."""
    if cell.lower() in NOT_STATED_WORDS:
        raise ExportError(
            f"{where}: {name} is {cell}, and a {unit} needs one that is known; fill it in, or leave the "
            "image out"
        )
    if name != "laterality":
        return cell
    if cell.upper() not in SIDES:
        raise ExportError(f"{where}: unknown side {cell}; the side of a breast is L or R")
    return SIDES[cell.upper()]


def _columns(table: ImageTable, unit: UnitName) -> tuple[str, ...]:
    found = next(iter(table.rows.values()))
    own = _ORDER[: _ORDER.index(_NEEDED[unit][0]) + 1]
    names = tuple(name for name in own if name in found)
    missing = [name for name in ("file", *_NEEDED[unit]) if name not in found]
    if not missing and unit == "breast" and len(names) == 1:
        missing = ["exam or patient"]
    if missing:
        raise ExportError(
            f"{table.path} lacks the column {' and '.join(missing)}: a table of a model by {unit} has file "
            f"and {' and '.join(own)}; found {', '.join(table.header)}"
        )
    return names
