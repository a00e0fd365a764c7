"""Where a trial's batches come from: stored views of a frozen prefix, or pixels online."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.patches import PatchSet
from trainables.data.transforms import PixelTransform, TransformSpec
from trainables.data.views import Policy, View, apply_symmetry, augment_online
from trainables.prefix.compute import to_tensor

IntArray = NDArray[np.int64]
_IN_MEMORY_BYTES: Final = 512 << 20  # a trial's views below this are read once; above it, batch by batch


class Features(Protocol):
    """Batches of what the trained part takes in, float32. Positions count the rows of the training part."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image's features, (D,) or (C, H, W)."""
        ...

    def for_training(self, positions: IntArray, generators: Sequence[torch.Generator]) -> Tensor:
        """One augmented batch for each model.

        Args:
            positions: Shape (models, B).
            generators: One for each model; draws the view of every image.

        Returns:
            Shape (models, B, *shape).
        """
        ...

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """The images at some positions (n,) in each prediction view, shape (n, *shape)."""
        ...


class StoredFeatures:
    """Views of a frozen prefix.

    Args:
        training: One (images, ...) array for each training view.
        prediction: One for each prediction view.
        positions: Place of each row of the training part in these arrays, shape (rows,).
        device: Where batches go.
    """

    def __init__(
        self,
        training: Sequence[NDArray[Any]],
        prediction: Sequence[NDArray[Any]],
        positions: IntArray,
        device: torch.device,
    ) -> None:
        self.shape: tuple[int, ...] = tuple(training[0].shape[1:])
        self.device = device
        distinct = {_identity(array): array for array in (*training, *prediction)}
        order = list(distinct)
        self._training = torch.tensor([order.index(_identity(array)) for array in training])
        self._prediction = [order.index(_identity(array)) for array in prediction]
        arrays = list(distinct.values())
        needed = len(positions) * sum(array[:1].nbytes for array in arrays)
        source = _Held if needed <= _IN_MEMORY_BYTES else _Mapped
        self._pick: _Pick = source(arrays, positions, device)

    def for_training(self, positions: IntArray, generators: Sequence[torch.Generator]) -> Tensor:
        """One batch for each model, each image in a view drawn by the model's generator."""
        count, views = positions.shape[1], len(self._training)
        draws = torch.stack([torch.randint(views, (count,), generator=own) for own in generators])
        picked = self._pick(self._training[draws].flatten(), torch.from_numpy(positions).flatten())
        return picked.to(self.device, torch.float32).unflatten(0, positions.shape)

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """The same images in each prediction view."""
        for view in self._prediction:
            picked = self._pick(torch.full((len(positions),), view), torch.from_numpy(positions))
            yield picked.to(self.device, torch.float32)


class _Pick(Protocol):
    """Returns images (n, *shape) at some places: array (n,) and position (n,)."""

    def __call__(self, arrays: Tensor, positions: Tensor, /) -> Tensor: ...


class _Held:
    """Small features, read once and held in the memory of the device, as they were stored."""

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


def _identity(array: NDArray[Any]) -> object:
    """Equal for two openings of one file."""
    return getattr(array, "filename", None) or id(array)


class OnlinePixels:
    """Transformed pixels, augmented on the device by batch; for trials whose first stage trains."""

    def __init__(
        self,
        patch_set: PatchSet,
        rows: IntArray,
        *,
        training: TransformSpec,
        prediction: TransformSpec,
        policy: Policy,
        views: Sequence[View],
        device: torch.device,
    ) -> None:
        self.patch_set, self.rows, self.policy, self.views = patch_set, rows, policy, views
        self.training = PixelTransform(training).to(device)
        self.prediction = PixelTransform(prediction).to(device)
        self.device = device
        self.shape: tuple[int, ...] = (training.channels, training.size_px, training.size_px)

    def for_training(self, positions: IntArray, generators: Sequence[torch.Generator]) -> Tensor:
        """One batch for each model, with a fresh augmentation for each image."""
        batches = [
            augment_online(self._pixels(own, self.training), self.policy, generator)
            for own, generator in zip(positions, generators, strict=True)
        ]
        return torch.stack(batches)

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """The same images in each prediction view."""
        images = self._pixels(positions, self.prediction)
        for view in self.views:
            yield apply_symmetry(images, view.index)

    def _pixels(self, positions: IntArray, transform: PixelTransform) -> Tensor:
        raw = self.patch_set.images[self.rows[positions]]
        pixels: Tensor = transform(to_tensor(raw).to(self.device))
        return pixels
