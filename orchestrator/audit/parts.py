"""Patients, examinations, lesions and tiles that are in two parts of a split."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.audit.examined_set import ExaminedSet, is_known
from results.run.audit_record import Check, Finding
from trainables.common.text import count_text
from trainables.common.types import Float64Array, IntArray

SHOWN: Final = 3  # examples that a finding names
_OVERLAP: Final = 0.1  # share of the smaller tile from which two tiles overlap
_MOST_OF_AN_IMAGE: Final = 3000  # tiles of one image that are compared with each other
_PLACE_IN_NAME: Final = re.compile(r"(?P<image>[^/\\]*?)_x(?P<left>\d+)_y(?P<top>\d+)", re.IGNORECASE)
_SIDES: Final = ("box_left", "box_top", "box_width", "box_height")


def findings_of_parts(examined: ExaminedSet) -> list[Finding]:
    """Say which patients, examinations and lesions are in two parts, and which tiles overlap."""
    return [
        *_in_two_parts(examined, examined.patch_set.patients, "patient"),
        *_in_two_parts(examined, _exams(examined), "examination"),
        *_in_two_parts(examined, examined.columns.get("lesion"), "lesion"),
        *_similar_names(examined),
        *_overlapping_tiles(examined),
    ]


def _in_two_parts(examined: ExaminedSet, units: NDArray[Any] | None, noun: str) -> Iterator[Finding]:
    """A finding on units that lie in more than one part; extra rows are a part of their own."""
    if units is None:
        return
    of_rows = np.asarray(units)[examined.rows.rows]
    known = is_known(of_rows)
    names, unit = np.unique(of_rows.astype(str), return_inverse=True)
    low = np.full(len(names), np.iinfo(np.int64).max)
    high = np.full(len(names), np.iinfo(np.int64).min)
    np.minimum.at(low, unit[known], examined.parts[known])
    np.maximum.at(high, unit[known], examined.parts[known])
    torn = np.flatnonzero(low < high)
    if not len(torn):
        return
    yield Finding(
        check="parts",
        is_warning=True,
        text=f"{count_text(len(torn), noun)} {'is' if len(torn) == 1 else 'are'} in two parts",
        count=len(torn),
        examples=tuple(names[torn[:SHOWN]].tolist()),
    )


def _exams(examined: ExaminedSet) -> NDArray[np.str_] | None:
    """Examination of each image of the patch set with its patient, as patients may number their own; or None.

    Unknown examinations are empty texts.
    """
    exams, patients = examined.columns.get("exam"), examined.patch_set.patients
    if exams is None:
        return None
    names = np.asarray(exams).astype(str)
    if patients is not None:
        pairs = zip(names.tolist(), patients.tolist(), strict=True)
        names = np.array([f"{exam} of patient {patient}" for exam, patient in pairs])
    return np.where(is_known(np.asarray(exams)), names, "")


def _similar_names(examined: ExaminedSet) -> Iterator[Finding]:
    """A finding on patients in different parts whose names differ by case, separators or leading zeros."""
    if examined.patch_set.patients is None:
        return
    own = examined.patch_set.patients[examined.rows.rows]
    spellings: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for name, part in zip(own.tolist(), examined.parts.tolist(), strict=True):
        spellings[plain_patient(name)][name].add(part)
    torn = [
        sorted(names)
        for names in spellings.values()
        if len(names) > 1 and len(set.union(*names.values())) > 1
    ]
    if torn:
        pairs = tuple(" and ".join(names) for names in torn[:SHOWN])
        yield Finding(
            check="parts",
            is_warning=True,
            text=f"{count_text(len(torn), 'patient')} may be spelt in two ways and be in two parts",
            count=len(torn),
            examples=pairs,
        )


def plain_patient(name: str) -> str:
    """Return a patient's name in the form in which spellings of one name are the same.

    >>> plain_patient("P_00123"), plain_patient("p 123"), plain_patient("P_1230")
    ('p-123', 'p-123', 'p-1230')
    """
    parts = re.split(r"[\W_]+", str(name).strip().casefold())
    return "-".join(re.sub(r"^0+(?=\d)", "", part) if part.isdigit() else part for part in parts if part)


def _overlapping_tiles(examined: ExaminedSet) -> Iterator[Finding]:
    """A finding on tiles of one image that show the same tissue, in two parts or with two labels."""
    found = _tiles(examined)
    if found is None:
        return
    images, boxes = found
    pairs = overlapping_pairs(images, boxes)
    if not len(pairs):
        return
    parts, labels = examined.parts[pairs], examined.rows.labels[pairs]
    groups = examined.rows.groups[pairs]
    in_two = pairs[parts[:, 0] != parts[:, 1]]
    disagree = pairs[(labels[:, 0] != labels[:, 1]) & (parts[:, 0] == parts[:, 1])]
    if len(in_two):
        yield _about_pairs(examined, in_two, "parts", "overlap and are in two parts", is_warning=True)
    if len(disagree):
        yield _about_pairs(examined, disagree, "labels", "overlap and have two labels", is_warning=False)
    if not len(in_two) and not len(disagree) and (groups[:, 0] == groups[:, 1]).all():
        yield _about_pairs(examined, pairs, "parts", "overlap, each pair in one part", is_warning=False)


def _about_pairs(
    examined: ExaminedSet, pairs: IntArray, check: Check, what: str, *, is_warning: bool
) -> Finding:
    rows = examined.rows.rows[pairs[:SHOWN]]
    named = tuple(" and ".join(examined.name(int(row)) for row in pair) for pair in rows)
    return Finding(
        check=check,
        is_warning=is_warning,
        text=f"{count_text(len(pairs), 'pair')} of tiles {what}",
        count=len(pairs),
        examples=named,
    )


def _tiles(examined: ExaminedSet) -> tuple[NDArray[np.str_], Float64Array] | None:
    """Image that each row was cut from, and its box (left, top, right, bottom); None where not known.

    A row that shows all of its image is of no image, since there is nothing to overlap with.
    """
    files = examined.column("file")
    sides = [examined.column(name) for name in _SIDES]
    if files is not None and all(side is not None for side in sides):
        left, top, width, height = (np.asarray(side, dtype=np.float64) for side in sides)
        boxes = np.stack([left, top, left + width, top + height], axis=1)
        known = ~np.isnan(boxes).any(axis=1) & is_known(files) & ~_are_whole(examined, boxes)
        return np.where(known, _images(examined, files), ""), boxes
    return _tiles_by_name([examined.patch_set.names[row] for row in examined.rows.rows.tolist()], examined) \
        if examined.patch_set.names else None  # fmt: skip


def _images(examined: ExaminedSet, files: NDArray[Any]) -> NDArray[np.str_]:
    """Image of each row: frame of a file of a source, as sources may name their files alike."""
    further = [found for name in ("source", "frame") if (found := examined.column(name)) is not None]
    parts = zip(*(one.astype(str).tolist() for one in (files, *further)), strict=True)
    return np.array([json.dumps(one) for one in parts])


def _are_whole(examined: ExaminedSet, boxes: Float64Array) -> NDArray[np.bool_]:
    """True for boxes that are all of their image, shape (n,)."""
    sides = [examined.column(name) for name in ("width_px", "height_px")]
    if any(side is None for side in sides):
        return np.zeros(len(boxes), dtype=bool)
    size = np.stack([np.asarray(side, dtype=np.float64) for side in sides], axis=1)
    return np.asarray((boxes[:, :2] <= 0).all(axis=1) & (boxes[:, 2:] >= size).all(axis=1))


def _tiles_by_name(
    names: Sequence[str], examined: ExaminedSet
) -> tuple[NDArray[np.str_], Float64Array] | None:
    """Tiles whose names say where they were cut, as in the IDC set: `8863_idx5_x51_y1251_class0.png`."""
    matches = [_PLACE_IN_NAME.search(name) for name in names]
    if not all(matches):
        return None
    height, width = examined.patch_set.images.shape[1:3]
    corners = np.array([[int(one["left"]), int(one["top"])] for one in matches if one], dtype=np.float64)
    images = np.array([one["image"] for one in matches if one])
    return images, np.concatenate([corners, corners + np.array([width, height])], axis=1)


def overlapping_pairs(images: NDArray[np.str_], boxes: Float64Array) -> IntArray:
    """Return pairs of boxes of one image that share at least a tenth of the smaller one.

    Args:
        images: Image of each box, shape (n,); an empty name is of no image.
        boxes: Left, top, right and bottom edge of each, shape (n, 4).

    Returns:
        Pairs of places, the smaller first, shape (p, 2).

    >>> boxes = np.array([[0, 0, 10, 10], [5, 5, 15, 15], [10, 0, 20, 10.0]])
    >>> overlapping_pairs(np.array(["a", "a", "a"]), boxes).tolist()
    [[0, 1], [1, 2]]
    """
    pairs = []
    for image in np.unique(images[images != ""]):
        places = np.flatnonzero(images == image)[:_MOST_OF_AN_IMAGE]
        own = boxes[places]
        low = np.maximum(own[:, None, :2], own[None, :, :2])
        high = np.minimum(own[:, None, 2:], own[None, :, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=2)
        area = (own[:, 2:] - own[:, :2]).prod(axis=1)
        one, other = np.nonzero(np.triu(shared >= _OVERLAP * np.minimum.outer(area, area), k=1))
        pairs.append(np.stack([places[one], places[other]], axis=1))
    return np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)
