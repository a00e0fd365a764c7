"""A mammogram made ready: breast cut out, markers removed, chest wall to one side, resampled, bit depth kept.

This file needs NumPy, SciPy and Pillow only and imports nothing of its project, which makes it longer than
others: it lies in every exported bundle whose model was trained on prepared mammograms, beside the values
that it was called with (`preparation.json`). In parts it would not be one thing that a clinic reads, checks
and imports: they would have to find each other here in a package and there in a folder, and each would want
its own digest in the manifest.

    preparation = Preparation.from_dict(json.load(open("preparation.json")))
    prepared = prepare(pixels, 4095, spacing_mm=(0.07, 0.07), laterality="R", preparation=preparation)

The breast is the largest bright component of the film after its borders were taken away and thin bridges to
labels were opened; cf. Karssemeijer (1998), Physics in Medicine and Biology 43(2), 365-378.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VERSION: Final = 2  # of the steps below: whatever changes the pixels that come out changes this number
OBLIQUE_VIEWS: Final = frozenset(
    {"MLO", "ML", "LMO", "LM", "SIO", "ISO"}
)  # those that show the pectoral muscle

BoolImage: TypeAlias = NDArray[np.bool_]
IntLine: TypeAlias = NDArray[np.int64]
Rectangle: TypeAlias = tuple[int, int, int, int]  # left, top, width, height in pixels

_SURVEY_SIDE: Final = 384  # pixels of the longest side of the small copy on which the breast is looked for
_LEAST_AREA: Final = 0.02  # of the film, below which what was found is no breast
_BAND: Final = 64  # rows that are resampled at a time
_LARGEST_SIDE: Final = 65535  # pixels of a result
_BRIGHT_BORDER: Final = 0.9  # quantile of the film, above which a whole edge line is a border and no tissue
_BORDER_DEPTH: Final = 0.08  # of a side, within which borders of a scanned film are looked for


class PreparationError(ValueError):
    """A mammogram that cannot be made ready; the rest of a sentence that begins with its name."""


@dataclass(frozen=True)
class Preparation:
    """The declared steps, in plain values.

    Attributes:
        crop_breast: Cut out the rectangle around the breast.
        margin: Margin around the breast, as a share of the longer side of its rectangle, in [0, 0.5].
        blank_background: Set what is outside the breast to 0: markers, burnt-in text, scanner borders.
        chest_wall: Side that the chest wall is turned to by a mirror image; None leaves it.
        remove_pectoral: Set the pectoral muscle of oblique views to 0, where it is found.
        mm_per_px: Size of a pixel of the result, in mm; None does not look at the spacing.
        spacing_mm: Spacing (between rows, between columns) to assume where an image states none, in mm.
        size: Height and width of the result. Without `mm_per_px` the breast is scaled to fit in, with it it
            is cut where it is too long; the rest is 0, and the chest wall touches its side. None keeps the
            size.
        allows_for_processing: The films may be raw ones of a detector (DICOM FOR PROCESSING), which a reader
            of files refuses otherwise; it changes no pixel here.
    """

    crop_breast: bool = True
    margin: float = 0.01
    blank_background: bool = True
    chest_wall: Literal["left", "right"] | None = "left"
    remove_pectoral: bool = False
    mm_per_px: float | None = None
    spacing_mm: tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    allows_for_processing: bool = False

    def __post_init__(self) -> None:
        self._check_types()
        if not 0 <= self.margin <= 0.5:
            raise PreparationError(f"margin must lie in [0, 0.5], found {self.margin:g}")
        if self.chest_wall not in ("left", "right", None):
            raise PreparationError(f"chest_wall must be left, right or None, found {self.chest_wall}")
        if self.mm_per_px is not None and not 0.001 <= self.mm_per_px <= 10:
            raise PreparationError(f"mm_per_px must lie in [0.001, 10], found {self.mm_per_px:g}")
        for name, number in (("spacing_mm", self.spacing_mm), ("size", self.size)):
            if number is not None and (len(number) != 2 or not all(side > 0 for side in number)):
                raise PreparationError(f"{name} must be two positive numbers, found {number}")
        if self.size is not None and max(self.size) > _LARGEST_SIDE:
            raise PreparationError(f"size must not exceed {_LARGEST_SIDE} pixels a side, found {self.size}")

    def _check_types(self) -> None:
        """Refuse values of another type, such as a text, which would be true whatever it says."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, bool):
                if not isinstance(value, bool):
                    raise PreparationError(f"{field.name} must be true or false, found {value}")
            elif field.name in ("margin", "mm_per_px"):
                if not (_is_number(value) or (value is None and field.default is None)):
                    raise PreparationError(f"{field.name} must be a number, found {value}")
            elif field.name in ("spacing_mm", "size") and value is not None:
                is_pair = isinstance(value, tuple) and all(map(_is_number, value))
                if not is_pair or (field.name == "size" and any(side % 1 for side in value)):
                    kind = "whole" if field.name == "size" else "positive"
                    raise PreparationError(f"{field.name} must be two {kind} numbers, found {value}")

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a JSON file, with the version of the steps."""
        plain = dataclasses.asdict(self)
        if not self.allows_for_processing:
            del plain[
                "allows_for_processing"
            ]  # steps that were written before it was there keep their digest
        return {"version": VERSION} | {
            name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Preparation":
        """Read what `as_dict` wrote.

        Raises:
            PreparationError: If the steps are of another version, or a value is unknown or out of range.
        """
        given = dict(plain)
        version = given.pop("version", VERSION)
        if version != VERSION:
            raise PreparationError(f"the steps have version {version}, this file has version {VERSION}")
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(given) - known):
            raise PreparationError(
                f"unknown steps: {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        pairs = {name: tuple(value) for name, value in given.items() if isinstance(value, (list, tuple))}
        return cls(**(given | pairs))

    @property
    def digest(self) -> str:
        """SHA-256 over version and values, in hexadecimal; equal for equal pixels."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()

    @property
    def needs_breast(self) -> bool:
        """True if a step goes by where the breast lies; without one any grey image is only scaled."""
        return (
            self.crop_breast or self.blank_background or self.remove_pectoral or self.chest_wall is not None
        )

    @property
    def sentence(self) -> str:
        """The steps in words, as cards and manifests state them."""
        steps = [
            "breast cut out" if self.crop_breast else "",
            "background set to 0" if self.blank_background else "",
            f"chest wall to the {self.chest_wall}" if self.chest_wall else "",
            "pectoral muscle removed" if self.remove_pectoral else "",
            f"{self.mm_per_px:g} mm a pixel" if self.mm_per_px else "",
            f"on {self.size[0]}x{self.size[1]} pixels" if self.size else "",
            "raw films (FOR PROCESSING) allowed" if self.allows_for_processing else "",
        ]
        return ", ".join(filter(None, steps)) or "as it is"


