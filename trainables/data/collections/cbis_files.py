"""Files of CBIS-DDSM on the disk: TCIA's download, by its folders or `metadata.csv`, and Kaggle's JPEGs.

A crop and its mask lie in one series, and the case tables often name the one for the other. Here the mask is
told by what the file says it is, else by its size: a mask is as large as its film.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainables.data.collections.collection import Problem
from trainables.data.collections.parts import PICTURES, find_table, image_size
from trainables.data.collections.tables import header_of, number, read_table
from trainables.data.collections.tree import files_below

KEY: Final = re.compile(r"(Mass|Calc)-(Training|Test)_(P_\d{5})_(LEFT|RIGHT)_(CC|MLO)(?:_(\d+))?")
_SAME_ASPECT: Final = 1e-3  # a mask of another size belongs to its film if the sides are in this proportion


@dataclass(frozen=True, slots=True)
class Stored:
    """A file, with what is known of it without reading its pixels.

    Attributes:
        path: Path of the file.
        described: Description of its series in lower case, such as `roi mask images`; "" where unknown.
        size: Height and width in pixels, or None.
    """

    path: Path
    described: str = ""
    size: tuple[int, int] | None = None


def find_files(path: Path) -> tuple[dict[str, list[Stored]], list[Problem]]:
    """Return files by the name of their film (`Mass-Test_P_00016_LEFT_CC`) or region (`..._1`)."""
    files, problems = files_below(path)
    found: dict[str, list[Stored]] = {}
    taken = set()
    for key, stored in [*_of_kaggle(path, files), *_of_nbia(path, files)]:
        found.setdefault(key, []).append(stored)
        taken.add(stored.path)
    for file in files:
        if file in taken or file.suffix.lower() not in PICTURES:
            continue
        keys = [match[0] for part in file.relative_to(path).parts if (match := KEY.match(part))]
        if keys:
            found.setdefault(keys[-1], []).append(Stored(file))
    return found, problems


def _of_kaggle(path: Path, files: Sequence[Path]) -> list[tuple[str, Stored]]:
    """Files of the JPEG edition: `dicom_info.csv` says which patient and series a picture is of."""
    table = find_table(path, ("dicom_info.csv",))
    if table is None:
        return []
    by_end = {"/".join(file.parts[-2:]): file for file in files}
    found = []
    for row in read_table(table, ("image_path", "patientid", "seriesdescription")):
        file, key = by_end.get("/".join(row["image_path"].split("/")[-2:])), KEY.match(row["patientid"])
        if file is not None and key is not None:
            rows, columns = number(row.get("rows", "")), number(row.get("columns", ""))
            size = (int(rows), int(columns)) if rows and columns else None
            found.append((key[0], Stored(file, row["seriesdescription"].lower(), size)))
    return found


def _of_nbia(path: Path, files: Sequence[Path]) -> list[tuple[str, Stored]]:
    """Files of series that `metadata.csv` locates, for trees whose folders do not hold the names."""
    table = find_table(path, ("metadata.csv",))
    if table is None or not header_of(table) >= {"subject_id", "file_location"}:
        return []
    keys = {}
    for row in read_table(table, ("subject_id", "file_location")):
        if key := KEY.match(row["subject_id"]):
            parts = [
                part for part in row["file_location"].replace("\\", "/").split("/") if part not in ("", ".")
            ]
            keys["/".join(parts[-2:])] = (key[0], row.get("series_description", "").lower())
    found = []
    for file in files:
        series = keys.get("/".join(file.parts[-3:-1]))
        if series is not None and file.suffix.lower() in PICTURES:
            found.append((series[0], Stored(file)))  # a series of two files has one description for both
    return found


def film_among(stored: Sequence[Stored], written: str) -> Stored | None:
    """Return the film; of several, the one in the series that the case table names."""
    films = [one for one in stored if "mask" not in one.described and "crop" not in one.described]
    series = [part for part in written.split("/")[1:-1] if part]
    named = [one for one in films if series and series[-1] in one.path.parts]
    return next(iter(named or films), None)


def mask_among(stored: Sequence[Stored], film: Stored) -> Stored | None:
    """Return the mask of a region among its files, the mask and the crop; None if it cannot be told."""
    told = [one for one in stored if "mask" in _described(one)]
    if len(told) == 1:
        return told[0]
    size = film.size or image_size(film.path)
    others = [one for one in stored if "crop" not in _described(one)]
    alike = [one for one in others if _is_alike(one.size or image_size(one.path), size)]
    return alike[0] if len(alike) == 1 else None


def _described(stored: Stored) -> str:
    """What the file says it is; only DICOM files do."""
    from trainables.data.dicom.reading import is_dicom, read_headers
    from trainables.data.image_errors import ImageFileError

    if stored.described:
        return stored.described
    try:
        return (read_headers(stored.path).series_description or "").lower() if is_dicom(stored.path) else ""
    except (ImageFileError, OSError):
        return ""


def _is_alike(size: tuple[int, int] | None, film: tuple[int, int] | None) -> bool:
    """True if a file has the size of the film, or nearly its proportion and no less than half its height."""
    if size is None or film is None:
        return False
    has_proportion = abs(size[0] / size[1] - film[0] / film[1]) <= _SAME_ASPECT
    return size == film or (has_proportion and 2 * size[0] >= film[0])
