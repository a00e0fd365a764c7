"""The forward pass through frozen stages that fills the store."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.common.errors import PrefixError
from trainables.data.patches import PatchSet
from trainables.features.executor import StageExecutor
from trainables.models.taps import Tap
from trainables.preprocessing.transforms import PixelTransform, TransformSpec
from trainables.preprocessing.views import View, apply_symmetry, random_view

_EXAMPLES: Final = 4  # images that an executor is compared with the stages on
# Symmetries act on the transformed pixels, which are kept between views if they take less than this.
_KEPT_BYTES: Final = 256 << 20
# Raw pixels of a batch as float32, of which the transform holds a few times as much.
_BATCH_BYTES: Final = 12 * 10**8

Batch = tuple[int, dict[Tap, Tensor]]


class FrozenForward:
    """Runs frozen stages over all images of a view, batch by batch, and yields the features of each tap.

    Attributes:
        executor: Executor of the stages; `executor.reason` names its back end and the reason for it.

    Args:
        patch_set: Images.
        rows: Rows to run, in order, shape (images,).
        stages: Stages of the backbone; frozen here, and set to eval mode permanently.
        transform: Transform from raw pixels to the input of the first stage.
        device: Device to compute on.
        batch_size: Images per batch; None leaves it to the executor and to the size of an image. Features
            depend on it by float noise.
        cache: Folder of exported stages, shared by the processes of a machine; None keeps them in memory.

    Raises:
        PrefixError: If there is no image.
    """

    def __init__(
        self,
        patch_set: PatchSet,
        rows: NDArray[np.int64],
        stages: "OrderedDict[str, nn.Module]",
        transform: TransformSpec,
        *,
        device: torch.device,
        batch_size: int | None = None,
        cache: Path | None = None,
    ) -> None:
        if len(rows) == 0:
            raise PrefixError("there is no image to compute features of; does the task leave every row out?")
        self.patch_set, self.rows = patch_set, rows
        self.device, self.batch_size = device, batch_size
        self.transform = PixelTransform(transform).to(device)
        with torch.no_grad():
            example = self.transform(to_tensor(patch_set.images[rows[:_EXAMPLES]]).to(device))
        self.executor = StageExecutor(stages, example, cache=cache)
        self._most = max(1, _BATCH_BYTES // (4 * math.prod(patch_set.images.shape[1:])))
        self._keeps = device.type == "cpu" and example[0].nbytes * len(rows) <= _KEPT_BYTES
        self._kept: dict[tuple[int, int], Tensor] = {}

    def __call__(self, view: View, taps: Sequence[Tap]) -> Iterator[Batch]:
        """Yield (position of the first image, features by tap on the CPU, float32)."""
        self.executor.expect(len(self.rows))
        size = self.batch_size or min(self.executor.batch_size, self._most)
        if any(stop - start != size for start, stop in list(self._kept)[:1]):
            self._kept.clear()  # batches of an executor that has been replaced
        batches = (
            (start, self._batch(start, start + size, view, taps)) for start in range(0, len(self.rows), size)
        )
        return one_behind(batches, _mark) if self.device.type == "cuda" else batches

    @torch.inference_mode()
    def _batch(self, start: int, stop: int, view: View, taps: Sequence[Tap]) -> dict[Tap, Tensor]:
        if view.is_symmetry:
            images = apply_symmetry(self._transformed(start, stop), view.index)
        else:
            rows = self.rows[start:stop]
            raw = self.patch_set.images[rows]
            images = self._transform(random_view(raw, self.patch_set.drawn_as(rows), view))
        found = self.executor(images, [tap.stage for tap in taps])
        return {tap: _on_cpu(found[tap.stage], is_pooled=tap.is_pooled) for tap in taps}

    def _transformed(self, start: int, stop: int) -> Tensor:
        if (start, stop) in self._kept:
            return self._kept[start, stop]
        images = self._transform(self.patch_set.images[self.rows[start:stop]])
        if self._keeps:
            self._kept[start, stop] = images
        return images

    def _transform(self, raw: NDArray[Any]) -> Tensor:
        pixels = to_tensor(raw)
        if self.device.type == "cuda":
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        images: Tensor = self.transform(pixels)
        return images


def one_behind(batches: Iterator[Batch], mark: Callable[[], Callable[[], None]]) -> Iterator[Batch]:
    """Yield each batch after the next one was sent to the device, so that the device does not idle.

    Args:
        batches: Batches whose copies to the CPU may still be running.
        mark: Called when a batch has been sent; returns a function that waits until the device is that far.
    """
    before: tuple[Batch, Callable[[], None]] | None = None
    for batch in batches:
        sent = batch, mark()
        if before is not None:
            before[1]()
            yield before[0]
        before = sent
    if before is not None:
        before[1]()
        yield before[0]


def to_tensor(raw: NDArray[np.generic]) -> Tensor:
    """Copy raw pixels into a tensor; uint16 becomes int32, which torch computes with."""
    return torch.from_numpy(raw.astype(np.int32) if raw.dtype == np.uint16 else np.array(raw))


def _on_cpu(features: Tensor, *, is_pooled: bool) -> Tensor:
    pooled = features.mean(dim=(2, 3)) if is_pooled else features
    # From CUDA this lands in pinned memory and is not waited for; `one_behind` does.
    return pooled.float().to("cpu", non_blocking=True)


def _mark() -> Callable[[], None]:
    event = torch.cuda.Event()
    event.record()
    return event.synchronize
