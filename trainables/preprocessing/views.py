"""Views: augmentation as a finite set, so that frozen features can be computed once for each view.

A symmetry of the square is exact and is applied to the transformed pixels. A random view draws its
parameters from (policy, draw, image), through Albumentations, on the raw pixels; so view 3 of image 17 is
the same in every trial, process and machine.
"""

import functools
import os
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainables.config.augmentation_policies import AUGMENTATIONS, Augmentation, AugmentationPolicy
from trainables.preprocessing.intensity import draw_intensity, shift_intensity

DRAWS: Final = 8  # random views of each image; as many as there are symmetries of the square


@dataclass(frozen=True, slots=True)
class View:
    """One augmented version of every image.

    Attributes:
        kind: `d4` (a symmetry of the square), or the policy that a random view is drawn from.
        index: Number of the symmetry or of the random draw, 0 to 7; symmetry 0 is the identity, 4 to 7 are
            mirrored.
    """

    kind: AugmentationPolicy
    index: int

    def __str__(self) -> str:
        return f"{self.kind}-{self.index}"

    @property
    def is_symmetry(self) -> bool:
        """True for an exact symmetry of the square."""
        return self.kind == "d4"


IDENTITY = View("d4", 0)


def training_views(policy: AugmentationPolicy) -> tuple[View, ...]:
    """Views that training draws from, anew for each image and epoch.

    >>> [str(view) for view in training_views("flips")]
    ['d4-0', 'd4-2', 'd4-4', 'd4-6']
    """
    augmentation = AUGMENTATIONS[policy]
    if augmentation.is_exact:
        return _symmetric_views(augmentation)
    return tuple(View(policy, draw) for draw in range(DRAWS))


def prediction_views(policy: AugmentationPolicy, *, average: bool) -> tuple[View, ...]:
    """Views whose predictions are averaged: the exact symmetries among the policy's draws.

    Only symmetries, so that an exported model can average over them too.

    >>> [str(view) for view in prediction_views("e004", average=True)]
    ['d4-0', 'd4-1', 'd4-3', 'd4-4', 'd4-5', 'd4-7']
    """
    augmentation = AUGMENTATIONS[policy]
    return _symmetric_views(augmentation) if average and augmentation.averages else (IDENTITY,)


def _symmetric_views(augmentation: Augmentation) -> tuple[View, ...]:
    return tuple(View("d4", index) for index in augmentation.symmetries)


def apply_symmetry(images: Tensor, index: int) -> Tensor:
    """Rotate and mirror square images (B, C, S, S) by a symmetry, index 0 to 7."""
    if index >= 4:
        images = images.flip(3)
    return torch.rot90(images, index % 4, dims=(2, 3)) if index % 4 else images


def random_view(raw: NDArray[Any], rows: NDArray[np.int64], view: View) -> NDArray[Any]:
    """Apply a random view to raw images.

    Args:
        raw: Raw pixels, shape (B, H, W) or (B, H, W, 3), native number type.
        rows: Row that seeds the draw of each image, shape (B,); see `PatchSet.drawn_as`.
        view: View of a policy that is not exact. Images need not be square.

    Returns:
        Augmented images, same shape and type as `raw`; whole numbers whose intensity changes are rounded and
        clipped to the range of the type.
    """
    augmentation = AUGMENTATIONS[view.kind]
    pipeline = _pipeline(augmentation)
    out = np.empty_like(raw)
    for position, row in enumerate(rows):
        seed = zlib.crc32(f"{view}/{row}".encode())
        # One stream for all steps; `set_random_seed` would give each step its own copy of it.
        pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        moved = pipeline(image=np.ascontiguousarray(raw[position]))["image"]
        out[position] = _retoned(moved, augmentation, seed) if augmentation.changes_tones else moved
    return out


@functools.cache
def _pipeline(augmentation: Augmentation) -> Any:
    # On import it asks the network for a newer release, and warns where there is no network.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A
    import cv2

    border = {"nearest": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT}[augmentation.fill]
    turn = (-augmentation.rotation_deg, augmentation.rotation_deg)
    steps: list[Any] = []
    if augmentation.distorts:
        move = A.Affine(
            scale=(1 - augmentation.zoom, 1 + augmentation.zoom),
            translate_percent=(-augmentation.shift, augmentation.shift),
            shear=(-augmentation.shear_deg, augmentation.shear_deg),
            rotate=turn,
            border_mode=border,
            p=1.0,
        )
        steps.append(move)
    elif augmentation.moves:
        steps.append(A.Rotate(limit=turn, border_mode=border, p=1.0))
    if augmentation.hflip:
        steps.append(A.HorizontalFlip(p=0.5))
    if augmentation.vflip:
        steps.append(A.VerticalFlip(p=0.5))
    return A.Compose(steps)


