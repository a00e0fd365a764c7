"""Batches of a trial: stored views of a frozen prefix, or pixels augmented online."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.common.types import IntArray
from trainables.data.patches import PatchSet
from trainables.features.frozen_forward import to_tensor
from trainables.preprocessing.transforms import PixelTransform, TransformSpec
from trainables.preprocessing.views import AugmentationPolicy, View, apply_symmetry, augment_online

_IN_MEMORY_BYTES: Final = 512 << 20  # a trial's views below this are read once; above it, batch by batch


class Features(Protocol):
    """Batches of inputs of the trained part, float32. Positions count the rows of the training part."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image's features, (D,) or (C, H, W)."""
        ...

    def for_training(
        self, positions: IntArray, generators: Sequence[torch.Generator], *, augmented: bool = True
    ) -> Tensor:
        """One batch for each model.

        Args:
            positions: Positions of each model's batch, shape (models, B).
            generators: One for each model; draws the view of every image.
            augmented: False takes the images as they are.

        Returns:
            Features, shape (models, B, *shape).
        """
        ...

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """Yield the images at positions (n,) in each prediction view, shape (n, *shape)."""
        ...


class StoredFeatures:
    """Batches from stored views of a frozen prefix.

    Args:
        training: One (images, ...) array for each training view; a view that is in several of these lists is
            the same array in all of them.
        prediction: One (images, ...) array for each prediction view.
        positions: Index of each row of the training part in these arrays, shape (rows,).
        device: Device that batches are copied to.
        plain: Array of the images without augmentation; None where training never takes those.
    """

    def __init__(
        self,
        training: Sequence[NDArray[Any]],
        prediction: Sequence[NDArray[Any]],
        positions: IntArray,
        device: torch.device,
        plain: NDArray[Any] | None = None,
    ) -> None:
        self.shape: tuple[int, ...] = tuple(training[0].shape[1:])
        self.device = device
        as_they_are = [] if plain is None else [plain]
        distinct = {id(array): array for array in (*training, *prediction, *as_they_are)}  # held once each
        order = list(distinct)
        self._plain = [order.index(id(array)) for array in as_they_are]
        self._training = torch.tensor([order.index(id(array)) for array in training])
        self._prediction = [order.index(id(array)) for array in prediction]
        arrays = list(distinct.values())
        needed = len(positions) * sum(array[:1].nbytes for array in arrays)
        source = _Held if needed <= _IN_MEMORY_BYTES else _Mapped
        self._pick: _Pick = source(arrays, positions, device)

    def for_training(
        self, positions: IntArray, generators: Sequence[torch.Generator], *, augmented: bool = True
    ) -> Tensor:
        """One batch for each model, each image in a view drawn by the model's generator."""
        return self.batch(positions, self.draw(positions, generators) if augmented else None)

    def draw(self, positions: IntArray, generators: Sequence[torch.Generator]) -> Tensor:
        """Draw a training view for each position (models, B), same shape."""
        count, views = positions.shape[1], len(self._training)
        return torch.stack([torch.randint(views, (count,), generator=own) for own in generators])

    def batch(self, positions: IntArray, views: Tensor | None) -> Tensor:
        """Images at positions (models, B) in training views (models, B); not augmented for None."""
        if views is None:
            arrays = torch.full((positions.size,), self._plain[0])
        else:
            arrays = self._training[views].flatten()
        picked = self._pick(arrays, torch.from_numpy(positions).flatten())
        return picked.to(self.device, torch.float32).unflatten(0, positions.shape)

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """Yield the images at positions (n,) in each prediction view."""
        for view in self._prediction:
            picked = self._pick(torch.full((len(positions),), view), torch.from_numpy(positions))
            yield picked.to(self.device, torch.float32)


class _Pick(Protocol):
    """Gathers images (n, *shape) by their array (n,) and their position in it (n,)."""

    def __call__(self, arrays: Tensor, positions: Tensor, /) -> Tensor: ...


class _Held:
    """Small features, read once and held in device memory in their stored number type."""

    def __init__(self, arrays: Sequence[NDArray[Any]], positions: IntArray, device: torch.device) -> None:
        self.rows = len(positions)
        held = [torch.from_numpy(np.asarray(array[positions])) for array in arrays]
        self.bank = torch.cat(held).to(device)

    def __call__(self, arrays: Tensor, positions: Tensor) -> Tensor:
        places = arrays * self.rows + positions
        return self.bank.index_select(0, places.to(self.bank.device))


