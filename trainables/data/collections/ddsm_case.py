"""Files of one case of DDSM: the `.ics` header and the `.OVERLAY` outlines of its films.

Source: Heath et al. (2001), "The Digital Database for Screening Mammography", and the notes with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from trainables.common.errors import DataError
from trainables.data.collections.collection import Box

# Steps of the chain code, (column, row): 0 is up, then clockwise.
_STEPS: Final = ((0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1))
_VIEWS: Final = ("LEFT_CC", "LEFT_MLO", "RIGHT_CC", "RIGHT_MLO")
_MACHINES: Final = ("DBA", "LUMISYS", "HOWTEK")


@dataclass(frozen=True, slots=True)
class Film:
    """One film of a case.

    Attributes:
        view: Such as `LEFT_CC`.
        rows: Height in pixels.
        columns: Width in pixels.
        bits: Bits of a value, such as 12 or 16; 0 where they are not stated.
        resolution_um: Side of a pixel in micrometres; 0 where it is not stated.
        has_overlay: True where an abnormality is outlined on it.
    """

    view: str
    rows: int
    columns: int
    bits: int
    resolution_um: float
    has_overlay: bool


@dataclass(frozen=True, slots=True)
class Case:
    """The header of a case.

    Attributes:
        name: Such as `A-1024-1`.
        age_years: Age of the patient, or None.
        density: Breast density, 1 to 4, as written.
        machine: `dba`, `lumisys` or `howtek`; empty where it is not known.
        films: Its films.
    """

    name: str
    age_years: float | None
    density: str
    machine: str
    films: tuple[Film, ...]


@dataclass(frozen=True, slots=True)
class Abnormality:
    """One abnormality of a film.

    Attributes:
        kind: `mass`, `calcification`, both joined by `+`, or another word of the file, in lower case.
        pathology: Such as `MALIGNANT`.
        assessment: BI-RADS assessment, as written.
        subtlety: 1 (subtle) to 5, as written.
        box: Box around its outline.
    """

    kind: str
    pathology: str
    assessment: str
    subtlety: str
    box: Box


def read_case(file: Path) -> Case:
    """Read an `.ics` file.

    Raises:
        DataError: If it holds no film.
    """
    words: dict[str, list[str]] = {}
    films = []
    for line in file.read_text(encoding="latin-1").splitlines():
        key, *rest = line.split() or [""]
        if key.upper() in _VIEWS:
            films.append(_film(key.upper(), rest))
        else:
            words.setdefault(key.lower(), rest)
    if not films:
        raise DataError("names no film, such as LEFT_CC LINES 4544 PIXELS_PER_LINE 3120")
    age = "".join(words.get("patient_age", []))
    digitizer = " ".join(words.get("digitizer", [])).upper()
    return Case(
        name=" ".join(words.get("filename", [])) or file.stem,
        age_years=float(age) if age.isdigit() else None,
        density="".join(words.get("density", [])),
        machine=next((name.lower() for name in _MACHINES if name in digitizer), ""),
        films=tuple(films),
    )


def _film(view: str, words: list[str]) -> Film:
    facts = {key.upper(): value for key, value in pairwise(words)}
    return Film(
        view=view,
        rows=int(facts.get("LINES", "0")),
        columns=int(facts.get("PIXELS_PER_LINE", "0")),
        bits=int(facts.get("BITS_PER_PIXEL", "0")),
        resolution_um=float(facts.get("RESOLUTION", "0")),
        has_overlay=bool(words) and words[-1].upper() == "OVERLAY",
    )


def read_overlay(file: Path) -> list[Abnormality]:
    """Read an `.OVERLAY` file.

    Raises:
        DataError: If an abnormality has no outline.
    """
    lines = file.read_text(encoding="latin-1").splitlines()
    starts = [place for place, line in enumerate(lines) if line.split()[:1] == ["ABNORMALITY"]]
    return [_abnormality(lines[start:end]) for start, end in zip(starts, [*starts[1:], None], strict=True)]


def _abnormality(lines: list[str]) -> Abnormality:
    words: dict[str, str] = {}
    kinds = []
    for line in lines:
        key, _, rest = line.strip().partition(" ")
        if key == "LESION_TYPE":
            kinds.append(rest.split()[0].lower() if rest.split() else "")
        words.setdefault(key, rest.strip())
    outline = next((after for before, after in pairwise(lines) if before.strip() == "BOUNDARY"), "")
    return Abnormality(
        kind="+".join(dict.fromkeys(kinds)),
        pathology=words.get("PATHOLOGY", "").upper(),
        assessment=words.get("ASSESSMENT", ""),
        subtlety=words.get("SUBTLETY", ""),
        box=box_of_chain(outline),
    )


def box_of_chain(text: str) -> Box:
    """Return the box around a chain code: start column and row, then steps from 0 (up) clockwise to 7.

    Raises:
        DataError: If it is no chain code.

    >>> box_of_chain("10 20 2 2 4 4 6 6 0 0 #")
    Box(left=10, top=20, width=3, height=3)
    """
    try:
        points = list(_points([int(word) for word in text.replace("#", " ").split()]))
        columns, rows = zip(*points, strict=True)
    except (ValueError, IndexError) as error:
        raise DataError(f"has an outline that is no chain code ({text[:30]!r})") from error
    left, top = min(columns), min(rows)
    return Box(max(0, left), max(0, top), max(columns) - left + 1, max(rows) - top + 1)


def _points(numbers: list[int]) -> Iterator[tuple[int, int]]:
    column, row, *steps = numbers
    yield column, row
    for step in steps:
        across, down = _STEPS[step]
        column, row = column + across, row + down
        yield column, row
