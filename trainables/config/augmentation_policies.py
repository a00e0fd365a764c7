"""Augmentation policies: one table for stored views and for online pixels.

Policies such as `e003` repeat what a source system did (here 003), in Keras's terms. Where the source gives
no numbers, they were chosen here, and a comment at the row says so.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from trainables.common.errors import ConfigError

AugmentationPolicy = Literal[
    "none",
    "flips",
    "d4",
    "rotate",
    "affine",
    "idc",
    "e001",
    "e001_scratch",
    "e002",
    "e003",
    "e004",
    "e004_rot90",
]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges of an augmentation, drawn from uniformly for each image; 0 and False are off.

    Geometric changes act in this order: zoom, rotation, shear, shift, mirrors. Changes of intensity come
    after them and are measured in the image's own mean and spread (standard deviation, by channel), so that
    they mean the same before and after scaling, contrast and normalisation.

    Attributes:
        hflip: Mirror left and right with probability 1/2.
        vflip: Mirror top and bottom with probability 1/2.
        rotation_deg: Turn by an angle in +- this, in degrees; 180 and 360 are the whole circle.
        quarter_turns: Turn by 0, 90, 180 or 270 degrees, without interpolation.
        shift: Move along each axis by +- this share of the side; stored views by whole pixels.
        shear_deg: Shear along each axis by +- this angle, in degrees, as `shear_range` of Keras 2.
        zoom: Scale each axis independently by a factor in 1 - zoom to 1 + zoom. Keras draws the reciprocal
            from the same range, which differs by about zoom squared.
        brightness: Add +- this many spreads.
        contrast: Stretch around the mean by a factor in 1 - contrast to 1 + contrast.
        noise: Add Gaussian noise, the same in all channels, of a standard deviation between 0 and this many
            spreads. Its grain is a pixel of the raw image in stored views, and of the network's input online.
        fill: Padding outside the image: the `nearest` pixel (Keras's `fill_mode`) or the mirrored image
            (`reflect`).
        averages: True if predictions may be averaged over the policy's exact symmetries.

    Raises:
        ConfigError: If quarter turns are mixed with anything that is not an exact symmetry.
    """

    hflip: bool = False
    vflip: bool = False
    rotation_deg: float = 0.0
    quarter_turns: bool = False
    shift: float = 0.0
    shear_deg: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    fill: Literal["nearest", "reflect"] = "nearest"
    averages: bool = True

    def __post_init__(self) -> None:
        if self.quarter_turns and not self.is_exact:
            raise ConfigError(
                "an augmentation with quarter turns needs exact symmetries only, as they swap height and "
                f"width of what is drawn on raw pixels; found {self}; use rotation_deg instead"
            )

    @property
    def distorts(self) -> bool:
        """True for zoom, shear or shift."""
        return bool(self.shift or self.shear_deg or self.zoom)

    @property
    def moves(self) -> bool:
        """True where pixels are interpolated: zoom, shear, shift or rotation by any angle."""
        return self.distorts or bool(self.rotation_deg)

    @property
    def changes_tones(self) -> bool:
        """True for brightness, contrast or noise."""
        return bool(self.brightness or self.contrast or self.noise)

    @property
    def is_exact(self) -> bool:
        """True where every draw is an exact symmetry of the square."""
        return not (self.moves or self.changes_tones)

    @property
    def symmetries(self) -> tuple[int, ...]:
        """Indices of the symmetries of the square that can be drawn, ascending; see `apply_symmetry`.

        >>> AUGMENTATIONS["flips"].symmetries
        (0, 2, 4, 6)
        >>> Augmentation(hflip=True).symmetries
        (0, 4)
        """
        turns = {0}
        if self.quarter_turns or self.rotation_deg >= 90:
            turns |= {1, 3}
        if self.quarter_turns or self.rotation_deg >= 180 or (self.hflip and self.vflip):
            turns |= {2}
        left_right = {4 + turn for turn in turns if self.hflip}
        top_bottom = {4 + (turn + 2) % 4 for turn in turns if self.vflip}
        return tuple(sorted(turns | left_right | top_bottom))


_BOTH_FLIPS: Final = Augmentation(hflip=True, vflip=True)

AUGMENTATIONS: Final = MappingProxyType[AugmentationPolicy, Augmentation](
    {
        "none": Augmentation(),
        "flips": _BOTH_FLIPS,
        "d4": Augmentation(hflip=True, vflip=True, quarter_turns=True),
        "rotate": Augmentation(hflip=True, vflip=True, rotation_deg=180),
        # Finished trials with `affine` were predicted from one view; averaging would change their scores.
        "affine": Augmentation(
            hflip=True,
            vflip=True,
            shift=0.1,
            shear_deg=5,
            zoom=0.1,
            averages=False,
        ),
        # Source system 000 names no parameters; tissue has no upright side, so both flips were chosen.
        "idc": _BOTH_FLIPS,
        # Source system 001, in Keras: rotation_range=360, horizontal_flip, vertical_flip.
        "e001": Augmentation(hflip=True, vflip=True, rotation_deg=360),
        # Its nets from scratch add shifts, a zoom and a shear; 0.01 is in degrees, hence next to nothing.
        "e001_scratch": Augmentation(
            hflip=True, vflip=True, rotation_deg=360, shift=0.1, shear_deg=0.01, zoom=0.1
        ),
        # Source system 002 lists flip, contrast, Gaussian noise and brightness; the numbers were chosen here.
        "e002": Augmentation(hflip=True, vflip=True, brightness=0.2, contrast=0.2, noise=0.1),
        "e003": _BOTH_FLIPS,
        # Source system 004 says "90 degrees", which has two readings: Keras's RandomRotation turns by any
        # angle up to 90, `e004_rot90` by multiples of it.
        "e004": Augmentation(hflip=True, rotation_deg=90),
        "e004_rot90": Augmentation(hflip=True, quarter_turns=True),
    }
)
