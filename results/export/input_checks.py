"""Checks of the inputs that a user gives an exported model besides images: baselines and finding types."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from results.errors import ExportError
from results.export.manifest import Manifest
from trainables.common.text import command_text
from trainables.config.tasks import TASKS

FINDING_TYPES: Final = TASKS["mass_calcification"].classes


def check_given(manifest: Manifest, *, images: int, baselines: int, types: Sequence[str]) -> None:
    """Refuse missing, superfluous or wrongly counted baselines and types.

    Args:
        manifest: Manifest of the bundle.
        images: Number of images.
        baselines: Number of baselines given.
        types: Names of finding types, one for all images or one each.

    Raises:
        ExportError: If they do not fit; the message says what the bundle needs, and gives a command line.
    """
    usage = f"e.g. {command_text(*manifest.command())}"
    if manifest.takes("baseline") and baselines != images:
        raise ExportError(
            f"this model compares each image with a healthy baseline, a patch of the same film: {images} "
            f"image(s) need as many baselines in the same order, {baselines} found; {usage}"
        )
    if baselines and not manifest.takes("baseline"):
        raise ExportError(f"this model takes no baselines, {baselines} found; {usage}")
    if types and not manifest.takes("finding_type"):
        raise ExportError(f"this model is not told the type of a finding, {len(types)} found; {usage}")
    unknown = sorted(set(types) - set(FINDING_TYPES))
    if unknown:
        raise ExportError(
            f"the type of a finding is {' or '.join(FINDING_TYPES)}, found {', '.join(unknown)}; {usage}"
        )
    if manifest.takes("finding_type") and len(types) not in (1, images):
        raise ExportError(
            "this model must be told whether a finding is a mass or a calcification, one type for all images "
            f"or as many as the {images} image(s) in the same order; {len(types)} found; {usage}"
        )


def check_sizes(images: Sequence[NDArray[Any]], baselines: Sequence[NDArray[Any]]) -> None:
    """Refuse pairs whose two images differ in size.

    Args:
        images: Images, each of shape (H, W) or (H, W, 3).
        baselines: Baseline of each image, in the same order; empty for none.

    Raises:
        ExportError: If a pair differs in size; the message names the first such pair.
    """
    for number, (image, baseline) in enumerate(zip(images, baselines, strict=bool(baselines))):
        if image.shape != baseline.shape:
            raise ExportError(
                f"both images of a pair must have one size; image {number} is {_size(image)}, its baseline "
                f"{_size(baseline)}. Cut the baseline from the film as large as the image"
            )


def as_numbers(types: Sequence[str], images: int) -> NDArray[np.float32]:
    """Turn names of types, one for all or one each, into the numbers that the model takes, shape (images,).

    >>> as_numbers(["calcification"], 3)
    array([1., 1., 1.], dtype=float32)
    """
    each = [FINDING_TYPES.index(name) for name in types]
    return np.array(each * images if len(each) == 1 else each, dtype=np.float32)


def _size(image: NDArray[Any]) -> str:
    return "x".join(map(str, image.shape[:2]))


def check_units(manifest: Manifest, *, images: int, units: Sequence[str]) -> None:
    """Refuse units of a model of single images, and images without units of a model of units.

    Args:
        manifest: Manifest of the model.
        images: Number of images.
        units: Name of the unit of each image.

    Raises:
        ExportError: If there are too few or too many, or the model takes none.
    """
    if manifest.unit == "image" and units:
        raise ExportError("this model predicts single images and takes no units; leave them out")
    if manifest.unit != "image" and len(units) != images:
        raise ExportError(
            f"this model predicts a {manifest.unit} from its images: give the {manifest.unit} of each image, "
            f"found {len(units)} for {images}"
        )