def _is_number(value: Any) -> bool:
    """True for a finite number that is no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))


@dataclass(frozen=True)
class Prepared:
    """A mammogram that was made ready, and how its source maps into it.

    Attributes:
        pixels: Pixels in the type of the source, shape (height, width).
        max_value: Value of white, as in the source.
        box: Rectangle of the source that was kept: left, top, width, height.
        flipped: The mirror image was taken.
        mm_per_px: Size of a pixel in mm, (between rows, between columns); None where the spacing is unknown.
        scale: Pixels of the result for one of the source, (along rows, along columns).
        offset: Place of the kept rectangle's corner in the result, (top, left); negative where it is cut.
        has_breast: False where no breast was found, or no step needs it, so that the whole film was kept.
        kept_share: Share of the film's area that the rectangle holds.
    """

    pixels: NDArray[Any]
    max_value: float
    box: Rectangle
    flipped: bool
    mm_per_px: tuple[float, float] | None
    scale: tuple[float, float]
    offset: tuple[int, int]
    has_breast: bool
    kept_share: float

    def map_box(self, box: Rectangle) -> Rectangle | None:
        """Map a rectangle of the source into the result; None for one that lies wholly outside of it.

        Args:
            box: Left, top, width, height in pixels of the source.
        """
        return map_rectangle(
            box,
            kept=self.box,
            is_flipped=self.flipped,
            scale=self.scale,
            offset=self.offset,
            shape=self.pixels.shape[:2],
        )


def map_rectangle(
    region: Rectangle,
    *,
    kept: Rectangle,
    is_flipped: bool,
    scale: tuple[float, float],
    offset: tuple[int, int],
    shape: tuple[int, ...],
) -> Rectangle | None:
    """Map a rectangle of an image to where it lies once the image is cut, mirrored, scaled and placed.

    The edges are rounded, so that rectangles that touch in the image touch there, too.

    Args:
        region: Left, top, width, height in pixels of the image.
        kept: Rectangle of the image that was kept.
        is_flipped: The mirror image was taken.
        scale: Pixels of the result for one of the image, (along rows, along columns).
        offset: Place of the kept rectangle's corner in the result, (top, left).
        shape: Rows and columns of the result.

    Returns:
        Left, top, width, height in the result; None for one that lies wholly outside of it.

    >>> into = {"kept": (0, 0, 9, 9), "is_flipped": False, "offset": (0, 0), "shape": (5, 5)}
    >>> map_rectangle((3, 1, 3, 3), scale=(0.5, 0.5), **into)
    (2, 0, 1, 2)
    """
    left, top, width, height = region
    kept_left, kept_top, kept_width, _ = kept
    first = left - kept_left
    if is_flipped:
        first = kept_width - first - width
    edges = (
        offset[1] + first * scale[1],
        offset[0] + (top - kept_top) * scale[0],
        offset[1] + (first + width) * scale[1],
        offset[0] + (top - kept_top + height) * scale[0],
    )
    rows, columns = shape
    x0, x1 = (int(np.clip(round(edge), 0, columns)) for edge in edges[::2])
    y0, y1 = (int(np.clip(round(edge), 0, rows)) for edge in edges[1::2])
    return (x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None


def prepare(
    pixels: NDArray[Any],
    max_value: float,
    *,
    preparation: Preparation,
    spacing_mm: tuple[float, float] | None = None,
    laterality: Literal["L", "R"] | None = None,
    view: str | None = None,
) -> Prepared:
    """Make one mammogram ready.

    Args:
        pixels: uint8, uint16, or float32 in [0, 1], black at 0; shape (H, W), or (H, W, 3) with equal
            channels.
        max_value: Value of white.
        preparation: The steps.
        spacing_mm: Spacing (between rows, between columns) in mm, if it is known.
        laterality: Side of the breast; it decides the side of the chest wall where the film does not show it.
        view: View; the pectoral muscle is removed from oblique ones and where the view is unknown.

    Raises:
        PreparationError: If the image is no grey image of at least 2x2 pixels, or the steps need a spacing
            that is unknown.
    """
    grey = _grey(pixels)
    small, factor = _small_copy(grey, max_value)
    breast = find_breast(small) if preparation.needs_breast else None
    has_breast = breast is not None
    outline = whole = np.ones(small.shape, bool) if breast is None else breast
    box = (
        _box(outline, grey.shape, factor, preparation) if has_breast else (0, 0, grey.shape[1], grey.shape[0])
    )
    wall_is_left = _chest_wall_is_left(small, outline, laterality)
    if preparation.remove_pectoral and has_breast and (view is None or view.upper() in OBLIQUE_VIEWS):
        outline = outline & ~_pectoral(small, outline, is_left=wall_is_left)
    keeps = None
    if has_breast and (preparation.blank_background or preparation.remove_pectoral):
        keeps = outline if preparation.blank_background else outline | ~_dilated(whole, 2)
    is_flipped = preparation.chest_wall is not None and wall_is_left != (preparation.chest_wall == "left")
    spacing = spacing_mm or preparation.spacing_mm
    kept = _Kept(grey, box, keeps, factor, is_flipped)
    placed, scale, offset = _placed(kept, preparation, spacing)
    return Prepared(
        pixels=placed,
        max_value=max_value,
        box=box,
        flipped=is_flipped,
        mm_per_px=None if spacing is None else (spacing[0] / scale[0], spacing[1] / scale[1]),
        scale=scale,
        offset=offset,
        has_breast=has_breast,
        kept_share=box[2] * box[3] / grey.size,
    )


def find_breast(small: NDArray[np.float32]) -> BoolImage | None:
    """Find the breast on a small copy of a film.

    Args:
        small: Grey values in [0, 1], shape (h, w), with black at 0.

    Returns:
        True inside the breast, shape (h, w); None if nothing on the film looks like one.
    """
    clear = _without_borders(small)
    level = _background_level(clear)
    bright = clear > level
    opened = _dilated(_eroded(bright, 2), 2)
    largest = _largest_component(opened)
    if largest is None or largest.mean() < _LEAST_AREA:
        return None
    filled = _filled(_dilated(largest, 2) & (bright | largest))
    return None if filled.mean() > 0.995 else filled


def _grey(pixels: NDArray[Any]) -> NDArray[Any]:
    grey = pixels
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        if not (
            np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])
        ):
            raise PreparationError("is coloured, as no mammogram is")
        grey = pixels[..., 0]
    if grey.ndim != 2 or min(grey.shape) < 2:
        raise PreparationError(f"must be a grey image of at least 2x2 pixels, but has shape {pixels.shape}")
    return grey


def _small_copy(grey: NDArray[Any], max_value: float) -> tuple[NDArray[np.float32], int]:
    """Means over squares of `factor` pixels, in [0, 1]; what is left over at the far edges joins the last."""
    factor = max(1, -(-max(grey.shape) // _SURVEY_SIDE))
    rows, columns = (-(-side // factor) for side in grey.shape)
    # Added line by line: np.add.reduceat gives the same sums and takes ten times as long. Sums of whole
    # numbers below 2^16 are exact in 16 bits, and below 2^24 in float32.
    is_small = grey.dtype.kind == "u" and int(grey.max()) * factor < 1 << 16
    bands = np.zeros((rows, grey.shape[1]), np.uint16 if is_small else np.float32)
    for shift in range(factor):
        lines = grey[shift::factor]
        bands[: len(lines)] += lines
    sums = np.zeros((rows, columns), np.float32)
    for shift in range(factor):
        lines = bands[:, shift::factor]
        sums[:, : lines.shape[1]] += lines
    high = np.minimum(factor, grey.shape[0] - factor * np.arange(rows))
    wide = np.minimum(factor, grey.shape[1] - factor * np.arange(columns))
    return (sums / (high[:, None] * wide * max_value)).astype(np.float32), factor


def _without_borders(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Edge lines that are bright from end to end, as the frames of scanned films are, set to 0.

    A line at the upper or lower edge is a frame if it is brighter than Otsu's threshold all along, and the
    lines further in are not. At the other edges the chest wall may be such a line, so that only what is
    brighter than nearly all of the film is taken for a frame there.
    """
    clear = small.copy()
    otsu = _otsu(np.sqrt(small)) ** 2
    brightest = max(float(np.quantile(small, _BRIGHT_BORDER)), 0.5 * float(small.max()))
    for lines, least in (
        (clear, otsu),
        (clear[::-1], otsu),
        (clear.T, brightest),
        (clear.T[::-1], brightest),
    ):
        depth = max(1, int(len(lines) * _BORDER_DEPTH))
        darkest = np.quantile(lines[: depth + 1], 0.1, axis=1)
        frames = np.flatnonzero((darkest[:depth] > least) & (darkest[:depth] > 2.5 * darkest[depth]))
        if frames.size:
            lines[: frames[-1] + 2] = 0  # one line more, which the small copy blends with the frame
    return clear


