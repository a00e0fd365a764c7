"""A relevance method that needs no gradients, as `results.relevance.methods` holds it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from results.relevance.frame import Frame
from trainables.common.errors import ConfigError
from trainables.common.types import Float64Array

Fill: TypeAlias = Literal["blur", "mean"]

# Images of one shape, (n, H, W) or (n, H, W, 3) -> score of the class that is explained, (n,).
Score = Callable[[NDArray[Any]], Float64Array]


@dataclass(frozen=True, slots=True)
class RelevanceSettings:
    """What a relevance map may cost, and what is put in the place of hidden pixels.

    Attributes:
        seconds: Time of one map, in seconds, above 0; the number of changed images follows from it and from
            the measured time of the model.
        masks: Number of changed images, at least 1; None derives it from `seconds`. With a number, a map is
            the same on every machine.
        fill: `blur` hides a part behind the image itself, blurred until the part's detail is gone; `mean`
            behind one grey value, the mean of the image.
        seed: Seed of random masks, at least 0.
        window_px: Side of the windows of `windows`, in pixels, at least 8; None for that of the training
            images.

    Raises:
        ConfigError: If a value is out of its range.
    """

    seconds: float = 4.0
    masks: int | None = None
    fill: Fill = "blur"
    seed: int = 0
    window_px: int | None = None

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ConfigError(f"the time of a map must be above 0 seconds, found {self.seconds:g}")
        if self.masks is not None and self.masks < 1:
            raise ConfigError(f"a map needs at least 1 mask, found {self.masks}")
        if self.fill not in ("blur", "mean"):
            raise ConfigError(f"hidden pixels are filled with blur or mean, found {self.fill!r}")
        if self.seed < 0:
            raise ConfigError(f"the seed must be at least 0, found {self.seed}")
        if self.window_px is not None and self.window_px < 8:
            raise ConfigError(f"a window has a side of at least 8 pixels, found {self.window_px}")


@dataclass(frozen=True, slots=True)
class FoundBox:
    """A place that a model finds suspicious.

    Attributes:
        box: Where it is, in pixels of the image.
        score: Its highest probability.
    """

    box: Frame
    score: float


@dataclass(frozen=True, slots=True)
class RelevanceMap:
    """Relevance of each pixel of one image.

    Attributes:
        values: Relevance, shape (H, W). Positive where the pixels speak for the class that is explained,
            negative where they speak against it. Its unit is that of the method.
        evaluations: Number of images that the model was asked about, the unchanged one included.
        marks: Places that the method finds suspicious by themselves, the highest first; most find none.
    """

    values: Float64Array
    evaluations: int
    marks: tuple[FoundBox, ...] = ()


@dataclass(frozen=True, slots=True)
class RelevanceMethod:
    """A relevance method that asks the model about changed images, whatever the model is made of.

    Attributes:
        name: Name that the user types.
        about: What a value of the map means, in a sentence.
        compute: Score, image (H, W) or (H, W, 3), number of changed images, and settings -> map.
        most_masks: Number of changed images beyond which a map gets no better.
        source: Paper.
        settings: Names of the `RelevanceSettings` that change its maps.
    """

    name: str
    about: str
    compute: Callable[[Score, NDArray[Any], int, RelevanceSettings], RelevanceMap]
    most_masks: int
    source: str
    settings: tuple[str, ...] = ("seconds", "masks", "fill", "seed")


def score_at_once(score: Score, images: NDArray[Any]) -> Float64Array:
    """Return the scores of images as float64, checked for their number, shape (n,)."""
    found = np.asarray(score(images), dtype=np.float64)
    if found.shape != (len(images),):
        raise ConfigError(f"a score must be one number an image, {(len(images),)}, found {found.shape}")
    return found
