"""RSNA 2022: 54,706 screening mammograms of 11,913 patients at two sites.

Source: Carr et al. (2022), "RSNA Screening Mammography Breast Cancer Detection".
"""

from pathlib import Path
from typing import Final

from trainables.data.collections.collection import Choices, Collection, Example, Listing, Problem
from trainables.data.collections.parts import (
    checked_options,
    find_table,
    listing,
    needed_table,
    regions_of,
)
from trainables.data.collections.tables import Row, birads, density, header_of, known, number, read_table
from trainables.data.columns import SIDES

_TABLE: Final = ("train.csv",)
_NEEDS: Final = ("patient_id", "image_id", "laterality", "view", "cancer")
_FOLDERS: Final = ("train_images", "images", "train", ".")
_SUFFIXES: Final = (".dcm", ".png", ".jpg")
_FLAGS: Final = ("invasive", "biopsy", "implant", "difficult_negative_case")


def list_rsna(path: Path, choices: Choices) -> Listing:
    """List the images of `train.csv`.

    Args:
        path: Folder with `train.csv` and `train_images/PATIENT/IMAGE.dcm`; PNG editions are read too.
        choices: There are no options.

    Raises:
        DataError: If the table or a column is missing.
    """
    checked_options(choices)
    regions_of(choices, ("image",))
    table = needed_table(path, choices, _TABLE, "the RSNA images")
    rows, root = read_table(table, _NEEDS), path if path.is_dir() else table.parent
    bases = [folder for base in dict.fromkeys((table.parent, root)) for folder in _bases(base)]
    examples, problems = list[Example](), list[Problem]()
    for row in rows:
        patient, image = row["patient_id"], row["image_id"]
        found = _file(bases, patient, image)
        if row["cancer"] not in ("0", "1"):
            problems.append(Problem(f"image {image}", f"has cancer {row['cancer']!r}; 0 and 1 are known"))
        elif found is None:
            problems.append(
                Problem(f"image {image} of patient {patient}", "has a row in the table, but no file")
            )
        else:
            examples.append(
                Example(
                    file=found,
                    name=f"{patient}_{image}",
                    label=int(row["cancer"]),
                    patient=patient,
                    exam=patient,
                    laterality=SIDES.get(row["laterality"].upper()),
                    view=row["view"].upper() or None,
                    columns=_columns(row),
                )
            )
    notes = [
        "label 1 is a breast with cancer, proven within a year; every view of that breast has it",
        f"{len(rows)} rows; the images of one patient are one examination",
    ]
    return listing(path, examples, "task", notes=notes, problems=problems, classes=("benign", "malignant"))


def _columns(row: Row) -> dict[str, str | float]:
    get = row.get
    flags = {name: _flag(get(name, "")) for name in _FLAGS}
    return known(
        age_years=number(get("age", "")),
        density=density(get("density", "")),
        birads=birads(get("birads", "")),
        site=get("site_id", ""),
        machine=get("machine_id", ""),
        **flags,
    )


def _flag(text: str) -> float | None:
    return {"true": 1.0, "false": 0.0}.get(text.lower(), number(text))


def _bases(base: Path) -> list[Path]:
    return [base / folder for folder in _FOLDERS if (base / folder).is_dir()]


def _file(bases: list[Path], patient: str, image: str) -> Path | None:
    """The file as published, or as editions in PNG name it."""
    for base in bases:
        for suffix in _SUFFIXES:
            for name in (f"{patient}/{image}{suffix}", f"{patient}_{image}{suffix}"):
                if (base / name).is_file():
                    return base / name
    return None


def _reads(path: Path) -> bool:
    table = find_table(path, _TABLE) if path.is_dir() else None
    return table is not None and header_of(table) >= {"patient_id", "image_id", "laterality", "cancer"}


RSNA = Collection(
    name="rsna",
    title="RSNA Screening Mammography (Carr et al. 2022)",
    accepts="a folder with train.csv and train_images/PATIENT/IMAGE.dcm",
    list=list_rsna,
    reads=_reads,
    is_mammogram=True,
    licence="by the rules of the RSNA 2022 competition: not commercial, not to be passed on",
    size=(512, 256),
)