def _background_level(clear: NDArray[np.float32]) -> float:
    """Grey between background and skin line.

    The background is the peak of the histogram below Otsu's threshold of the square roots, which finds the
    breast, but cuts the thin, dark tissue at its edge.
    """
    roots = np.sqrt(clear)
    otsu = _otsu(roots)
    dark = roots[(roots > 0) & (roots < otsu)]
    if dark.size < 0.02 * clear.size:  # the background is 0 exactly
        return float((0.25 * otsu) ** 2)
    counts, edges = np.histogram(dark, bins=64, range=(0.0, otsu))
    peak = int(np.convolve(counts, (1, 2, 1), mode="same").argmax())
    centre = float(edges[peak] + edges[peak + 1]) / 2
    below = centre - dark[dark < centre]  # above it lies tissue, too
    spread = 1.4826 * float(np.median(below)) if below.size else 0.0
    return float(min(max(centre + 5 * spread, centre + 0.06, 0.25 * otsu), 0.9 * otsu) ** 2)


def _otsu(values: NDArray[np.float32]) -> float:
    """Threshold between two groups of values in [0, 1] (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=256, range=(0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    between = np.nan_to_num(between)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float(centres[best].mean())


def _eroded(image: BoolImage, steps: int) -> BoolImage:
    """Erosion; the breast goes on beyond the edges of the film."""
    return ~_dilated(~image, steps)


def _dilated(image: BoolImage, steps: int) -> BoolImage:
    """Dilation by the pixels that touch along their sides: in place of SciPy's in a tenth of its time."""
    for _ in range(steps):
        wider = image.copy()
        wider[1:] |= image[:-1]
        wider[:-1] |= image[1:]
        wider[:, 1:] |= image[:, :-1]
        wider[:, :-1] |= image[:, 1:]
        image = wider
    return image


