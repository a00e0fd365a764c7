"""mini-MIAS: 322 films of 161 patients, with a circle around most abnormalities.

Source: Suckling et al. (1994), "The Mammographic Image Analysis Society digital mammogram database".
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from trainables.common.errors import DataError
from trainables.common.text import count_text
from trainables.data.collections.collection import (
    Box,
    Choices,
    Collection,
    Example,
    Listing,
    Problem,
)
from trainables.data.collections.parts import (
    PICTURES,
    ROI_METHODS,
    checked_options,
    cut_of,
    find_table,
    image_size,
    listing,
    needed_table,
    regions_of,
)
from trainables.data.collections.tables import known
from trainables.data.collections.tree import files_below
from trainables.data.columns import Laterality

_TABLE: Final = ("Info.txt",)
_ROW: Final = re.compile(
    r"^(mdb(\d{3})[a-z]*)\s+([FGD])\s+(CALC|CIRC|SPIC|MISC|ARCH|ASYM|NORM)\b\s*"
    r"([BM])?(?:\s+(\d+)\s+(\d+)\s+(\d+))?",
    re.MULTILINE,
)
_LOOSE: Final = re.compile(r"^mdb\d{3}.*$", re.MULTILINE)
_SIDE_PX: Final = 1024  # of the films that the coordinates are for
_CODES: Final = {("calc", "B"): 3, ("calc", "M"): 4, ("mass", "B"): 1, ("mass", "M"): 2}
_TISSUE: Final = {"F": "fatty", "G": "fatty-glandular", "D": "dense-glandular"}
_PREFERRED: Final = (".pgm", ".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")


def list_mias(path: Path, choices: Choices) -> Listing:
    """List films or circled regions of mini-MIAS.

    Args:
        path: Folder with `Info.txt` and the films.
        choices: `roi` (the default) takes each circled abnormality, and tiles of tissue of the normal films;
            `image` takes whole films. `roi_method` is how regions are cut.

    Raises:
        DataError: If table or films are missing.
    """
    regions, cut = regions_of(choices, ("roi", "image")), cut_of(checked_options(choices, ROI_METHODS))
    table = needed_table(path, choices, _TABLE, "findings of mini-MIAS")
    text = table.read_text(encoding="latin-1")
    rows = [found.groups() for found in _ROW.finditer(text)]
    if not rows:
        raise DataError(
            f"{table} has no row such as `mdb001 G CIRC B 535 425 197`; take Info.txt as published"
        )
    unread = len(_LOOSE.findall(text)) - len(rows)
    films, problems = _films(path)
    if unread:
        problems.append(Problem(table.name, f"has {count_text(unread, 'row')} that cannot be understood"))
    worst = _worst_rows(rows) if regions == "image" else rows
    examples, unplaced, counts = list[Example](), 0, dict[str, int]()
    for row in worst:
        name, finding, radius = row[0], row[3], row[-1]
        file = films.get(name)
        if file is None:
            problems.append(Problem(name, "has a row in the table, but no film"))
        elif regions == "image":
            examples.append(_example(file, row))
        elif finding == "NORM":
            examples.append(replace(_example(file, row), cut="tiles"))
        elif radius is None:
            unplaced += 1
        else:
            counts[name] = counts.get(name, 0) + 1
            box = _box(file, *map(int, row[-3:]))
            examples.append(replace(_example(file, row), name=f"{name}_{counts[name]}", box=box, cut=cut))
    notes = [
        f"{len(rows)} rows on {len({row[0] for row in rows})} films; films 2k-1 and 2k are one patient",
        "calcifications are CALC; every other abnormality counts as a mass",
    ]
    if unplaced:
        notes.append(f"{count_text(unplaced, 'abnormal row')} without coordinates left out")
    if regions == "image":
        notes.append("a film with several abnormalities has the label of the worst")
    return listing(path, examples, "pisa", notes=notes, problems=problems)


def _example(file: Path, row: tuple[str, ...]) -> Example:
    """A whole film with the label of a row."""
    name, film, tissue, finding, severity, *_ = row
    side: Laterality = "R" if int(film) % 2 else "L"
    patient = f"mias{(int(film) + 1) // 2:03d}"
    return Example(
        file=file,
        name=name,
        label=0 if finding == "NORM" else _CODES["calc" if finding == "CALC" else "mass", severity],
        patient=patient,
        exam=patient,
        laterality=side,
        view="MLO",
        columns=known(finding=finding.lower(), severity=severity, tissue=_TISSUE[tissue], machine="mias"),
    )


def _films(path: Path) -> tuple[dict[str, Path], list[Problem]]:
    """Films by name; one film in several formats or folders is taken once, without loss if possible."""
    files, problems = files_below(path)
    found: dict[str, Path] = {}
    films = [
        file for file in files if file.suffix.lower() in PICTURES and re.match(r"mdb\d{3}", file.stem.lower())
    ]
    for file in sorted(films, key=lambda file: (_rank(file), -_size(file), str(file))):
        found.setdefault(file.stem.lower()[:6], file)
    return found, problems


def _rank(file: Path) -> int:
    suffix = file.suffix.lower()
    return _PREFERRED.index(suffix) if suffix in _PREFERRED else len(_PREFERRED)


def _size(file: Path) -> int:
    return 0 if file.suffix.lower() == ".pgm" else file.stat().st_size


def _box(file: Path, x: int, y: int, radius: int) -> Box:
    """Square around the circle; coordinates are for 1024 pixels and count rows from the lower edge."""
    height, _ = image_size(file) or (_SIDE_PX, _SIDE_PX)
    scale = height / _SIDE_PX
    left, top = max(0, x - radius), max(0, _SIDE_PX - y - radius)
    right, bottom = min(_SIDE_PX, x + radius), min(_SIDE_PX, _SIDE_PX - y + radius)
    return Box(
        round(left * scale),
        round(top * scale),
        max(1, round((right - left) * scale)),
        max(1, round((bottom - top) * scale)),
    )


def _worst_rows(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """One row a film, the malignant one where there is one."""
    worst: dict[str, tuple[str, ...]] = {}
    for row in rows:
        if row[0] not in worst or (row[4] == "M" and worst[row[0]][4] != "M"):
            worst[row[0]] = row
    return list(worst.values())


def _reads(path: Path) -> bool:
    table = find_table(path, _TABLE) if path.is_dir() else None
    return table is not None and _ROW.search(table.read_text(encoding="latin-1")) is not None


MIAS = Collection(
    name="mias",
    title="mini-MIAS (Suckling et al. 1994)",
    accepts="a folder with Info.txt and mdb001.pgm to mdb322.pgm",
    list=list_mias,
    reads=_reads,
    is_mammogram=True,
    licence="research only, not to be passed on; cite Suckling et al. 1994",
    region_size=(299, 299),
)
