"""`explanations.json` and its pictures: relevance maps of some images, and how far they can be believed."""

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat
from rich.table import Table
from rich.text import Text

from results.relevance.faithfulness import Faithfulness
from results.relevance.frame import Frame, frame_of, peak_of
from results.relevance.froc import AT, froc
from results.relevance.method import FoundBox, RelevanceSettings
from results.relevance.pictures import picture
from results.relevance.pointing import Pointing
from results.run.split_labels import GROUPED, SplitName
from results.tables import csv_text, result_table
from trainables.common.files import write_atomically
from trainables.common.frozen import FrozenModel
from trainables.common.text import printable
from trainables.common.types import Float64Array

EXPLANATIONS_FILE: Final = "explanations.json"
MAPS_FILE: Final = "maps.npz"
_DRAWN: Final = 5  # marks in a picture
_COLUMNS: Final = ("name", "label", "explained_class", "probability", "frame", "highest", "seconds")


class Explanation(FrozenModel):
    """The relevance map of one image.

    Attributes:
        name: Name of the picture and of the array in `maps.npz`, without ending.
        row: Row of the image in the data of the run; None for a file.
        file: Path of the file as it was given; None for an image of the run.
        label: Class that the data name; None for a file.
        explained_class: Class whose score the map explains.
        probability: Probability of that class, by the model that is explained.
        fold: 0-based fold whose models held the image out, and are explained; None where all models are.
        out_of_fold: Probability of that class out of fold, by which the image was chosen; None for others.
        frame: Box around the connected part with the highest relevance; None where nothing speaks for the
            class.
        peak: Row and column of the highest relevance, in pixels.
        highest: The highest relevance, in the unit of the method.
        known: Boxes of lesions that the data name.
        is_hit: True if the highest relevance lies in one of them; None without one.
        marks: Places that the method finds suspicious by themselves, the highest first.
        evaluations: Number of images that the model was asked about; 1 for a method by gradients.
        seconds: Time of the map.
        faithfulness: Insertion and deletion; None where it was not asked for.
        randomised: Rank correlation of the map with that of the same net with its weights shuffled: near 0
            for a method that shows the net and not the image; None where it was not asked for.
    """

    name: str
    row: int | None = None
    file: str | None = None
    label: str | None = None
    explained_class: str
    probability: FiniteFloat
    fold: int | None = None
    out_of_fold: FiniteFloat | None = None
    frame: Frame | None
    peak: tuple[int, int]
    highest: FiniteFloat
    known: tuple[Frame, ...] = ()
    is_hit: bool | None = None
    marks: tuple[FoundBox, ...] = ()
    evaluations: int
    seconds: FiniteFloat
    faithfulness: Faithfulness | None = None
    randomised: FiniteFloat | None = None


class Explanations(FrozenModel):
    """`explanations.json`: relevance maps of some images by one method.

    Attributes:
        model: Name of the model, such as `ensemble average` or `trial 7`.
        trials: Numbers of its members.
        method: Name of the method.
        about: What a value of a map means.
        source: Paper.
        settings: Settings of the method, by name.
        is_synthetic: True where the images of the run are generated.
        split: Name of the kind of split.
        images: One for each image.
        found_at: False marks an image -> share of the lesions that are marked, for a method with marks and
            images whose lesions are known; empty for others.
        pointing: The pointing game over the images whose lesions are known; None without one.
        notes: Sentences on what was done to files.
    """

    model: str
    trials: tuple[int, ...]
    method: str
    about: str
    source: str
    settings: dict[str, Any] = Field(default_factory=dict)
    is_synthetic: bool = False
    split: SplitName = GROUPED
    images: tuple[Explanation, ...]
    found_at: dict[float, FiniteFloat] = Field(default_factory=dict)
    pointing: Pointing | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainedImage:
    """One image with its map, before it is written.

    Attributes:
        facts: What is written of it.
        image: Raw pixels, shape (H, W) or (H, W, 3).
        values: Relevance, shape (H, W).
    """

    facts: Explanation
    image: NDArray[Any]
    values: Float64Array


def facts_of_map(values: Float64Array, known: Sequence[Frame] = ()) -> dict[str, Any]:
    """Return the facts of an `Explanation` that follow from the map and the known boxes alone."""
    peak = peak_of(values)
    return {
        "frame": frame_of(values),
        "peak": peak,
        "highest": float(values.max()),
        "known": tuple(known),
        "is_hit": any(box.holds(*peak) for box in known) if known else None,
    }


def sensitivities(images: Sequence[Explanation]) -> dict[float, float]:
    """Return the free-response curve at some rates of false marks; empty without marks or known lesions."""
    if not any(one.marks for one in images) or not any(one.known for one in images):
        return {}
    curve = froc([one.marks for one in images], [one.known for one in images])
    return {rate: curve.sensitivity_at(rate) for rate in AT}


def picture_names(files: Sequence[Path]) -> list[str]:
    """Return names of pictures: those of the files without ending, with a number where two are alike.

    >>> picture_names([Path("a/film.png"), Path("b/film.dcm"), Path("c.png")])
    ['film', 'film-2', 'c']
    """
    taken: dict[str, int] = {}
    names = []
    for path in files:
        number = taken[path.stem] = taken.get(path.stem, 0) + 1
        names.append(path.stem if number == 1 else f"{path.stem}-{number}")
    return names


