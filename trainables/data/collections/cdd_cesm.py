"""CDD-CESM: 2,006 low-energy and subtracted images of contrast-enhanced mammography of 326 patients.

Source: Khaled et al. (2022), "Categorized contrast enhanced mammography dataset".
"""

import re
from pathlib import Path
from typing import Final

from trainables.data.collections.collection import Choices, Collection, Example, Listing, Problem
from trainables.data.collections.parts import (
    PICTURES,
    checked_options,
    has_table,
    listing,
    needed_table,
    regions_of,
)
from trainables.data.collections.tables import Row, birads, density, known, number, read_table
from trainables.data.collections.tree import files_below
from trainables.data.columns import SIDES

_TABLES: Final = ("Radiology manual annotations.xlsx", "Radiology-manual-annotations.xlsx")
_NEEDS: Final = ("image_name", "side", "type", "view", "pathology_classification_follow_up")
_NAME: Final = re.compile(r"^P(\d+)_([LR])_(DM|CM)_(CC|MLO)(?:_?\d+)?$", re.IGNORECASE)
_CLASSES: Final = ("normal", "benign", "malignant")


def list_cdd_cesm(path: Path, choices: Choices) -> Listing:
    """List the images that the table names.

    Args:
        path: Folder with the workbook of annotations and the two folders of images.
        choices: `energy` is low (the default), subtracted, or both.

    Raises:
        DataError: If the table or a column is missing.
    """
    energy = checked_options(choices, {"energy": ("low", "subtracted", "both")})["energy"]
    regions_of(choices, ("image",))
    table = needed_table(path, choices, _TABLES, "CDD-CESM")
    files, problems = files_below(path if path.is_dir() else table.parent)
    rows = _by_name(read_table(table, _NEEDS))
    examples, used = list[Example](), dict[str, int]()
    wanted = {"low": ("DM",), "subtracted": ("CM",), "both": ("DM", "CM")}[energy]
    for file in files:
        found = _NAME.match(file.stem) if file.suffix.lower() in PICTURES else None
        if found is None or found[3].upper() not in wanted:
            continue
        patient, side, kind, view = (part.upper() for part in found.groups())
        plain = f"P{patient}_{side}_{kind}_{view}"
        own = rows.get(file.stem.upper()) or rows.get(plain, [])
        row = own[min(used.get(plain, 0), len(own) - 1)] if own else None
        used[plain] = used.get(plain, 0) + 1
        label = row["pathology_classification_follow_up"].lower() if row else ""
        if row is None or label not in _CLASSES:
            reason = (
                "has no row in the table" if row is None else f"has a class that is not known ({label!r})"
            )
            problems.append(Problem(file.relative_to(path).as_posix(), reason))
            continue
        examples.append(
            Example(
                file=file,
                name=file.stem,
                label=_CLASSES.index(label),
                patient=f"P{patient}",
                exam=f"P{patient}",
                laterality=SIDES[side],
                view=view,
                columns=_columns(row, kind),
            )
        )
    missing = sorted({name for name in rows if f"_{wanted[0]}_" in name and name not in used})
    problems += [Problem(name, "has a row in the table, but no file") for name in missing]
    notes = ["classes are normal, benign and malignant, a breast; one patient may have several"]
    return listing(path, examples, "own", notes=notes, problems=problems, classes=_CLASSES)


def _by_name(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows by image; four names stand in two rows, whose files end in 2 or _2."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if _NAME.match(row["image_name"]):
            found.setdefault(row["image_name"].upper(), []).append(row)
    return found


def _columns(row: Row, kind: str) -> dict[str, str | float]:
    return known(
        age_years=number(row.get("age", "")),
        density=density(row.get("breast_density_acr", "")),
        birads=birads(row.get("birads", "")),
        finding=" ".join(row.get("tags", "").lower().replace("speculated", "spiculated").split()),
        machine=row.get("machine", ""),
        energy="low" if kind == "DM" else "subtracted",
    )


CDD_CESM = Collection(
    name="cdd-cesm",
    title="CDD-CESM (Khaled et al. 2022)",
    accepts="a folder with `Radiology manual annotations.xlsx` and the folders of images",
    list=list_cdd_cesm,
    reads=has_table(*_TABLES),
    is_mammogram=True,
    licence="CC BY 4.0; cite Khaled et al. 2022",
    size=(512, 256),
)
