"""INbreast: 410 digital mammograms of 115 examinations, with outlines of the findings.

Source: Moreira et al. (2012), "INbreast: toward a full-field digital mammographic database".
"""

import plistlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final
from xml.parsers.expat import ExpatError

from trainables.common.text import count_text
from trainables.config.tasks import CODES_OF_KIND, StoredCodes
from trainables.data.collections.collection import Box, Choices, Collection, Cut, Example, Listing, Problem
from trainables.data.collections.parts import (
    PICTURES,
    ROI_METHODS,
    checked_options,
    cut_of,
    has_table,
    listing,
    needed_table,
    regions_of,
)
from trainables.data.collections.tables import Row, birads, density, known, number, read_table
from trainables.data.collections.tree import files_below
from trainables.data.columns import SIDES

_TABLES: Final = ("INbreast.csv", "INbreast.xls", "INbreast.xlsx")
_NEEDS: Final = ("laterality", "view", "file_name", "bi_rads")
_FILE: Final = re.compile(r"^(\d{6,})(?:_([0-9a-f]{8,})_MG_([LR])_([A-Z]+)_ANON)?$", re.IGNORECASE)
_POINT: Final = re.compile(r"\(?\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*\)?")
_SUSPICIOUS: Final = ("4", "5", "6")
_FEWEST_POINTS: Final = 3  # of an outline; single calcifications are one or two points
_KINDS: Final = {
    "mass": "mass",
    "spiculated region": "mass",
    "espiculated region": "mass",
    "calcification": "calcification",
    "calcifications": "calcification",
    "cluster": "calcification",
}


def list_inbreast(path: Path, choices: Choices) -> Listing:
    """List images, or outlined masses and calcifications.

    Args:
        path: Folder with `INbreast.csv` or `INbreast.xls`, `AllDICOMs` and, for regions, `AllXML`.
        choices: `image` (the default) or `roi`; `roi_method` is how regions are cut.

    Raises:
        DataError: If the table or a column is missing.
    """
    regions, cut = regions_of(choices, ("image", "roi")), cut_of(checked_options(choices, ROI_METHODS))
    table = needed_table(path, choices, _TABLES, "INbreast")
    rows, torn = _rows_of_images(read_table(table, _NEEDS))
    files, problems = files_below(path if path.is_dir() else table.parent)
    problems += [Problem(image, "has rows of several labels") for image in sorted(torn)]
    outlines = {file.stem: file for file in files if file.suffix.lower() == ".xml"}
    left_out, examples, seen = Counter[str](), list[Example](), set[str]()
    for file in files:
        found = _FILE.match(file.stem) if file.suffix.lower() in PICTURES else None
        if found is None:
            continue
        image = found[1]
        seen.add(image)
        if image in torn:
            continue
        example = _example(file, found, rows.get(image))
        if isinstance(example, Problem):
            problems.append(example)
        elif regions == "image":
            examples.append(example)
        else:
            own = _regions(image, outlines.get(image), left_out, problems)
            examples += _of_regions(example, own, cut)
    problems += [Problem(image, "has a row in the table, but no file") for image in sorted(set(rows) - seen)]
    notes = [
        "label 1 is BI-RADS 4 to 6: suspicion, since the table holds no pathology",
        "the patient is the hash in the names of the files, since the table says removed; the view is the "
        "table's (files say ML for MLO)",
        *(f"{count_text(count, 'region')} left out: {reason}" for reason, count in sorted(left_out.items())),
    ]
    if any(example.patient is None for example in examples):
        notes.append("some files have lost the hash from their names, so their patients are unknown")
    codes: StoredCodes = "pisa" if regions == "roi" else "task"
    classes = () if regions == "roi" else ("benign", "malignant")
    return listing(path, examples, codes, notes=notes, problems=problems, classes=classes)


_Region = tuple[str, Box, str]  # end of its name, place, and what it is


def number_of(text: str) -> str:
    """Number of an image, as the table writes it; "" for rows of totals.

    >>> number_of("22678622"), number_of("22678622.0"), number_of("28"), number_of("")
    ('22678622', '22678622', '', '')
    """
    digits = text.removesuffix(".0")
    return digits if re.fullmatch(r"\d{6,}", digits) else ""


