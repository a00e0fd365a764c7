"""What `explanations.json` holds: relevance maps of some images, and how far they can be believed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from numpy.typing import NDArray
from pydantic import Field, FiniteFloat
from rich.table import Table
from rich.text import Text

from results.relevance.faithfulness import Faithfulness
from results.relevance.frame import Frame, frame_of, peak_of
from results.relevance.froc import AT, froc
from results.relevance.method import FoundBox, RelevanceMap, RelevanceSettings
from results.relevance.place_in_file import PlaceInFile
from results.relevance.pointing import Pointing
from results.run.split_labels import GROUPED, SplitName
from results.tables import csv_text, result_table
from trainables.common.frozen import FrozenModel
from trainables.common.text import count_text, printable
from trainables.common.types import Float64Array

PixelsOf: TypeAlias = Literal["file", "prepared image", "stored image", "slide"]
_PLACES: Final = ("pixels_of", "frame_in_file", "peak_in_file")
_COLUMNS: Final = ("name", "label", "explained_class", "probability", "frame", "highest", "seconds")


class Explanation(FrozenModel):
    """The relevance map of one image.

    Attributes:
        name: Name of the array in `maps.npz`, and of the picture before `.map.png`.
        row: Row of the image in the data of the run; None for a file.
        file: Path of the file as it was given, with escapes for what cannot be printed; None for an image of
            the run.
        label: Class that the data name; None for a file.
        explained_class: Class whose score the map explains.
        probability: Probability of that class, by the model that is explained.
        fold: 0-based fold whose models held the image out, and are explained; None where all models are.
        out_of_fold: Probability of that class out of fold, by which the image was chosen; None for others.
        frame: Box around the connected part with the highest relevance; None where nothing speaks for the
            class.
        peak: Row and column of the highest relevance, in pixels.
        pixels_of: Image whose pixels `frame`, `peak`, `known`, `marks` and the array count: the `file`
            (upright), the `prepared image` that was made of it, the `stored image` of the run's data, or the
            `slide` that was put together of patches; None in files of earlier versions.
        frame_in_file: `frame` in pixels of the file; None without a file, and where it lies outside of what
            was kept of it.
        peak_in_file: `peak` in pixels of the file, likewise.
        marks_in_file: `marks` in pixels of the file, without those outside of what was kept of it.
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
    pixels_of: PixelsOf | None = None
    frame_in_file: Frame | None = None
    peak_in_file: tuple[int, int] | None = None
    marks_in_file: tuple[FoundBox, ...] = ()
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
        left_out: Number of images that `found_at` does not count, since where their lesions lie is not known.
        pointing: The pointing game over the images whose lesions are known; None without one.
        notes: Sentences on what was done to files.
        model_digest: Digest of the model, which is another one once a member was run or trained again or an
            ensemble was built again; None for a bundle, and in files of earlier versions.
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
    left_out: int = 0
    pointing: Pointing | None = None
    notes: tuple[str, ...] = ()
    model_digest: str | None = None


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


def facts_of_file(found: RelevanceMap, place: PlaceInFile | None) -> dict[str, Any]:
    """Return the facts of an `Explanation` that say where in its file a map is high.

    Args:
        found: The map.
        place: Where the pixels of the map lie in the file; None where they are those of the file.
    """
    frame, peak = frame_of(found.values), peak_of(found.values)
    if place is None:
        here = {"frame_in_file": frame, "peak_in_file": peak, "marks_in_file": found.marks}
        return {"pixels_of": "file", **here}
    marks = [(place.frame(mark.box), mark.score) for mark in found.marks]
    return {
        "pixels_of": "prepared image",
        "frame_in_file": None if frame is None else place.frame(frame),
        "peak_in_file": place.point(*peak),
        "marks_in_file": tuple(FoundBox(box, score) for box, score in marks if box is not None),
    }


def sensitivities(images: Sequence[Explanation], *, healthy: str | None) -> tuple[dict[float, float], int]:
    """Return the free-response curve at some rates of false marks, and how many images it leaves out.

    Only images whose lesions are all known say which marks are false: those with boxes, and those of the
    healthy class. Where a map explains the healthy class itself, its peaks are no marks of lesions.

    Args:
        images: Explained images.
        healthy: Name of the class without lesions, see `Task.lesion_free`; None where the task has none.

    Returns:
        Rate of false marks -> share of the lesions that are marked, empty without marks or known lesions; and
        the number of images without a box that are of another class, or of none.
    """
    used = [one for one in images if one.known or (healthy is not None and one.label == healthy)]
    if not any(one.marks for one in images) or not any(one.known for one in used):
        return {}, 0
    marks = [() if one.explained_class == healthy else one.marks for one in used]
    curve = froc(marks, [one.known for one in used])
    return {rate: curve.sensitivity_at(rate) for rate in AT}, len(images) - len(used)


def settings_of(settings: RelevanceSettings) -> dict[str, Any]:
    """Return settings as plain values."""
    return asdict(settings)


def explanations_as_json(explanations: Explanations, folder: Path) -> dict[str, Any]:
    """Return the content of `explanations.json`, with the folder that it lies in."""
    return {"folder": str(folder), **explanations.model_dump(mode="json")}


def explanations_as_csv(explanations: Explanations) -> str:
    """Return one row for each image, as CSV with a header.

    A box is left, top, width and height, a peak row and column; `pixels_of` names the image they are in.
    """
    columns = [*_COLUMNS, "row", "file", "fold", "is_hit", *_PLACES]
    rows = []
    for one in explanations.images:
        boxes = {"frame": _cells_of(one.frame), "frame_in_file": _cells_of(one.frame_in_file)}
        rows.append({name: getattr(one, name) for name in columns} | boxes)
    return csv_text(rows, columns)


def _cells_of(box: Frame | None) -> tuple[int, ...] | None:
    return None if box is None else (box.left, box.top, box.width, box.height)


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
    if explanations.left_out:
        said.append(f"{_without_box(explanations.left_out)} left out of that.")
    if any(one.pixels_of == "prepared image" for one in explanations.images):
        said.append("Frames are in pixels of the prepared image; JSON and CSV have those in the file, too.")
    table.caption = " ".join(one for one in said if one)
    return table


def _without_box(number: int) -> str:
    are = "is" if number == 1 else "are"
    return f"{count_text(number, 'image')} whose lesions are not known {are}"


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
