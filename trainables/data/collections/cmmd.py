"""CMMD: 3,728 mammograms of 1,775 patients, with benign or malignant proven by biopsy a breast.

Source: Cui et al. (2021), "The Chinese Mammography Database (CMMD)", TCIA.
"""

import re
from pathlib import Path
from typing import Final

from trainables.common.text import count_text
from trainables.config.tasks import CODES_OF_KIND, StoredCodes
from trainables.data.collections.collection import Choices, Collection, Example, Listing, Problem
from trainables.data.collections.parts import (
    checked_options,
    find_table,
    listing,
    needed_table,
    regions_of,
)
from trainables.data.collections.tables import Row, known, number, read_table
from trainables.data.collections.tree import files_below
from trainables.data.columns import SIDES
from trainables.data.dicom.reading import is_dicom, read_headers
from trainables.data.image_errors import ImageFileError

_TABLES: Final = (
    "CMMD_clinicaldata_revision.xlsx",
    "CMMD_clinicaldata_revision.csv",
    "cmmd_raw_label.csv",
    "label.csv",
)
_NEEDS: Final = ("id1", "leftright", "classification")
_PATIENT: Final = re.compile(r"^D[12]-\d{4}$")


def list_cmmd(path: Path, choices: Choices) -> Listing:
    """List the DICOM files below the patients' folders whose breast has a row in the table.

    Args:
        path: Folder with the clinical table and `CMMD/D1-0001/...`.
        choices: `labels` is `pathology` (benign or malignant, all images), or `findings` (mass or
            calcification too; breasts with both are left out).

    Raises:
        DataError: If the table or a column is missing.
    """
    labels = checked_options(choices, {"labels": ("pathology", "findings")})["labels"]
    regions_of(choices, ("image",))
    table = needed_table(path, choices, _TABLES, "CMMD")
    breasts, problems, both, left_out = _breasts(read_table(table, _NEEDS), table.name, labels)
    files, unread = files_below(path if path.is_dir() else table.parent)
    problems += unread
    examples, other, found = list[Example](), 0, set[tuple[str, str]]()
    for file in files:
        patient = next((part for part in reversed(file.parts[:-1]) if _PATIENT.match(part)), None)
        if patient is None or not is_dicom(file):
            continue
        try:
            header = read_headers(file)
        except ImageFileError as error:
            problems.append(Problem(str(file), str(error).removeprefix(str(file)).strip()))
            continue
        side = header.laterality or ""
        row = breasts.get((patient, side))
        found.add((patient, side))
        if (patient, side) in left_out:
            continue
        if row is None:
            other += 1
            continue
        examples.append(
            Example(
                file=file,
                name=f"{patient}_{side}_{header.view or 'view'}_{file.stem}",
                label=_label(row, labels),
                patient=patient,
                exam=patient,
                laterality=header.laterality,
                view=header.view,
                columns=_columns(row),
            )
        )
    problems += [
        Problem(f"{patient} {side}", "has a row in the table, but no file")
        for patient, side in sorted(set(breasts) - found)
    ]
    notes = [
        "labels are of the breast; side and view come from the headers, since every file is named 1-1.dcm"
    ]
    if other:
        notes.append(f"{count_text(other, 'image')} of breasts without a row in the table left out")
    if both:
        notes.append(f"{count_text(both, 'breast')} with mass and calcification left out")
    codes: StoredCodes = "pisa" if labels == "findings" else "task"
    classes = () if labels == "findings" else ("benign", "malignant")
    return listing(path, examples, codes, notes=notes, problems=problems, classes=classes)


def _breasts(
    rows: list[Row], table: str, labels: str
) -> tuple[dict[tuple[str, str], Row], list[Problem], int, set[tuple[str, str]]]:
    """Rows of breasts that agree, what cannot be read, the number with two findings, and all left out."""
    found, problems, both = dict[tuple[str, str], Row](), list[Problem](), set[tuple[str, str]]()
    torn = set[tuple[str, str]]()
    for row in rows:
        side, word = SIDES.get(row["leftright"].upper()), row["classification"].lower()
        what = f"{table}, {row['id1']} {row['leftright']}"
        if side is None or word not in ("benign", "malignant"):
            problems.append(
                Problem(what, f"has side {row['leftright']!r} and class {row['classification']!r}")
            )
        elif labels == "findings" and row.get("abnormality", "").lower() not in CODES_OF_KIND:
            both.add((row["id1"], side))
        elif _label(found.setdefault((row["id1"], side), row), labels) != _label(row, labels):
            torn.add((row["id1"], side))
    problems += [
        Problem(f"{table}, {patient} {side}", "has rows of several labels")
        for patient, side in sorted(torn - both)
    ]
    left_out = torn | both
    kept = {breast: row for breast, row in found.items() if breast not in left_out}
    return kept, problems, len(both), left_out


def _label(row: Row, labels: str) -> int:
    is_malignant = row["classification"].lower() == "malignant"
    return (
        CODES_OF_KIND[row["abnormality"].lower()][is_malignant] if labels == "findings" else int(is_malignant)
    )


def _columns(row: Row) -> dict[str, str | float]:
    subtype = row.get("subtype", "")
    return known(
        age_years=number(row.get("age", "")),
        finding=row.get("abnormality", "").lower(),
        pathology=row["classification"].upper(),
        subtype="" if subtype == "0" else subtype,
    )


def _reads(path: Path) -> bool:
    if not path.is_dir():
        return False
    folder = path / "CMMD" if (path / "CMMD").is_dir() else path
    has_patients = any(_PATIENT.match(one.name) for one in folder.glob("D[12]-*"))
    return has_patients and find_table(path, _TABLES) is not None


CMMD = Collection(
    name="cmmd",
    title="CMMD (Cui et al. 2021)",
    accepts="a folder with CMMD_clinicaldata_revision.xlsx (or .csv) and CMMD/D1-0001/.../1-1.dcm",
    list=list_cmmd,
    reads=_reads,
    is_mammogram=True,
    licence="CC BY 4.0; cite Cui et al. 2021",
    size=(512, 256),
)