def _rows_of_images(rows: list[Row]) -> tuple[dict[str, Row], set[str]]:
    """Row of each image by its number, and the images whose rows disagree whether it is suspicious."""
    found, torn = dict[str, Row](), set[str]()
    for row in rows:
        image = number_of(row["file_name"])
        if image and _is_suspicious(found.setdefault(image, row)) != _is_suspicious(row):
            torn.add(image)
    return {image: row for image, row in found.items() if image not in torn}, torn


def _is_suspicious(row: Row) -> bool | None:
    """True from BI-RADS 4 on; None where it is not known."""
    level = birads(row["bi_rads"])
    return None if level is None else level[0] in _SUSPICIOUS


def _example(file: Path, found: re.Match[str], row: Row | None) -> Example | Problem:
    """A whole image, with 1 as its label where it is suspicious."""
    if row is None:
        return Problem(file.name, "has no row in the table")
    level = birads(row["bi_rads"])
    if level is None:
        return Problem(file.name, f"has no BI-RADS that is known ({row['bi_rads']!r})")
    patient = found[2]
    return Example(
        file=file,
        name=found[1],
        label=int(level[0] in _SUSPICIOUS),
        patient=patient,
        exam=_exam(patient, row),
        laterality=SIDES.get((row["laterality"] or found[3] or "").upper()),
        view=_view(row["view"]),
        columns=_columns(row, level),
    )


def _of_regions(image: Example, regions: Iterator[_Region], cut: Cut) -> Iterator[Example]:
    """One example a region of an image."""
    for suffix, box, kind in regions:
        yield replace(
            image,
            name=image.name + suffix,
            label=CODES_OF_KIND[kind][image.label],
            box=box,
            cut=cut,
            columns={**image.columns, "finding": kind},
        )


def _regions(
    image: str, outlines: Path | None, left_out: Counter[str], problems: list[Problem]
) -> Iterator[_Region]:
    """Outlined regions of an image; one that has no file of outlines has no finding."""
    if outlines is None:
        left_out["their image has no file of outlines"] += 1
        return
    try:
        found = list(_outlines(outlines))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ExpatError) as error:
        problems.append(Problem(outlines.name, f"cannot be read as outlines ({error})"))
        return
    for place, (name, points) in enumerate(found, start=1):
        kind = _KINDS.get(name.lower())
        if kind is None:
            left_out[f"{name.lower()} is neither a mass nor a calcification"] += 1
        elif len(points) < _FEWEST_POINTS:
            left_out["an outline of fewer than 3 points, such as a single calcification"] += 1
        else:
            yield f"_{place}", _box(points), kind


def _outlines(file: Path) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """Name and points, (column, row), of each region."""
    for image in plistlib.loads(file.read_bytes())["Images"]:
        for region in image["ROIs"]:
            points = [found for text in region["Point_px"] if (found := _POINT.match(text))]
            yield str(region["Name"]).strip(), [(float(one[1]), float(one[2])) for one in points]


def _box(points: list[tuple[float, float]]) -> Box:
    columns, rows = zip(*points, strict=True)
    left, top = max(0, int(min(columns))), max(0, int(min(rows)))
    return Box(left, top, max(1, round(max(columns)) - left), max(1, round(max(rows)) - top))


def _exam(patient: str | None, row: Row) -> str | None:
    """The visit of a patient: the month, which is all that the table keeps of the date."""
    date = row.get("acquisition_date", "")
    return None if patient is None else f"{patient}_{date}" if number(date) is not None else patient


def _view(text: str) -> str | None:
    return {"ML": "MLO"}.get(text.upper(), text.upper()) or None


def _columns(row: Row, level: str) -> dict[str, str | float]:
    age = number(row.get("patient_age", ""))
    return known(birads=level, density=density(row.get("acr", "")), age_years=age, vendor="Siemens")


INBREAST = Collection(
    name="inbreast",
    title="INbreast (Moreira et al. 2012)",
    accepts="a folder with INbreast.csv or INbreast.xls, AllDICOMs and AllXML",
    list=list_inbreast,
    reads=has_table(*_TABLES),
    is_mammogram=True,
    licence="by agreement with the authors: research only, not to be passed on",
    size=(512, 256),
)
