"""Views: augmentation as a finite set, so that what is frozen can be computed once for each.

A symmetry of the square is exact and is applied to the transformed pixels. A random view draws its
parameters from (policy, draw, image), through Albumentations, on the raw pixels; so view 3 of image 17 is
the same in every trial, process and machine.
"""

import functools
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Policy = Literal["none", "flips", "d4", "rotate", "affine"]
DRAWS = 8  # random views of each image; as many as there are symmetries of the square


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at every image.

    Attributes:
        kind: `d4` (a symmetry of the square), `rotate` or `affine` (a random draw).
        index: 0 to 7; symmetry 0 is the identity, 4 to 7 are mirrored.
    """

    kind: Literal["d4", "rotate", "affine"]
    index: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.index}"

    @property
    def is_symmetry(self) -> bool:
        """True for an exact symmetry of the square."""
        return self.kind == "d4"


IDENTITY = View("d4", 0)
_FLIPS = (IDENTITY, View("d4", 2), View("d4", 4), View("d4", 6))
_D4 = tuple(View("d4", index) for index in range(8))


def training_views(policy: Policy) -> tuple[View, ...]:
    """Views that training draws from, one for each image and epoch.

    >>> [str(view) for view in training_views("flips")]
    ['d4-0', 'd4-2', 'd4-4', 'd4-6']
    """
    if policy in ("rotate", "affine"):
        return tuple(View(policy, draw) for draw in range(DRAWS))
    return {"none": (IDENTITY,), "flips": _FLIPS, "d4": _D4}[policy]


def prediction_views(policy: Policy, *, average: bool) -> tuple[View, ...]:
    """Views whose predictions are averaged; exact symmetries only, so that an exported model has them too."""
    if not average or policy in ("none", "affine"):
        return (IDENTITY,)
    return _FLIPS if policy == "flips" else _D4


def apply_symmetry(images: Tensor, index: int) -> Tensor:
    """Turn and mirror square images (B, C, S, S) by a symmetry, index 0 to 7."""
    if index >= 4:
        images = images.flip(3)
    return torch.rot90(images, index % 4, dims=(2, 3)) if index % 4 else images


def random_view(raw: NDArray[Any], rows: NDArray[np.int64], view: View) -> NDArray[Any]:
    """Apply a random view to raw images.

    Args:
        raw: Shape (B, H, W) or (B, H, W, 3), native number type.
        rows: Row of each image in its patch set, shape (B,); seeds the draw.
        view: Of kind `rotate` or `affine`.

    Returns:
        Same shape and type as `raw`.
    """
    pipeline = _pipeline(view.kind)
    out = np.empty_like(raw)
    for position, row in enumerate(rows):
        pipeline.set_random_seed(zlib.crc32(f"{view}/{row}".encode()))
        out[position] = pipeline(image=np.ascontiguousarray(raw[position]))["image"]
    return out


@functools.cache
def _pipeline(kind: str) -> Any:
    import albumentations as A
    import cv2

    flips = [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]
    nearest = cv2.BORDER_REPLICATE  # Keras's fill_mode, which the sources used
    if kind == "rotate":
        return A.Compose([A.Rotate(limit=(-180, 180), border_mode=nearest, p=1.0), *flips])
    moves = A.Affine(
        scale=(0.9, 1.1), translate_percent=(-0.1, 0.1), shear=(-5, 5), border_mode=nearest, p=1.0
    )
    return A.Compose([moves, *flips])


def augment_online(images: Tensor, policy: Policy, generator: torch.Generator) -> Tensor:
    """Draw a fresh augmentation for each image, on its device, by batch.

    Args:
        images: Transformed pixels, shape (B, C, S, S).
        policy: As in the configuration.
        generator: CPU generator; its draws decide the result.
    """
    if policy == "none":
        return images
    if policy in ("flips", "d4"):
        views = training_views(policy)
        draws = torch.randint(len(views), (images.shape[0],), generator=generator)
        out = torch.empty_like(images)
        for position, view in enumerate(views):
            chosen = (draws == position).to(images.device)
            out[chosen] = apply_symmetry(images[chosen], view.index)
        return out
    theta = _random_affine(images.shape[0], policy, generator).to(images.device, images.dtype)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _random_affine(count: int, policy: Policy, generator: torch.Generator) -> Tensor:
    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    if policy == "rotate":
        angle, scale, shift_x, shift_y = uniform(-np.pi, np.pi), torch.ones(count), None, None
    else:
        angle, scale = uniform(-0.087, 0.087), uniform(0.9, 1.1)
        shift_x, shift_y = uniform(-0.2, 0.2), uniform(-0.2, 0.2)  # 10 % of a side that spans -1 to 1
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = torch.cos(angle) * scale * mirror, -torch.sin(angle) * scale
    theta[:, 1, 0], theta[:, 1, 1] = torch.sin(angle) * scale * mirror, torch.cos(angle) * scale
    if shift_x is not None and shift_y is not None:
        theta[:, 0, 2], theta[:, 1, 2] = shift_x, shift_y
    return theta
