"""How the images of a set came from files of their own sizes, which a prediction does to a file, too."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, FiniteFloat, model_validator

from trainables.common.frozen import FrozenModel
from trainables.data.declared_steps import steps_of

FROM_FILES: Final = "from_files"  # of the description of a stored set

_Positive = Annotated[FiniteFloat, Field(gt=0)]


class FromFiles(FrozenModel):
    """Sizes of the files of a set, and how their images were brought to one size.

    Attributes:
        side_px: Smallest and largest side of what was taken from a file, as the geometric mean of height and
            width, in pixels.
        height_by_width: Smallest and largest height, in widths.
        resized: Where `trainables.data.resizing.resize` brought images to the size of the set: `as read`, in
            the values of their files, or `in range`, after these were scaled to the range of the set and
            rounded; None where declared steps did it.

    >>> sizes = FromFiles.of([(40, 10), (90, 90)], resized="as read")
    >>> sizes.side_px, sizes.height_by_width
    ((20.0, 90.0), (1.0, 4.0))
    """

    side_px: tuple[_Positive, _Positive]
    height_by_width: tuple[_Positive, _Positive]
    resized: Literal["as read", "in range"] | None = None

    @model_validator(mode="after")
    def _ascends(self) -> "FromFiles":
        for name in ("side_px", "height_by_width"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} must be the smallest and the largest, found {low:g} and {high:g}")
        return self

    @classmethod
    def of(
        cls, sizes: Sequence[tuple[int, int]], *, resized: Literal["as read", "in range"] | None
    ) -> "FromFiles":
        """Look at sizes once.

        Args:
            sizes: Height and width of what was taken from each file, in pixels, at least one.
            resized: As the attribute.
        """
        sides = [math.sqrt(height * width) for height, width in sizes]
        shapes = [height / width for height, width in sizes]
        return cls(
            side_px=(min(sides), max(sides)), height_by_width=(min(shapes), max(shapes)), resized=resized
        )


def from_files_of(facts: Mapping[str, Any], table: Mapping[str, Sequence[Any]]) -> FromFiles | None:
    """Return how the images of a prepared set came from their files.

    What is compared is the whole image where steps look for the breast in it, and the region that was cut
    out elsewhere, since a file to predict holds the same.

    Args:
        facts: What `set.json` holds.
        table: Its table.

    Returns:
        The sizes and the way; None where they are not known.
    """
    steps = steps_of(facts)
    finds_breast = any((steps or {}).get(name) for name in _OF_BREAST)
    names = ("height_px", "width_px") if finds_breast else ("box_height", "box_width")
    heights, widths = (table.get(name, ()) for name in names)
    sizes = [(high, wide) for high, wide in zip(heights, widths, strict=False) if high and wide]
    if not sizes or len(sizes) < len(table["name"]):
        return None
    return FromFiles.of(sizes, resized=_resized(facts, steps))


_OF_BREAST: Final = ("crop_breast", "blank_background", "remove_pectoral", "chest_wall")


def _resized(
    facts: Mapping[str, Any], steps: Mapping[str, Any] | None
) -> Literal["as read", "in range"] | None:
    """Where images were resized; with a size or a scale among the steps, these did it."""
    if steps is not None and (steps.get("size") is not None or steps.get("mm_per_px") is not None):
        return None
    parts = facts.get("joined")
    if parts is not None:
        found = {_resized({**part, "settings": part.get("settings") or {}}, steps) for part in parts}
        return found.pop() if len(found) == 1 else "in range"
    return "as read" if (facts.get("settings") or {}).get("size") is not None else "in range"
