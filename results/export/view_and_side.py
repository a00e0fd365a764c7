"""View and side of mammograms as a user states them, for models whose images are made ready by these.

A set may have been prepared with a view and a side that its table stated and no file does. A film is made
ready alike at prediction only if they are stated there, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from results.errors import ExportError
from results.export.image_table import ImageTable
from trainables.data.columns import NOT_STATED_WORDS, SIDES, Laterality
from trainables.data.dicom.headers import VIEWS
from trainables.data.mammogram.preparation import Preparation, prepare

_NO_STEPS: Final = Preparation(crop_breast=False, blank_background=False)  # but the turn to the left


@dataclass(frozen=True, slots=True)
class Stated:
    """What a user states of a mammogram; it goes before what its file states.

    Attributes:
        view: View, such as `CC` or `MLO`; None where it is not stated.
        side: Side of the breast, `L` or `R`; None where it is not stated.
    """

    view: str | None = None
    side: Laterality | None = None


NOT_STATED: Final = Stated()


def stated_by(views: Sequence[str], sides: Sequence[str]) -> list[Stated]:
    """Return what is stated in words, one for all images or one each.

    Args:
        views: Views, such as `CC` or `MLO`, in any case, or `unknown`; empty where none are stated.
        sides: Sides, such as `L` or `right`, in any case, or `unknown`; empty where none are stated.

    Raises:
        ExportError: If a view or a side is not known, or they differ in number.

    >>> stated_by(["mlo"], ["left", "R"])
    [Stated(view='MLO', side='L'), Stated(view='MLO', side='R')]
    """
    known_views, known_sides = _known(views), _known(sides)
    if unknown := sorted({view for view in known_views if view is not None and view.upper() not in VIEWS}):
        raise ExportError(f"unknown view {', '.join(unknown)}; known are {', '.join(sorted(VIEWS))}")
    if unknown := sorted({side for side in known_sides if side is not None and side.upper() not in SIDES}):
        raise ExportError(f"unknown side {', '.join(unknown)}; the side of a breast is L or R")
    number = max(len(views), len(sides))
    if not all(len(words) in (0, 1, number) for words in (views, sides)):
        raise ExportError(
            f"views and sides are one for all images or one each, found {len(views)} and {len(sides)}"
        )
    by_view = [None if view is None else view.upper() for view in known_views] or [None]
    by_side = [None if side is None else SIDES[side.upper()] for side in known_sides] or [None]
    return [Stated(by_view[place % len(by_view)], by_side[place % len(by_side)]) for place in range(number)]


def stated_in_table(path: Path) -> list[Stated]:
    """Return what the columns `view` and `laterality` of a CSV table state, one row an image.

    Args:
        path: The table, as `read_unit_table` takes it; both columns may be missing, and cells empty or
            `unknown`.

    Raises:
        ExportError: If it cannot be read, or a view or a side is not known; the message names the line.
    """
    rows = ImageTable.read(path).rows
    return [_of_row(row, f"{path}, line {number}") for number, row in rows.items()]


def check_stated(preparation: Preparation | None, *, images: int, stated: Sequence[Stated]) -> None:
    """Refuse views and sides that are wrongly counted, or of a model that does not go by them.

    Args:
        preparation: Steps by which the model's images are made ready; None for none.
        images: Number of images.
        stated: What is stated, one for all images or one each; empty for nothing.

    Raises:
        ExportError: If they do not fit.
    """
    goes_by_them = preparation is not None and preparation.needs_breast
    if stated and not goes_by_them and any(one != NOT_STATED for one in stated):
        raise ExportError("this model takes files as they are, and no view or side of them; leave them out")
    if len(stated) not in (0, 1, images):
        raise ExportError(
            f"views and sides are one for all images or as many as the {images} image(s) in the same order; "
            f"{len(stated)} found"
        )


def each_of(stated: Sequence[Stated], images: int) -> list[Stated]:
    """Return what is stated of each image, from one for all or one each."""
    return list(stated) if len(stated) == images else list(stated or [NOT_STATED]) * images


def lacking(preparation: Preparation, pixels: NDArray[Any], white: float, known: Stated) -> list[str]:
    """Name what the steps depend on for a film and nothing states.

    Args:
        preparation: The steps.
        pixels: Pixels of the film, shape (H, W) or (H, W, 3).
        white: Value of white.
        known: What file and user state together.

    Returns:
        `view` where the pectoral muscle is removed by it, and `side` where the film itself does not show at
        which side the chest wall is.
    """
    found = ["view"] if preparation.remove_pectoral and known.view is None else []
    if known.side is None and (preparation.chest_wall or preparation.remove_pectoral):
        by_left, by_right = (
            prepare(pixels, white, preparation=_NO_STEPS, laterality=side).flipped for side in ("L", "R")
        )
        found += ["side"] if by_left != by_right else []
    return found


def _known(words: Sequence[str]) -> list[str | None]:
    """Words without blanks around them, None for those that say that nothing is known."""
    return [None if word.strip().lower() in NOT_STATED_WORDS else word.strip() for word in words]


def _of_row(row: Mapping[str, str], where: str) -> Stated:
    """What the cells of a row state, by the rules of `stated_by`."""
    try:
        return stated_by([row.get("view", "")], [row.get("laterality", "")])[0]
    except ExportError as error:
        raise ExportError(f"{where}: {error}, or an empty cell where it is not known") from error