def _retoned(image: NDArray[Any], augmentation: Augmentation, seed: int) -> NDArray[Any]:
    """Change the intensity of one raw image, (H, W) or (H, W, 3)."""
    channels_first = np.moveaxis(np.atleast_3d(image), 2, 0).astype(np.float32)
    pixels = torch.from_numpy(channels_first).unsqueeze(0)
    tones = draw_intensity(pixels, augmentation, torch.Generator().manual_seed(seed))
    changed = np.moveaxis(shift_intensity(pixels, tones)[0].numpy(), 0, 2).reshape(image.shape)
    if image.dtype.kind == "f":
        return changed.astype(image.dtype)
    ends = np.iinfo(image.dtype)
    return changed.round().clip(ends.min, ends.max).astype(image.dtype)


def augment_online(images: Tensor, policy: AugmentationPolicy, generator: torch.Generator) -> Tensor:
    """Draw a fresh augmentation for each image, on its device, by batch.

    Args:
        images: Transformed pixels, shape (B, C, S, S).
        policy: Augmentation policy of the configuration.
        generator: Generator on the CPU, which determines the result.
    """
    augmentation = AUGMENTATIONS[policy]
    if augmentation.moves:
        images = _move(images, augmentation, generator)
    elif len(augmentation.symmetries) > 1:
        images = _turn(images, augmentation, generator)
    if augmentation.changes_tones:
        images = shift_intensity(images, draw_intensity(images, augmentation, generator))
    return images


def _turn(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Apply a symmetry to each image, drawn from the policy's with equal probability."""
    symmetries = augmentation.symmetries
    draws = torch.randint(len(symmetries), (images.shape[0],), generator=generator)
    out = torch.empty_like(images)
    for position, symmetry in enumerate(symmetries):
        chosen = (draws == position).to(images.device)
        out[chosen] = apply_symmetry(images[chosen], symmetry)
    return out


def _move(images: Tensor, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    moves = _draw_moves(images.shape[0], augmentation, generator)
    # The grid holds for each output pixel the position that it is read from, hence the inverse.
    theta = torch.linalg.inv(moves)[:, :2].to(images.device, images.dtype)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    padding = {"nearest": "border", "reflect": "reflection"}[augmentation.fill]
    return F.grid_sample(images, grid, padding_mode=padding, align_corners=False)


def _draw_moves(count: int, augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """Draw an affine map for each image, in coordinates from -1 to 1, shape (count, 3, 3)."""

    def uniform(limit: float) -> Tensor:
        return limit * (2 * torch.rand(count, generator=generator) - 1)

    def mirror(is_drawn: bool) -> Tensor:
        return 1 - 2 * (torch.rand(count, generator=generator) < 0.5).float() * is_drawn

    angle = torch.deg2rad(uniform(augmentation.rotation_deg))
    slants = [torch.tan(torch.deg2rad(uniform(augmentation.shear_deg))) for _ in "xy"]
    shift = [uniform(2 * augmentation.shift) for _ in "xy"]  # the side is 2 long
    zoom = [1 + uniform(augmentation.zoom) for _ in "xy"]
    mirrors = [mirror(augmentation.hflip), mirror(augmentation.vflip)]
    cos, sin, one = torch.cos(angle), torch.sin(angle), torch.ones(count)
    steps = (
        _matrices((mirrors[0], 0 * one), (0 * one, mirrors[1])),
        _matrices((one, slants[0]), (slants[1], one), shift),
        _matrices((cos, sin), (-sin, cos)),
        _matrices((zoom[0], 0 * one), (0 * one, zoom[1])),
    )
    return functools.reduce(torch.matmul, steps)


def _matrices(
    first: Sequence[Tensor], second: Sequence[Tensor], shift: Sequence[Tensor] | None = None
) -> Tensor:
    """Stack rows (count,) of a linear map and a shift into homogeneous matrices, shape (count, 3, 3)."""
    matrices = torch.eye(3).repeat(len(first[0]), 1, 1)
    matrices[:, 0, :2], matrices[:, 1, :2] = torch.stack(list(first), 1), torch.stack(list(second), 1)
    if shift is not None:
        matrices[:, :2, 2] = torch.stack(list(shift), 1)
    return matrices
