"""VinDr-Mammo: 5,000 examinations of four views, read twice, with boxes around findings.

Source: Nguyen et al. (2023), "VinDr-Mammo: a large-scale benchmark dataset for computer-aided detection and
diagnosis in full-field digital mammography". There is no pathology: labels are what readers suspected.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from trainables.common.text import count_text
from trainables.config.tasks import CODES_OF_KIND, StoredCodes
from trainables.data.collections.collection import Box, Choices, Collection, Example, Listing, Problem
from trainables.data.collections.parts import (
    ROI_METHODS,
    checked_options,
    cut_of,
    find_table,
    has_table,
    listing,
    needed_table,
    regions_of,
)
from trainables.data.collections.tables import Row, birads, density, known, number, read_table
from trainables.data.columns import SIDES

_BREASTS: Final = ("breast-level_annotations.csv",)
_FINDINGS: Final = ("finding_annotations.csv",)
_NEEDS: Final = ("study_id", "image_id", "laterality", "view_position", "breast_birads", "split")
_BOX: Final = ("xmin", "ymin", "xmax", "ymax")
_SUFFIXES: Final = (".dicom", ".dcm", ".png", ".jpg")
_SUSPICIOUS: Final = ("4", "5")
_KINDS: Final = {
    "mass": CODES_OF_KIND["mass"],
    "suspicious calcification": CODES_OF_KIND["calcification"],
}


def list_vindr(path: Path, choices: Choices) -> Listing:
    """List images, or boxes of masses and calcifications.

    Args:
        path: Folder with the tables and `images/STUDY/IMAGE.dicom`.
        choices: `image` (the default) or `roi`; `roi_method` is how boxes are cut.

    Raises:
        DataError: If a table or a column is missing.
    """
    regions, cut = regions_of(choices, ("image", "roi")), cut_of(checked_options(choices, ROI_METHODS))
    names = _FINDINGS if regions == "roi" else (*_BREASTS, *_FINDINGS)
    table = needed_table(path, choices, names, "VinDr-Mammo")
    needs = (*_NEEDS, "finding_categories", "finding_birads", *_BOX) if regions == "roi" else _NEEDS
    rows, machines = read_table(table, needs), _machines(path)
    notes, problems, examples = list[str](), list[Problem](), dict[str, Example]()
    left_out, torn = {"unknown": 0, "other": 0, "edge": 0}, set[str]()
    for row in rows:
        file = _file(table.parent, row)
        if file is None:
            problems.append(Problem(f"image {row['image_id']}", "has a row in the table, but no file"))
            continue
        found = _regions(row, left_out) if regions == "roi" else _whole(row, left_out)
        for suffix, label, box, columns in found:
            name = row["image_id"] + suffix
            while suffix and name in examples:
                name += "'"
            first = examples.setdefault(
                name,
                Example(
                    file=file,
                    name=name,
                    label=label,
                    patient=row["study_id"],
                    exam=row["study_id"],
                    laterality=SIDES.get(row["laterality"].upper()),
                    view=row["view_position"].upper() or None,
                    box=box,
                    cut=cut if regions == "roi" else None,
                    is_test=row["split"].lower() == "test",
                    columns=columns | machines.get(row["image_id"], {}),
                ),
            )
            if first.label != label:
                torn.add(name)
    problems += [Problem(f"image {name}", "has rows of several labels") for name in sorted(torn)]
    kept = [example for name, example in examples.items() if name not in torn]
    notes.append("label 1 is BI-RADS 4 or 5: suspicion, since nothing here was proven by biopsy")
    notes.append("a study stands for its patient, who is not named; the official test part is sealed")
    if left_out["unknown"]:
        notes.append(f"{count_text(left_out['unknown'], 'row')} without BI-RADS 1 to 5 left out")
    if left_out["other"]:
        notes.append(f"{left_out['other']} boxes that are neither mass nor calcification left out")
    if left_out["edge"]:
        notes.append(f"{left_out['edge']} boxes reach beyond the image and are cut at its edge")
    codes: StoredCodes = "pisa" if regions == "roi" else "task"
    classes = () if regions == "roi" else ("benign", "malignant")
    return listing(path, kept, codes, notes=notes, problems=problems, classes=classes)


_Region = tuple[str, int, Box | None, dict[str, str | float]]


def _whole(row: Row, left_out: dict[str, int]) -> Iterator[_Region]:
    level = birads(row["breast_birads"])
    if level not in ("1", "2", "3", *_SUSPICIOUS):
        left_out["unknown"] += 1
        return
    yield "", int(level in _SUSPICIOUS), None, _columns(row, level)


def _regions(row: Row, left_out: dict[str, int]) -> Iterator[_Region]:
    """The box of a row, once for each kind of finding that it is of; rows without a box are healthy views."""
    corners = [number(row[name]) for name in _BOX]
    if None in corners:
        return
    categories = _categories(row["finding_categories"])
    kinds = [name for name in _KINDS if name in categories]
    level = birads(row["finding_birads"])
    if not kinds or level is None:
        left_out["other"] += 1
        return
    box, is_beyond = _box(corners, number(row.get("width", "")), number(row.get("height", "")))
    left_out["edge"] += is_beyond
    if box is None:
        return
    finding = "+".join(categories)
    code = _KINDS[kinds[0]][level in _SUSPICIOUS]
    yield f"@{box.left},{box.top}", code, box, _columns(row, level) | known(finding=finding)


def _box(corners: list[float | None], width: float | None, height: float | None) -> tuple[Box | None, bool]:
    left, top, right, bottom = (value or 0.0 for value in corners)
    inside = (max(0.0, left), max(0.0, top), min(right, width or right), min(bottom, height or bottom))
    is_beyond = inside != (left, top, right, bottom)
    x, y = round(inside[0]), round(inside[1])
    wide, high = round(inside[2]) - x, round(inside[3]) - y
    return (Box(x, y, wide, high) if wide > 0 and high > 0 else None), is_beyond


def _categories(text: str) -> list[str]:
    """Findings of a cell, which holds a Python list as text.

    >>> _categories("['Mass', 'Skin Thickening']")
    ['mass', 'skin thickening']
    """
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        found = [text]
    return [str(one).strip().lower() for one in (found if isinstance(found, list) else [found])]


def _columns(row: Row, level: str) -> dict[str, str | float]:
    return known(birads=level, density=density(row.get("breast_density", "")))


def _machines(path: Path) -> dict[str, dict[str, str | float]]:
    """Age, vendor and model by image, from `metadata.csv` where it is there."""
    table = find_table(path, ("metadata.csv",))
    if table is None:
        return {}
    found = {}
    for row in read_table(table, ("sop_instance_uid",)):
        age = number(row.get("patient_s_age", "").strip("Y").lstrip("0"))
        found[row["sop_instance_uid"]] = known(
            age_years=age,
            vendor=row.get("manufacturer", ""),
            machine=row.get("manufacturer_s_model_name", ""),
        )
    return found


def _file(base: Path, row: Mapping[str, str]) -> Path | None:
    for folder in ("images", "png", "dicom", "."):
        for suffix in _SUFFIXES:
            file = base / folder / row["study_id"] / f"{row['image_id']}{suffix}"
            if file.is_file():
                return file
    return None


VINDR_MAMMO = Collection(
    name="vindr-mammo",
    title="VinDr-Mammo (Nguyen et al. 2023)",
    accepts="a folder with breast-level_annotations.csv, finding_annotations.csv, images/STUDY/IMAGE.dicom",
    list=list_vindr,
    reads=has_table(*_BREASTS, *_FINDINGS),
    is_mammogram=True,
    licence="PhysioNet Restricted Health Data Use Agreement 1.5.0: not to be passed on",
    size=(512, 256),
)
