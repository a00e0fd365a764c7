"""What a bundle keeps of its training images, so that other data can be compared with them.

Digests of the pixels find images that the model was trained on; quantiles of a few figures of the pixels tell
whether other images look alike. No image, name or patient can be read from either; but the digests have no
salt, so that whoever has an image can tell for certain whether it is among those of the search.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from results.errors import ExportError
from results.export.image_reading import in_channels
from results.export.manifest import REFERENCE_FILE
from results.export.model_input import ModelInput
from results.scores.set_shift import FigureQuantiles
from trainables.common.files import write_atomically
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray
from trainables.data.patches import PatchSet
from trainables.data.pixel_range import to_range

FIGURES: Final = ("mean", "spread", "dark end", "bright end", "edges")  # of the pixels of an image
_DIGEST_BYTES: Final = 10  # of a SHA-256: two of a million images agree by chance once in a trillion sets
_MOST_FIGURES: Final = 4000  # images whose figures are taken; quantiles are known well enough then
_SAMPLED: Final = 128  # pixels a side, about, that figures of a larger image are taken from


class TrainingReference(FrozenModel):
    """`training_reference.json` of a bundle.

    Attributes:
        digests: Digests of the training images, ascending, in hexadecimal.
        sealed: Digests of the images of the sealed test part; empty in bundles of earlier versions.
        calibrated: Digests of the local images that the bundle was calibrated on after its export, one time
            or several, ascending; empty in bundles of earlier versions.
        figures: Name in `FIGURES` -> its distribution over the training images.
    """

    digests: tuple[str, ...]
    sealed: tuple[str, ...] = ()
    calibrated: tuple[str, ...] = ()
    figures: dict[str, FigureQuantiles]

    def calibrated_on(self, digests: Sequence[str]) -> "TrainingReference":
        """Return the reference of a bundle that was calibrated on further images, of which it knows."""
        return self.model_copy(update={"calibrated": tuple(sorted({*self.calibrated, *digests}))})


def model_pixels(image: NDArray[Any], max_value: float, wanted: ModelInput) -> NDArray[Any]:
    """Return a stored image in the channels, type and range of a model's input.

    Args:
        image: Image of a patch set, shape (H, W) or (H, W, 3).
        max_value: Pixel value of that set that becomes 1.0.
        wanted: The image input of the model.
    """
    pixels = to_range(in_channels(image, wanted, []), white=max_value, max_value=wanted.max_value)
    if wanted.dtype == "int32" and pixels.dtype.kind == "f":
        pixels = np.rint(pixels)
    return pixels.astype(wanted.dtype)


def digest_of(pixels: NDArray[Any]) -> str:
    """Return the digest of an image in the form of a model's input, in hexadecimal."""
    shape = "x".join(map(str, pixels.shape))
    digest = hashlib.sha256(f"{shape} {pixels.dtype.str}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()[: 2 * _DIGEST_BYTES]


def pixel_figures(images: Sequence[NDArray[Any]], wanted: ModelInput) -> dict[str, FloatArray]:
    """Return the figures of images in the form of a model's input, each of shape (images,).

    All are shares of the range: mean, standard deviation, 5 % and 95 % quantile, and the mean step between
    neighbouring pixels.
    """
    rows = np.array([_figures(image, wanted.max_value) for image in images]).reshape(-1, len(FIGURES))
    return {name: rows[:, column] for column, name in enumerate(FIGURES)}


def training_reference(
    patch_set: PatchSet, rows: IntArray, groups: NDArray[Any], wanted: ModelInput, *, sealed: IntArray
) -> TrainingReference:
    """Look at the training images once. Of sealed images a digest is taken, and nothing else.

    Args:
        patch_set: Images of the search.
        rows: Rows of the training part, shape (images,).
        groups: Patient of each, shape (images,).
        wanted: The image input of the model.
        sealed: Rows of the sealed test part, shape (images,).
    """
    step = max(1, len(rows) // _MOST_FIGURES)
    digests, looked_at = [], []
    for place, row in enumerate(rows.tolist()):
        pixels = model_pixels(np.asarray(patch_set.images[row]), patch_set.max_value, wanted)
        digests.append(digest_of(pixels))
        if place % step == 0:
            looked_at.append(_figures(pixels, wanted.max_value))
    figures = np.array(looked_at)
    of_sealed = {
        digest_of(model_pixels(np.asarray(patch_set.images[row]), patch_set.max_value, wanted))
        for row in sealed.tolist()
    }
    return TrainingReference(
        digests=tuple(sorted(set(digests))),
        sealed=tuple(sorted(of_sealed)),
        figures={
            name: FigureQuantiles.of(figures[:, column], groups[::step])
            for column, name in enumerate(FIGURES)
        },
    )


def write_reference(reference: TrainingReference, folder: Path) -> None:
    """Write the reference into the folder of a bundle."""
    write_atomically(folder / REFERENCE_FILE, reference.model_dump_json() + "\n")


def read_reference(folder: Path) -> TrainingReference | None:
    """Read the reference of a bundle; None for bundles of earlier versions, which have none.

    Raises:
        ExportError: If the file is damaged.
    """
    path = folder / REFERENCE_FILE
    try:
        return TrainingReference.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, ValidationError) as error:
        raise ExportError(f"{path} is damaged; copy the bundle again, or export it again") from error


def _figures(pixels: NDArray[Any], max_value: float) -> list[float]:
    step = max(1, round(min(pixels.shape[:2]) / _SAMPLED))
    shares = pixels[::step, ::step].astype(np.float32) / np.float32(max_value)
    low, high = np.quantile(shares, [0.05, 0.95])
    edges = [float(np.abs(np.diff(shares, axis=axis)).mean()) for axis in (0, 1) if shares.shape[axis] > 1]
    return [
        float(shares.mean()),
        float(shares.std()),
        float(low),
        float(high),
        float(np.mean(edges or [0.0])),
    ]