def _largest_component(image: BoolImage) -> BoolImage | None:
    """The largest set of True pixels that touch along their sides; None without one."""
    from scipy.ndimage import label

    numbers, count = label(image)
    if not count:
        return None
    areas = np.bincount(numbers.ravel())[1:]
    largest: BoolImage = numbers == 1 + int(areas.argmax())
    return largest


def _filled(image: BoolImage) -> BoolImage:
    """Holes closed: what is False and not joined to the edge of the film becomes True."""
    from scipy.ndimage import label

    numbers, count = label(~image)
    is_outside = np.zeros(count + 1, bool)
    for edge in (numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]):
        is_outside[edge] = True
    is_outside[0] = False
    filled: BoolImage = ~is_outside[numbers]
    return filled


def _box(outline: BoolImage, shape: tuple[int, ...], factor: int, preparation: Preparation) -> Rectangle:
    """Rectangle around the breast in pixels of the source, with its margin; the whole film if not cut."""
    if not preparation.crop_breast:
        return (0, 0, shape[1], shape[0])
    rows, columns = np.flatnonzero(outline.any(axis=1)), np.flatnonzero(outline.any(axis=0))
    top, bottom = rows[0] * factor, (rows[-1] + 1) * factor
    left, right = columns[0] * factor, (columns[-1] + 1) * factor
    margin = round(preparation.margin * max(bottom - top, right - left)) + factor
    top, left = max(0, int(top) - margin), max(0, int(left) - margin)
    bottom, right = min(shape[0], int(bottom) + margin), min(shape[1], int(right) + margin)
    return (left, top, right - left, bottom - top)