def settings_of(settings: RelevanceSettings) -> dict[str, Any]:
    """Return settings as plain values."""
    return asdict(settings)


def write_explanations(
    folder: Path, explanations: Explanations, images: Sequence[ExplainedImage], *, max_value: float
) -> None:
    """Write pictures, maps and, last, the JSON file; earlier ones of the same names are replaced.

    Args:
        folder: Folder to write; it is made if it is missing.
        explanations: Facts.
        images: Images with their maps.
        max_value: Pixel value that is white.

    Raises:
        OSError: If the folder cannot be written.
    """
    for one in images:
        drawn = picture(
            one.image,
            one.values,
            max_value=max_value,
            frame=one.facts.frame,
            marks=[mark.box for mark in one.facts.marks[:_DRAWN]],
            caption=_caption(explanations, one.facts),
            known=one.facts.known,
        )
        write_atomically(folder / f"{one.facts.name}.png", drawn)
    buffer = io.BytesIO()
    maps: dict[str, Any] = {one.facts.name: one.values.astype(np.float32) for one in images}
    np.savez_compressed(buffer, **maps)
    write_atomically(folder / MAPS_FILE, buffer.getvalue())
    write_atomically(folder / EXPLANATIONS_FILE, explanations.model_dump_json(indent=1) + "\n")


def _caption(explanations: Explanations, facts: Explanation) -> list[str]:
    truth = f"; {facts.label} in the data" if facts.label else ""
    held = "" if facts.fold is None else f", by the models of fold {facts.fold} that held it out"
    lines = [
        f"P({facts.explained_class}) {facts.probability:.3f}{held}{truth}",
        f"{explanations.method}: brightest is {facts.highest:.3g}; blue speaks against it",
    ]
    if explanations.is_synthetic:
        lines.append("SYNTHETIC image")
    return lines


def explanations_as_json(explanations: Explanations, folder: Path) -> dict[str, Any]:
    """Return the content of `explanations.json`, with the folder that it lies in."""
    return {"folder": str(folder), **explanations.model_dump(mode="json")}


def explanations_as_csv(explanations: Explanations) -> str:
    """Return one row for each image, as CSV with a header; a box is left, top, width and height."""
    rows = []
    for one in explanations.images:
        row = {name: getattr(one, name) for name in (*_COLUMNS, "row", "file", "fold", "is_hit")}
        box = one.frame
        rows.append(row | {"frame": None if box is None else (box.left, box.top, box.width, box.height)})
    return csv_text(rows, [*_COLUMNS, "row", "file", "fold", "is_hit"])


def explanations_table(explanations: Explanations) -> Table:
    """Return a table that fits 80 columns."""
    classes = {one.explained_class for one in explanations.images}
    only = next(iter(classes)) if len(classes) == 1 else ""
    has_labels = any(one.label for one in explanations.images)
    has_checks = any(one.faithfulness is not None for one in explanations.images)
    has_known = any(one.known for one in explanations.images)
    table = result_table(title=f"{explanations.model}, {explanations.method}", title_justify="left")
    table.add_column("image", overflow="fold")
    for header in (*(["in the data"] if has_labels else []), *([] if only else ["explained"])):
        table.add_column(header, no_wrap=True)
    checks = _CHECKS if has_checks else ()
    for header in (f"P({only})" if only else "P", "frame", *(["hit"] if has_known else []), *checks):
        table.add_column(header, justify="right", no_wrap=True)
    for one in explanations.images:
        box = one.frame
        name = f"row {one.row}" if one.row is not None else one.file or one.name
        cells = [
            *([one.label or "-"] if has_labels else []),
            *([] if only else [one.explained_class]),
            f"{one.probability:.3f}",
            "none" if box is None else f"{box.width}x{box.height}+{box.left}+{box.top}",
            *([{True: "yes", False: "no", None: "-"}[one.is_hit]] if has_known else []),
            *(_check_cells(one) if has_checks else []),
        ]
        table.add_row(Text(printable(name, keeps="")), *cells)
    said = [f"A map shows {explanations.about}.", _said_of_pointing(explanations.pointing)]
    said += [
        f"{share:.0%} of lesions at {rate:g} false marks an image"
        for rate, share in explanations.found_at.items()
    ]
    table.caption = " ".join(one for one in said if one)
    return table


_CHECKS: Final = ("ins-del", "chance", "shuffled")


def _check_cells(one: Explanation) -> list[str]:
    found = one.faithfulness
    if found is None:
        return ["-", "-", "-"]
    own, chance = found.insertion - found.deletion, found.random_insertion - found.random_deletion
    return [f"{own:.3f}", f"{chance:.3f}", "-" if one.randomised is None else f"{one.randomised:.2f}"]


def _said_of_pointing(found: Pointing | None) -> str:
    if found is None:
        return ""
    return (
        f"Its highest point lies on the lesion in {found.hits} of {found.images} images; the centre in "
        f"{found.centre}, a random point in {found.random}."
    )
