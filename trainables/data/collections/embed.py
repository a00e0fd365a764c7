"""EMBED: mammograms of Emory, with clinical tables a finding and boxes around marked regions.

Source: Jeong et al. (2023), "The EMory BrEast imaging Dataset (EMBED)", open part of 20 % on AWS.
"""

import ast
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final

from trainables.common.text import count_text
from trainables.data.collections.collection import Box, Choices, Collection, Example, Listing, Problem
from trainables.data.collections.parts import (
    ROI_METHODS,
    checked_options,
    cut_of,
    has_table,
    listing,
    needed_table,
    regions_of,
)
from trainables.data.collections.tables import Row, density, known, number, read_table
from trainables.data.columns import SIDES

_IMAGES: Final = ("EMBED_OpenData_metadata.csv", "EMBED_OpenData_metadata_reduced.csv")
_CLINICAL: Final = ("EMBED_OpenData_clinical.csv", "EMBED_OpenData_clinical_reduced.csv")
_NEEDS: Final = ("anon_dicom_path", "empi_anon", "acc_anon", "imagelateralityfinal", "viewposition")
_NEEDS_CLINICAL: Final = ("empi_anon", "acc_anon", "side", "asses", "path_severity")
_MALIGNANT: Final = (0.0, 1.0)  # path_severity: invasive cancer, non-invasive cancer
_HEALTHY: Final = (
    2.0,
    3.0,
    4.0,
    5.0,
)  # high-risk lesion, borderline, benign, negative; 6 is no breast cancer
_BIRADS: Final = {"A": "0", "N": "1", "B": "2", "P": "3", "S": "4", "M": "5", "K": "6"}
_NEGATIVE: Final = ("N", "B")  # without biopsy


def list_embed(path: Path, choices: Choices) -> Listing:
    """List the two-dimensional images, or the boxes that radiologists marked on them.

    Args:
        path: Folder with the two tables (in `tables/` or beside the images) and the images of the cohorts.
        choices: `image` (the default) or `roi`; `roi_method` is how boxes are cut; `table` is the table of
            images, where it has another name.

    Raises:
        DataError: If a table or a column is missing.
    """
    regions, cut = regions_of(choices, ("image", "roi")), cut_of(checked_options(choices, ROI_METHODS))
    table = needed_table(path, choices, _IMAGES, "the images of EMBED")
    clinical = needed_table(path, Choices(), _CLINICAL, "the findings of EMBED")
    findings = _findings(read_table(clinical, _NEEDS_CLINICAL))
    needs = (*_NEEDS, "roi_coords") if regions == "roi" else _NEEDS
    left_out, problems, examples = Counter[str](), list[Problem](), list[Example]()
    for row in read_table(table, needs):
        side = SIDES.get(row["imagelateralityfinal"].upper())
        own = findings.get((row["acc_anon"], side or ""), [])
        label = _label(own)
        reason = _why_not(row, side, label)
        if reason or label is None:
            left_out[reason] += 1
            continue
        file = _file(path, row["anon_dicom_path"])
        if file is None:
            problems.append(Problem(row["anon_dicom_path"], "has a row in the table, but no file"))
            continue
        boxes = _boxes(row["roi_coords"]) if regions == "roi" else [None]
        for place, box in enumerate(boxes, start=1):
            examples.append(
                Example(
                    file=file,
                    name=file.stem if box is None else f"{file.stem}_{place}",
                    label=label,
                    patient=row["empi_anon"],
                    exam=row["acc_anon"],
                    laterality=side,
                    view=row["viewposition"].upper() or None,
                    box=box,
                    cut=None if box is None else cut,
                    columns=_columns(row, own),
                )
            )
    notes = [
        "label 1 is cancer by pathology (severity 0 or 1) in that breast at that examination; label 0 is "
        "another pathology, or BI-RADS 1 or 2 without one",
        *(f"{count_text(count, 'image')} left out: {reason}" for reason, count in sorted(left_out.items())),
    ]
    return listing(path, examples, "task", notes=notes, problems=problems, classes=("benign", "malignant"))


def _findings(rows: list[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by examination and side; a row of both sides, or of none, counts for each."""
    found = defaultdict(list)
    for row in rows:
        written = row["side"].upper()
        for side in (written,) if written in ("L", "R") else ("L", "R"):
            found[row["acc_anon"], side].append(row)
    return found


def _label(rows: list[Row]) -> int | None:
    """1 for cancer, 0 for none, None where it is not known; the worst finding of a breast decides."""
    severities = [severity for row in rows if (severity := number(row["path_severity"])) is not None]
    if any(severity in _MALIGNANT for severity in severities):
        return 1
    if any(severity in _HEALTHY for severity in severities):
        return 0
    if rows and not severities and all(row["asses"].upper() in _NEGATIVE for row in rows):
        return 0
    return None


def _why_not(row: Row, side: str | None, label: int | None) -> str:
    if row.get("finalimagetype", "2D").upper() != "2D":
        return "not two-dimensional (tomosynthesis, synthetic views, screen shots of regions)"
    if number(row.get("spot_mag", "")) == 1:
        return "spot or magnified views"
    if side is None:
        return "the side is not known"
    return "neither pathology nor BI-RADS 1 or 2" if label is None else ""


def _boxes(text: str) -> list[Box | None]:
    """Boxes of a cell such as `((100, 200, 300, 400),)`: top, left, bottom, right."""
    try:
        found = ast.literal_eval(text) if text else ()
    except (ValueError, SyntaxError):
        return []
    boxes: list[Box | None] = []
    for corners in found if isinstance(found, (list, tuple)) else ():
        if isinstance(corners, (list, tuple)) and len(corners) == 4:
            top, left, bottom, right = (round(float(value)) for value in corners)
            if bottom > top and right > left:
                boxes.append(Box(max(0, left), max(0, top), right - left, bottom - top))
    return boxes


def _file(path: Path, written: str) -> Path | None:
    """The file at the end of a path that was written on another machine."""
    parts = [part for part in written.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        for base in (path, path / "images"):
            file = base.joinpath(*parts[start:])
            if file.is_file():
                return file
    return None


def _columns(row: Row, findings: list[Row]) -> dict[str, str | float]:
    clinical = findings[0] if findings else {}
    levels = [level for one in findings if (level := _BIRADS.get(one["asses"].upper()))]
    return known(
        age_years=number(clinical.get("age_at_study", "")),
        density=density(clinical.get("tissueden", "")),
        birads=max(levels, default=""),
        vendor=row.get("manufacturer", ""),
        machine=row.get("manufacturermodelname", ""),
        site=row.get("cohort_num", ""),
        race=clinical.get("race_desc", ""),
        pathology=min((one["path_severity"] for one in findings if one["path_severity"]), default=""),
    )


EMBED = Collection(
    name="embed",
    title="EMBED (Jeong et al. 2023)",
    accepts="a folder with EMBED_OpenData_metadata.csv, EMBED_OpenData_clinical.csv and images/cohort_1/...",
    list=list_embed,
    reads=has_table(*_IMAGES),
    is_mammogram=True,
    licence="by agreement with Emory: research, not commercial, not to be passed on",
    size=(512, 256),
)
