"""BreakHis: 7,909 histology images of 82 patients at four magnifications.

Source: Spanhol et al. (2016), "A dataset for breast cancer histopathological image classification".
"""

import re
from itertools import islice
from pathlib import Path
from typing import Final

from trainables.common.errors import DataError
from trainables.data.collections.collection import Choices, Collection, Example, Listing, Problem
from trainables.data.collections.parts import PICTURES, checked_options, listing, no_table, regions_of
from trainables.data.collections.tree import files_below

_NAME: Final = re.compile(r"^SOB_([BM])_([A-Z]+)-(\d+)-(\d+)([A-Z]*)-(40|100|200|400)-(\d+)$")
_TYPES: Final = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes tumour",
    "TA": "tubular adenoma",
    "DC": "ductal carcinoma",
    "LC": "lobular carcinoma",
    "MC": "mucinous carcinoma",
    "PC": "papillary carcinoma",
}
_LOOKED_AT: Final = 500  # names that decide whether a folder is this collection


def list_breakhis(path: Path, choices: Choices) -> Listing:
    """List the images, by their names.

    Args:
        path: Any folder above the images.
        choices: `magnification` is all, 40, 100, 200 or 400.

    Raises:
        DataError: If there are no images.
    """
    wanted = checked_options(choices, {"magnification": ("all", "40", "100", "200", "400")})["magnification"]
    regions_of(choices, ("image",))
    no_table(choices)
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    files, problems = files_below(path)
    examples = []
    for file in files:
        found = _NAME.match(file.stem)
        if found is None or found[2] not in _TYPES:
            if file.suffix.lower() in PICTURES:
                problems.append(
                    Problem(file.relative_to(path).as_posix(), "is not named as images of BreakHis are")
                )
            continue
        letter, kind, year, slide, part, magnification, _ = found.groups()
        if wanted in ("all", magnification):
            patient = f"{year}-{slide}"
            examples.append(
                Example(
                    file=file,
                    name=file.stem,
                    label=int(letter == "M"),
                    patient=patient,
                    columns={
                        "magnification": int(magnification),
                        "finding": _TYPES[kind],
                        "slide": patient + part,
                    },
                )
            )
    notes = [
        f"{len(examples)} images of {len({one.patient for one in examples})} patients; the patient is the "
        "number of the slide, without the letters of its parts",
    ]
    return listing(path, examples, "task", notes=notes, problems=problems, classes=("benign", "malignant"))


def _reads(path: Path) -> bool:
    names = (name for pattern in ("SOB_*", "*/SOB_*", "*/*/*/*/*/SOB_*") for name in path.glob(pattern))
    return path.is_dir() and (
        any(_NAME.match(file.stem) for file in islice(names, _LOOKED_AT))
        or (path / "histology_slides" / "breast").is_dir()
        or (path / "BreaKHis_v1").is_dir()
    )


BREAKHIS = Collection(
    name="breakhis",
    title="BreakHis (Spanhol et al. 2016)",
    accepts="a folder above SOB_B_A-14-22549AB-40-001.png and the like",
    list=list_breakhis,
    reads=_reads,
    is_mammogram=False,
    licence="CC BY 4.0; cite Spanhol et al. 2016",
    size=(230, 350),
)
