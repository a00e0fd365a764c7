"""DDSM: 2,620 cases of four scanned films, with outlines and pathology; LJPEG and PNG editions, mini-DDSM.

Sources: Heath et al. (2001), "The Digital Database for Screening Mammography"; Lekamlage et al. (2020),
"Mini-DDSM: Mammography-based Automatic Age Estimation".
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from trainables.common.errors import DataError
from trainables.common.text import count_text
from trainables.config.tasks import CODES_OF_KIND, StoredCodes
from trainables.data.collections.collection import Box, Choices, Collection, Example, Listing, Problem
from trainables.data.collections.ddsm_case import Abnormality, Case, Film, read_case, read_overlay
from trainables.data.collections.parts import (
    PICTURES,
    ROI_METHODS,
    checked_options,
    cut_of,
    image_size,
    listing,
    no_table,
    regions_of,
)
from trainables.data.collections.tables import birads, density, known
from trainables.data.collections.tree import files_below
from trainables.data.columns import SIDES

_CASE: Final = re.compile(r"^([ABCD])[-_](\d{4})[-_](\d)$")
_FILM: Final = re.compile(
    r"^([ABCD])[-_](\d{4})[-_](\d)\.(LEFT|RIGHT)_(CC|MLO)(_MASK)?(\.LJPEG)?(\.[A-Z0-9]+)*$", re.IGNORECASE
)
_VOLUMES: Final = {"normal": 0, "benign": 1, "cancer": 2}
_CLASSES: Final = ("normal", "benign", "malignant")
_PATHOLOGIES: Final = {"BENIGN": 0, "BENIGN_WITHOUT_CALLBACK": 0, "MALIGNANT": 1}


@dataclass(slots=True)
class _Files:
    """Files of one case by view, such as `LEFT_CC`."""

    header: Path
    films: dict[str, Path]
    overlays: dict[str, Path]
    masks: dict[str, Path]


def list_ddsm(path: Path, choices: Choices) -> Listing:
    """List outlined abnormalities and films of normal cases.

    Args:
        path: Folder above the folders of cases; each case has an `.ics` file beside its films.
        choices: `roi` (the default where there are outlines) takes each abnormality, and tiles of tissue of
            normal films; `image` takes whole films, and keeps their masks beside them. `roi_method` is how
            regions are cut.

    Raises:
        DataError: If there is no case, or no outline where regions are asked for.
    """
    regions, cut = regions_of(choices, ("roi", "image")), cut_of(checked_options(choices, ROI_METHODS))
    no_table(choices)
    if not path.is_dir():
        raise DataError(f"there is no folder {path}")
    cases, problems = _cases(path)
    if not cases:
        raise DataError(f"{path} needs the .ics file of each case, such as A-1024-1.ics; none is there")
    has_outlines = any(case.overlays for case in cases.values())
    if not has_outlines:
        if choices.regions == "roi":
            raise DataError(
                f"{path} needs .OVERLAY files for regions; none is there, so take --regions image"
            )
        regions = "image"
    reader, examples = _Reader(has_outlines, Counter(), problems), list[Example]()
    for name, files in cases.items():
        try:
            case = read_case(files.header)
        except (DataError, ValueError, OSError) as error:
            problems.append(Problem(files.header.name, str(error)))
            continue
        volume = _volume(files.header.relative_to(path).parent)
        for film in case.films:
            examples += _of_film(name, case, film, files, volume, reader)
    if regions == "image":
        examples = list(_whole_films(examples))
    else:
        examples = [replace(one, cut=cut if one.label else "tiles") for one in examples]
    codes: StoredCodes = "pisa" if has_outlines else "own"
    notes = [
        f"{len(cases)} cases; the films of a case are one patient and one examination",
        *(
            f"{count_text(count, 'film')} left out: {reason}"
            for reason, count in sorted(reader.counts.items())
        ),
    ]
    if regions == "roi":
        notes.append(
            "films of normal cases give tiles of tissue, by the limits of their scanner, after the split"
        )
    if not has_outlines:
        notes.append("there are no .OVERLAY files, so labels are normal, benign or malignant by the folders")
    return listing(
        path, examples, codes, notes=notes, problems=problems, classes=() if has_outlines else _CLASSES
    )


def _cases(path: Path) -> tuple[dict[str, _Files], list[Problem]]:
    """Files of each case that has a header. Of a film in several encodings, PNG is taken before LJPEG."""
    files, problems = files_below(path)
    cases: dict[str, _Files] = {}
    for file in files:
        if file.suffix.lower() == ".ics" and (found := _CASE.match(file.stem)):
            cases.setdefault("_".join(found.groups()), _Files(file, {}, {}, {}))
    orphans = set()
    for file in files:
        found = _FILM.match(file.name)
        if found is None:
            continue
        case, view = f"{found[1]}_{found[2]}_{found[3]}".upper(), f"{found[4]}_{found[5]}".upper()
        if case not in cases:
            orphans.add(case)
            continue
        own, suffix = cases[case], file.suffix.lower()
        if suffix == ".overlay":
            own.overlays.setdefault(view, file)
        elif found[6]:
            own.masks.setdefault(view, file)
        elif suffix in PICTURES:
            own.films[view] = own.films[view] if _is_picture(own.films.get(view)) else file
        elif suffix == ".ljpeg":
            own.films.setdefault(view, file)
    return cases, problems + [Problem(case, "has films, but no .ics file") for case in sorted(orphans)]


def _is_picture(file: Path | None) -> bool:
    return file is not None and file.suffix.lower() in PICTURES


def _volume(folder: Path) -> int | None:
    """What the folders say about a case: 0 normal, 1 benign, 2 cancer; None where they say nothing."""
    for part in reversed(folder.parts):
        for word, code in _VOLUMES.items():
            if part.lower().startswith(word):
                return code
    return None


@dataclass(slots=True)
class _Reader:
    """What the films of all cases have in common, and what was left out of them."""

    has_outlines: bool
    counts: Counter[str]
    problems: list[Problem]


def _of_film(
    name: str, case: Case, film: Film, files: _Files, volume: int | None, reader: _Reader
) -> Iterator[Example]:
    what = f"{name}.{film.view}"
    file, overlay = files.films.get(film.view), files.overlays.get(film.view)
    if file is None:
        reader.problems.append(Problem(what, "is named in the .ics file, but has no film"))
        return
    side, view = film.view.split("_")
    columns = known(
        age_years=case.age_years,
        density=density(case.density),
        machine=case.machine,
        mm_per_px=film.resolution_um / 1000 or None,
    )
    plain = Example(file, what, 0, name, name, SIDES[side], view, columns=columns)
    if volume == 0:
        yield plain
    elif film.has_overlay and overlay is not None:
        yield from _abnormalities(plain, film, overlay, reader.problems)
    elif not reader.has_outlines and volume is not None and film.has_overlay:
        yield replace(plain, label=volume, mask=files.masks.get(film.view))
    elif film.has_overlay:
        reader.problems.append(Problem(what, "has an outline by its .ics file, but no .OVERLAY file"))
    else:
        reader.counts["no outline, in a case that is not normal: nobody says that they are healthy"] += 1


def _abnormalities(plain: Example, film: Film, overlay: Path, problems: list[Problem]) -> Iterator[Example]:
    try:
        found = read_overlay(overlay)
    except (DataError, OSError) as error:
        problems.append(Problem(overlay.name, str(error)))
        return
    scale = _scale(plain.file, film)
    for place, one in enumerate(found, start=1):
        name = f"{plain.name}_{place}"
        kind = next((kind for kind in CODES_OF_KIND if kind in one.kind.split("+")), None)
        malignant = _PATHOLOGIES.get(one.pathology)
        if kind is None or malignant is None:
            problems.append(
                Problem(name, f"is {one.kind or 'nothing'} with pathology {one.pathology or 'unknown'}")
            )
            continue
        columns = {**plain.columns, **_facts(one)}
        box = _scaled(one.box, scale)
        yield replace(plain, name=name, label=CODES_OF_KIND[kind][malignant], box=box, columns=columns)


def _facts(one: Abnormality) -> dict[str, str | float]:
    subtlety = float(one.subtlety) if one.subtlety.isdigit() else None
    return known(finding=one.kind, pathology=one.pathology, birads=birads(one.assessment), subtlety=subtlety)


def _scale(file: Path, film: Film) -> float:
    """How much smaller the film is than the outline's: editions in PNG are often made smaller."""
    size = image_size(file) if _is_picture(file) else None
    return size[0] / film.rows if size and film.rows else 1.0