def _chest_wall_is_left(
    small: NDArray[np.float32], outline: BoolImage, laterality: Literal["L", "R"] | None
) -> bool:
    """True if the chest wall is at the left: the breast is longest along that side of its rectangle.

    On a film that does not show it, the convention decides: the left breast has its chest wall at the left.
    """
    columns = np.flatnonzero(outline.any(axis=0))
    part = outline[:, columns[0] : columns[-1] + 1]
    depth = max(1, part.shape[1] // 5)
    left, right = float(part[:, :depth].mean()), float(part[:, -depth:].mean())
    if abs(left - right) > 0.05 * max(left, right):
        return left > right
    if laterality is not None:
        return laterality == "L"
    half = max(1, small.shape[1] // 2)
    return float(small[:, :half].mean()) >= float(small[:, -half:].mean())


def _pectoral(small: NDArray[np.float32], outline: BoolImage, *, is_left: bool) -> BoolImage:
    """The pectoral muscle: the triangle in the upper corner at the chest wall with the sharpest long side.

    Of straight lines from the upper edge of the breast's rectangle to its chest wall, that with the largest
    difference of means between both of its sides is taken; none if the triangle is not clearly brighter.
    """
    image, mask = (small, outline) if is_left else (small[:, ::-1], outline[:, ::-1])
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
    down, across = np.mgrid[: mask.shape[0], : mask.shape[1]].astype(np.float32)
    down, across = down - top, across - left
    spread = float(image[mask].std()) or 1.0
    strip = max(2.0, 0.04 * width)
    best, found = 0.35 * spread, np.zeros(mask.shape, bool)  # a fainter edge may be glandular tissue
    for wide in np.linspace(0.2, 0.85, 14) * width:
        for high in np.linspace(0.25, 0.85, 13) * height:
            distance = (across / wide + down / high - 1) * wide * high / np.hypot(wide, high)
            inner = mask & (distance > -strip) & (distance <= 0) & (down >= 0) & (across >= 0)
            outer = mask & (distance > 0) & (distance <= strip) & (down >= 0) & (across >= 0)
            if inner.sum() < 20 or outer.sum() < 20:
                continue
            inside, outside = image[inner], image[outer]
            # The tenth percentile: the edge must be bright all along, not only where a gland lies.
            step = float(np.quantile(inside, 0.1) * 0.5 + inside.mean() * 0.5 - outside.mean())
            if step > best:
                best, found = step, (distance <= 0) & (down <= high) & (across <= wide)
    return found if is_left else found[:, ::-1]


class _Kept:
    """The rectangle of a film that is kept: the rest is 0, and it may be mirrored.

    It is summed row by row, so that a film is not copied as a whole, and what is worked on stays in the
    processor's cache.
    """

    def __init__(
        self, grey: NDArray[Any], box: Rectangle, keeps: BoolImage | None, factor: int, is_flipped: bool
    ) -> None:
        left, top, width, height = box
        self.shape = (height, width)
        self.dtype = grey.dtype
        self._pixels = grey[top : top + height, left : left + width]
        self.is_flipped = is_flipped
        self._lines: NDArray[Any] | None = None
        if keeps is not None:
            wide = _dilated(keeps, 1)  # by one pixel of the small copy
            self._lines = wide.astype(np.uint8).take(np.arange(left, left + width) // factor, axis=1)
        self._top, self._factor = top, factor

    def whole(self) -> NDArray[Any]:
        """All pixels, not mirrored: shape (height, width), a copy."""
        if self._lines is None:
            return self._pixels.copy()
        line_of = np.arange(self._top, self._top + self.shape[0]) // self._factor
        return np.asarray(self._pixels * self._lines.take(line_of, axis=0), dtype=self.dtype)

    def sums(self, first: IntLine, count: IntLine) -> Iterator[NDArray[Any]]:
        """Sums of rows of whole numbers, not mirrored: bands of _BAND parts; each overwrites the one before.

        Rows below one line of the small copy are added before what is not kept is set to 0.
        """
        is_small = int(count.max()) * int(self._pixels.max()) < 1 << 16
        kind = np.uint16 if is_small else np.uint32  # twice as many sums at once in 16 bits
        lines = None if self._lines is None else self._lines.astype(kind)
        total = np.zeros((_BAND, self.shape[1]), kind)
        ends = (first + count).tolist()
        for band in range(0, len(ends), _BAND):
            parts = slice(band, min(band + _BAND, len(ends)))
            for own, begin, end in zip(total, first[parts].tolist(), ends[parts], strict=False):
                own[:] = 0
                for start, stop, line in self._runs(begin, end):
                    added = np.add.reduce(self._pixels[start:stop], axis=0, dtype=kind)
                    if lines is not None:
                        added *= lines[line]
                    np.add(own, added, out=own)
            yield total[: parts.stop - band]

    def _runs(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Rows from `begin` to `end` in runs below one line of the small copy: first, end, line."""
        start = begin
        while start < end:
            line = (self._top + start) // self._factor
            stop = min(end, (line + 1) * self._factor - self._top)
            yield start, stop, line
            start = stop


def _placed(
    kept: _Kept, preparation: Preparation, spacing: tuple[float, float] | None
) -> tuple[NDArray[Any], tuple[float, float], tuple[int, int]]:
    """Resample and put on the wanted size; with the scale, and the place of the kept rectangle's corner."""
    shape = target = kept.shape
    if preparation.mm_per_px is not None:
        if spacing is None:
            raise PreparationError(
                "states no pixel spacing, which mm_per_px needs; give spacing_mm, or a size in its place"
            )
        each = (spacing[0] / preparation.mm_per_px, spacing[1] / preparation.mm_per_px)
        target = _target(shape, each)
    elif preparation.size is not None:
        ratio = 1.0 if spacing is None else spacing[0] / spacing[1]  # pixels need not be square
        fit = min(preparation.size[0] / (shape[0] * ratio), preparation.size[1] / shape[1])
        target = _target(shape, (fit * ratio, fit))
        target = (min(target[0], preparation.size[0]), min(target[1], preparation.size[1]))
    sampled = _resampled(kept, target)
    scale = (target[0] / shape[0], target[1] / shape[1])
    if preparation.size is None:
        return np.ascontiguousarray(sampled), scale, (0, 0)
    height, width = preparation.size
    top = (height - target[0]) // 2
    left = {"left": 0, "right": width - target[1], None: (width - target[1]) // 2}[preparation.chest_wall]
    canvas = np.zeros((height, width), kept.dtype)
    rows = slice(max(0, top), min(height, top + target[0]))
    columns = slice(max(0, left), min(width, left + target[1]))
    canvas[rows, columns] = sampled[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return canvas, scale, (top, left)


def _target(shape: tuple[int, ...], scale: tuple[float, float]) -> tuple[int, int]:
    high, wide = (max(1, round(side * each)) for side, each in zip(shape, scale, strict=True))
    if max(high, wide) > _LARGEST_SIDE:
        raise PreparationError(f"would grow to {wide}x{high} pixels; take a larger mm_per_px")
    return high, wide


def _resampled(kept: _Kept, target: tuple[int, int]) -> NDArray[Any]:
    """Area means where it shrinks, straight lines between pixels where it grows; the number type stays."""
    height, width = kept.shape
    shrinks = target[0] <= height and target[1] <= width
    if shrinks and kept.shape != target and kept.dtype.kind == "u":
        values = _means(kept, target)
    else:
        same = kept.whole()
        if kept.is_flipped:
            same = np.ascontiguousarray(same[:, ::-1])
        if kept.shape == target:
            return same
        how = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
        values = np.asarray(Image.fromarray(same.astype(np.float32)).resize(target[::-1], how))
    if kept.dtype.kind == "f":
        return values.astype(kept.dtype)
    return np.clip(np.rint(values), 0, np.iinfo(kept.dtype).max).astype(kept.dtype)


def _means(kept: _Kept, target: tuple[int, int]) -> NDArray[np.float64]:
    """Area means of whole numbers over the parts of Pillow's box filter, from exact sums.

    Rows first: these are long sums of neighbours in memory, and leave a fifth of a film for the columns.
    """
    height, width = kept.shape
    first, high = _bins(height, target[0])
    left, wide = _bins(width, target[1])
    if kept.is_flipped:
        left = width - left - wide
    # Running sums may pass the largest number and begin again at 0: their differences are right all the same.
    is_small = int(high.max()) * int(wide.max()) * int(np.iinfo(kept.dtype).max) < 1 << 32
    running = np.zeros((_BAND, width + 1), np.uint32 if is_small else np.uint64)
    means, row = np.empty(target), 0
    for sums in kept.sums(first, high):
        own = running[: len(sums)]
        np.cumsum(sums, axis=1, out=own[:, 1:], dtype=running.dtype)
        parts = slice(row, row + len(sums))
        area = (high[parts, None] * wide).astype(np.float64)
        means[parts] = (own.take(left + wide, axis=1) - own.take(left, axis=1)) / area
        row = parts.stop
    return means


def _bins(length: int, target: int) -> tuple[IntLine, IntLine]:
    """First pixel and number of pixels whose centres lie in each of `target` equal parts of a line."""
    scale = length / target
    centres = (np.arange(target) + 0.5) * scale
    first = np.maximum((centres - 0.5 * scale + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + 0.5 * scale + 0.5).astype(np.int64), length)
    # A centre on an edge belongs to the part before, with the rounding of these very steps.
    first += (first - centres + 0.5) * (1.0 / scale) <= -0.5
    last -= (last - 1 - centres + 0.5) * (1.0 / scale) > 0.5
    return first, last - first