class _Mapped:
    """Large features, read from their files batch by batch."""

    def __init__(self, arrays: Sequence[NDArray[Any]], positions: IntArray, device: torch.device) -> None:
        self.arrays, self.positions = arrays, positions

    def __call__(self, arrays: Tensor, positions: Tensor) -> Tensor:
        chosen, places = arrays.numpy(), self.positions[positions.numpy()]
        kind = np.result_type(*(array.dtype for array in self.arrays))
        batch = np.empty((len(places), *self.arrays[0].shape[1:]), dtype=kind)
        for number in np.unique(chosen):
            is_here = chosen == number
            batch[is_here] = self.arrays[number][places[is_here]]
        return torch.from_numpy(batch)


class PairedFeatures:
    """Batches of pairs of stored features: the baseline, then the image itself, both in the same view."""

    def __init__(self, baselines: StoredFeatures, images: StoredFeatures) -> None:
        self.baselines, self.images = baselines, images
        self.shape = (2, *images.shape)

    def for_training(
        self, positions: IntArray, generators: Sequence[torch.Generator], *, augmented: bool = True
    ) -> Tensor:
        """One batch of pairs for each model, (models, B, 2, ...)."""
        views = self.images.draw(positions, generators) if augmented else None
        halves = [own.batch(positions, views) for own in (self.baselines, self.images)]
        return torch.stack(halves, dim=2)

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """Yield the pairs at positions (n,) in each prediction view, shape (n, 2, ...)."""
        both = (self.baselines.for_prediction(positions), self.images.for_prediction(positions))
        for halves in zip(*both, strict=True):
            yield torch.stack(halves, dim=1)


class OnlinePixels:
    """Batches of transformed pixels, augmented on the device; for trials whose first stage trains.

    Args:
        patch_set: Images.
        members: Row of each position, shape (rows,); for pairs two arrays, the baseline's rows first.
        training: Pixel transform in training.
        prediction: Pixel transform in prediction.
        policy: Augmentation in training.
        views: Views that predictions are averaged over.
        device: Device to compute on.
    """

    def __init__(
        self,
        patch_set: PatchSet,
        members: Sequence[IntArray],
        *,
        training: TransformSpec,
        prediction: TransformSpec,
        policy: AugmentationPolicy,
        views: Sequence[View],
        device: torch.device,
    ) -> None:
        self.patch_set, self.members, self.policy, self.views = patch_set, members, policy, views
        self.training = PixelTransform(training).to(device)
        self.prediction = PixelTransform(prediction).to(device)
        self.device = device
        image = (training.channels, training.size_px, training.size_px)
        self.shape: tuple[int, ...] = image if len(members) == 1 else (2, *image)

    def for_training(
        self, positions: IntArray, generators: Sequence[torch.Generator], *, augmented: bool = True
    ) -> Tensor:
        """One batch for each model; each image is augmented anew, both images of a pair in the same way."""
        policy: AugmentationPolicy = self.policy if augmented else "none"
        return torch.stack(
            [self._drawn(own, policy, draws) for own, draws in zip(positions, generators, strict=True)]
        )

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """Yield the images at positions (n,) in each prediction view."""
        own = [self._pixels(rows[positions], self.prediction) for rows in self.members]
        for view in self.views:
            yield _together([apply_symmetry(images, view.index) for images in own])

    def _drawn(self, positions: IntArray, policy: AugmentationPolicy, draws: torch.Generator) -> Tensor:
        """Augmented batch of one model, shape (B, ...), or (B, 2, ...) for pairs."""
        before, seen = draws.get_state(), []
        for rows in self.members:
            draws.set_state(before)  # both images of a pair are augmented alike
            seen.append(augment_online(self._pixels(rows[positions], self.training), policy, draws))
        return _together(seen)

    def _pixels(self, rows: IntArray, transform: PixelTransform) -> Tensor:
        pixels: Tensor = transform(to_tensor(self.patch_set.images[rows]).to(self.device))
        return pixels


def _together(images: Sequence[Tensor]) -> Tensor:
    """Batch of single images, (B, ...), or of pairs, (B, 2, ...)."""
    return images[0] if len(images) == 1 else torch.stack(list(images), dim=1)
