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
    """Batches of what the trained part takes in. Positions count the rows of the training part."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image's features, (D,) or (C, H, W)."""
        ...

    def for_training(self, positions: IntArray, generator: torch.Generator) -> Tensor:
        """One augmented batch, shape (B, *shape); every image in a view drawn by `generator`."""
        ...

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """The same images in each prediction view, shape (B, *shape)."""
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
        self.positions, self.device = positions, device
        size = sum(array.nbytes for array in (*training, *prediction))
        if size <= _IN_MEMORY_BYTES:
            training = [np.asarray(array[positions]) for array in training]
            prediction = [np.asarray(array[positions]) for array in prediction]
            self.positions = np.arange(len(positions))
        self.training, self.prediction = training, prediction

    def for_training(self, positions: IntArray, generator: torch.Generator) -> Tensor:
        """One batch, each image in a view drawn by `generator`."""
        draws = torch.randint(len(self.training), (len(positions),), generator=generator).numpy()
        places = self.positions[positions]
        batch = np.empty((len(positions), *self.shape), dtype=np.float32)
        for draw, array in enumerate(self.training):
            chosen = draws == draw
            if chosen.any():
                batch[chosen] = array[places[chosen]]
        return torch.from_numpy(batch).to(self.device)

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """The same images in each prediction view."""
        places = self.positions[positions]
        for array in self.prediction:
            yield torch.from_numpy(array[places].astype(np.float32)).to(self.device)


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

    def for_training(self, positions: IntArray, generator: torch.Generator) -> Tensor:
        """One batch with a fresh augmentation for each image."""
        return augment_online(self._pixels(positions, self.training), self.policy, generator)

    def for_prediction(self, positions: IntArray) -> Iterator[Tensor]:
        """The same images in each prediction view."""
        images = self._pixels(positions, self.prediction)
        for view in self.views:
            yield apply_symmetry(images, view.index)

    def _pixels(self, positions: IntArray, transform: PixelTransform) -> Tensor:
        raw = self.patch_set.images[self.rows[positions]]
        pixels: Tensor = transform(to_tensor(raw).to(self.device))
        return pixels
