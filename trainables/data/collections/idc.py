"""IDC: patches of 50x50 pixels cut from slides of invasive ductal carcinoma.

Sources: Cruz-Roa et al. (2014); Janowczyk & Madabhushi (2016), who publish the patches.
"""

import re
from pathlib import Path
from typing import Final

from trainables.common.errors import DataError
from trainables.data.collections.collection import Choices, Collection, Example, Listing, Problem
from trainables.data.collections.parts import PICTURES, checked_options, listing, no_table, regions_of
from trainables.data.collections.tree import files_below

_NAME: Final = re.compile(r"^(\w+)_idx(\d+)_x(\d+)_y(\d+)_class([01])$")
_LOOKED_AT: Final = 50  # names that decide whether a folder is this collection


def list_idc(path: Path, choices: Choices) -> Listing:
    """List the patches, by their names.

    Args:
        path: Folder `IDC_regular_ps50_idx5`, or the one that holds it.
        choices: There are none.

    Raises:
        DataError: If there are no patches.
    """
    checked_options(choices)
    regions_of(choices, ("image",))
    no_table(choices)
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    files, problems = files_below(path)
    examples: dict[str, Example] = {}
    copies = 0
    for file in files:
        found = _NAME.match(file.stem)
        if found is None:
            if file.suffix.lower() in PICTURES:
                problems.append(
                    Problem(_below(file, path), "is not named as patches are (PATIENT_idx5_x1_y1_class0)")
                )
            continue
        patient, slide, x, y, label = found.groups()
        if file.parent.name in ("0", "1") and file.parent.name != label:
            problems.append(
                Problem(_below(file, path), f"lies in folder {file.parent.name}, but its name says {label}")
            )
            continue
        if file.stem in examples:
            copies += 1
            continue
        columns = {"x_px": int(x), "y_px": int(y), "slide_level": int(slide)}
        examples[file.stem] = Example(file, file.stem, int(label), patient=patient, columns=columns)
    notes = [
        f"{len(examples)} patches of {len({one.patient for one in examples.values()})} patients; label 1 is "
        "invasive ductal carcinoma",
    ]
    if copies:
        notes.append(
            f"{copies} patches lie in a second folder under the same name, as in the archive; read once"
        )
    return listing(
        path, examples.values(), "task", notes=notes, problems=problems, classes=("benign", "malignant")
    )


def _below(file: Path, path: Path) -> str:
    return file.relative_to(path).as_posix()


def _reads(path: Path) -> bool:
    """True for a folder of patients with class folders 0 and 1 whose files are named as patches are."""
    if not path.is_dir():
        return False
    for place, file in enumerate(path.glob("*/[01]/*")):
        if _NAME.match(file.stem):
            return True
        if place > _LOOKED_AT:
            return False
    return any(_NAME.match(file.stem) for file in path.glob("IDC_regular_ps50_idx5/*/[01]/*_class?.png"))


IDC = Collection(
    name="idc",
    title="IDC patches (Cruz-Roa et al. 2014, Janowczyk & Madabhushi 2016)",
    accepts="a folder PATIENT/0/ and PATIENT/1/ with PATIENT_idx5_x1_y1_class0.png",
    list=list_idc,
    reads=_reads,
    is_mammogram=False,
    licence="open for research; cite Cruz-Roa et al. 2014 and Janowczyk & Madabhushi 2016",
    size=(50, 50),
    is_read_directly=True,
)
