"""Prepared sets joined into one: each row knows its source, and patients of two sources stay two.

Sets of one collection may share patients; those of two are told apart by the name of the collection. Images
of the user's own trees that share names are told apart by the names of the sets.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.files import folder_in_progress, write_atomically
from trainables.config.tasks import FINDING_OF_003, StoredCodes
from trainables.data.declared_steps import agreed_steps
from trainables.data.declared_whites import WHITES, joined_whites
from trainables.data.patches import fingerprint_of
from trainables.data.pixel_range import to_range
from trainables.data.prepared.join_ids import check_one_key, names_of_trees, told_apart
from trainables.data.prepared_set import (
    FACTS_FILE,
    FORMAT,
    IMAGES_FILE,
    MASKS_FILE,
    PROBLEMS_FILE,
    PreparedSet,
    open_prepared_set,
    raw_patches,
    write_table,
)

_OF_PEOPLE: Final = ("patient", "exam")
_OF_IMAGES: Final = ("name", "partner")


def join_sets(folders: Sequence[Path], out: Path) -> PreparedSet:
    """Join prepared sets in the order given; images are copied one by one.

    Args:
        folders: Folders of at least two prepared sets, whose images have one size.
        out: Folder of the new set.

    Returns:
        The new set, open.

    Raises:
        DataError: If sets are missing, their sizes, classes, steps or ways of writing ids differ, they share
            images, or `out` is there.
        OSError: If the new set cannot be written.
    """
    if len(folders) < 2:
        raise DataError(f"two sets or more are joined, found {len(folders)}")
    out = out.resolve()
    if out.exists():
        raise DataError(f"{out} is there already; name another folder, or remove it")
    sets = [open_prepared_set(folder) for folder in folders]
    _check_sizes(sets)
    steps = agreed_steps({one.folder.name: one.facts for one in sets})
    codes, classes = _common_codes(sets)
    notes = list[str]()
    check_one_key(sets, notes)
    table = _joined_table(sets, classes, codes, notes)
    whites = joined_whites({one.folder.name: one.facts for one in sets}, notes)
    with folder_in_progress(out) as scratch:
        max_value = _write_images(sets, scratch, notes)
        _write_masks(sets, scratch)
        write_table(table, scratch)
        images = np.load(scratch / IMAGES_FILE, mmap_mode="r")
        raw = raw_patches(images, table, codes, source=out.name, max_value=max_value)
        facts = _facts(sets, codes, classes, max_value, len(images), notes)
        facts["settings"] = {"steps": steps}
        facts[WHITES] = whites
        facts["fingerprint"] = fingerprint_of(raw)
        write_atomically(scratch / PROBLEMS_FILE, "what,reason\n")
        write_atomically(scratch / FACTS_FILE, json.dumps(facts, indent=1) + "\n")
        scratch.rename(out)
    return open_prepared_set(out)


def _check_sizes(sets: Sequence[PreparedSet]) -> None:
    sizes = [one.images.shape[1:3] for one in sets]
    if len(set(sizes)) > 1:
        said = ", ".join(f"{one.folder.name} {h}x{w}" for one, (h, w) in zip(sets, sizes, strict=True))
        raise DataError(
            f"the images of sets that are joined must have one size; found {said}: prepare with --size"
        )


def _common_codes(sets: Sequence[PreparedSet]) -> tuple[StoredCodes, tuple[str, ...]]:
    """Code book of the joined labels: findings as in the Pisa set, or the classes that all sets name."""
    books = {"pisa" if one.label_codes == "003" else one.label_codes for one in sets}
    classes = {frozenset(one.classes) for one in sets}
    if len(books) > 1 or len(classes) > 1:
        said = "; ".join(
            f"{one.folder.name}: {', '.join(one.classes) or f'findings by the codes {one.label_codes}'}"
            for one in sets
        )
        raise DataError(
            f"the labels of sets that are joined must have one meaning; found {said}: a table of your own "
            "may name findings, such as mass_malignant, too"
        )
    codes: StoredCodes = "pisa" if books == {"pisa"} else sets[0].label_codes
    return codes, sets[0].classes


def _joined_table(
    sets: Sequence[PreparedSet], classes: tuple[str, ...], codes: StoredCodes, notes: list[str]
) -> dict[str, list[Any]]:
    columns = list(dict.fromkeys(name for one in sets for name in one.table))
    several = Counter(str(one.facts["collection"]) for one in sets)
    table: dict[str, list[Any]] = {name: [] for name in columns}
    trees = names_of_trees(sets)
    for one, tree in zip(sets, trees, strict=True):
        for name in columns:
            table[name] += _values(one, name, tree)
        table["label"][-len(one.images) :] = _labels(one, classes)
    if any(trees):
        named = ", ".join(tree for tree in trees if tree)
        notes.append(f"images of {named} share names, and are told apart by the name of their set")
    if max(several.values()) > 1:
        notes.append("patients of sets of one collection that have one name are one patient")
    lacking = [one.folder.name for one in sets if not any(one.table.get("is_test", ()))]
    if lacking and len(lacking) < len(sets):
        notes.append(f"no test part of its own: {', '.join(lacking)}; all of it is for training")
    return {name: _alike(values) for name, values in table.items()}


def _values(one: PreparedSet, name: str, tree: str) -> Sequence[Any]:
    """Values of a column: ids with their collection in front, files with the tree that they are of."""
    values = one.table.get(name, [None] * len(one.images))
    if name in _OF_PEOPLE:
        return told_apart(values, one.table["source"])
    if name in _OF_IMAGES:
        return told_apart(values, one.table["source"], tree)
    if name == "file" and tree:
        return [None if value is None else f"{tree}/{value}" for value in values]
    return values


def _labels(one: PreparedSet, classes: tuple[str, ...]) -> list[int]:
    labels = [int(label) for label in one.table["label"]]
    if one.label_codes == "003":
        return [FINDING_OF_003[label] for label in labels]
    if not one.classes:
        return labels
    place = {name: index for index, name in enumerate(classes)}
    return [place[one.classes[label]] for label in labels]


def _alike(values: list[Any]) -> list[Any]:
    if any(isinstance(value, str) for value in values):
        return [None if value is None else str(value) for value in values]
    if any(isinstance(value, float) for value in values):
        return [None if value is None else float(value) for value in values]
    return values


def _write_images(sets: Sequence[PreparedSet], folder: Path, notes: list[str]) -> float:
    """Write the images in one depth, range and number of channels; returns the brightest value."""
    max_value = max(float(one.facts["max_value"]) for one in sets)
    dtype = np.dtype("<u2" if any(one.images.dtype == np.uint16 for one in sets) else "<u1")
    is_colour = any(one.images.ndim == 4 for one in sets)
    count = sum(len(one.images) for one in sets)
    scaled = [one.folder.name for one in sets if float(one.facts["max_value"]) != max_value]
    if scaled:
        notes.append(f"scaled to {max_value:g} as the brightest value: {', '.join(scaled)}")
    shape = (count, *sets[0].images.shape[1:3], *((3,) if is_colour else ()))
    with (folder / IMAGES_FILE).open("wb") as file:
        head = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, head)
        for image in _in_one_form(sets, max_value, dtype, is_colour=is_colour):
            file.write(image.data)
    return max_value


def _in_one_form(
    sets: Sequence[PreparedSet], max_value: float, dtype: np.dtype[Any], *, is_colour: bool
) -> Iterator[NDArray[Any]]:
    for one in sets:
        white = float(one.facts["max_value"])
        for image in one.images:
            pixels = (
                np.rint(to_range(image, white=white, max_value=max_value)) if white != max_value else image
            )
            if is_colour and pixels.ndim == 2:
                pixels = np.repeat(pixels[..., None], 3, axis=2)
            yield np.ascontiguousarray(pixels, dtype)


def _write_masks(sets: Sequence[PreparedSet], folder: Path) -> None:
    if all(one.masks is None for one in sets):
        return
    shape = (sum(len(one.images) for one in sets), *sets[0].images.shape[1:3])
    masks = np.lib.format.open_memmap(folder / MASKS_FILE, mode="w+", dtype=np.uint8, shape=shape)
    row = 0
    for one in sets:
        if one.masks is not None:
            masks[row : row + len(one.images)] = one.masks
        row += len(one.images)
    masks.flush()


def _facts(
    sets: Sequence[PreparedSet],
    codes: StoredCodes,
    classes: tuple[str, ...],
    max_value: float,
    images: int,
    notes: Sequence[str],
) -> dict[str, Any]:
    licences = dict.fromkeys(f"{one.facts['collection']}: {one.facts['licence']}" for one in sets)
    tags: Counter[str] = Counter()
    for one in sets:
        tags.update(one.facts.get("identifying_tags", {}))
    return {
        "format": FORMAT,
        "collection": "+".join(dict.fromkeys(str(one.facts["collection"]) for one in sets)),
        "title": "; ".join(dict.fromkeys(str(one.facts["title"]) for one in sets)),
        "licence": "; ".join(licences),
        "label_codes": codes,
        "classes": list(classes),
        "joined": [
            {"name": one.folder.name, "fingerprint": one.fingerprint, "settings": one.facts.get("settings")}
            | {name: one.facts[name] for name in ("collection", "key_id", "joined") if name in one.facts}
            for one in sets
        ],
        "max_value": max_value,
        "images": images,
        "problems": 0,
        "identifying_tags": dict(tags),
        "notes": list(notes),
        "prepared_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