def _scaled(box: Box, scale: float) -> Box:
    if scale == 1.0:
        return box
    sides = (box.left, box.top, box.width, box.height)
    left, top, width, height = (round(side * scale) for side in sides)
    return Box(left, top, max(1, width), max(1, height))


def _whole_films(examples: list[Example]) -> Iterator[Example]:
    """One whole film an example, with the label of its worst abnormality; a mask stays beside it."""
    films: dict[Path, Example] = {}
    for one in examples:
        malignant = one.label in (2, 4)
        if one.file not in films or (malignant and films[one.file].label not in (2, 4)):
            films[one.file] = one
    for one in films.values():
        name = f"{one.patient}.{'LEFT' if one.laterality == 'L' else 'RIGHT'}_{one.view}"
        yield replace(one, name=name, box=None, cut="whole" if one.mask else None)


def _reads(path: Path) -> bool:
    if not path.is_dir():
        return False
    patterns = ("*.ics", "*/*.ics", "*/*/*.ics", "*/*/*/*.ics", "*/*/*/*/*.ics")
    return any(_CASE.match(file.stem) for pattern in patterns for file in path.glob(pattern))


DDSM = Collection(
    name="ddsm",
    title="DDSM (Heath et al. 2001)",
    accepts="a folder of cases, each with A-1024-1.ics, films (.LJPEG or .png) and .OVERLAY files",
    list=list_ddsm,
    reads=_reads,
    is_mammogram=True,
    licence="free for research; cite Heath et al. 2001",
    region_size=(299, 299),
)
