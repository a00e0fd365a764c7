"""The forward pass through frozen stages that fills the store."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainables.data.patches import PatchSet
from trainables.data.transforms import PixelTransform, TransformSpec
from trainables.data.views import View, apply_symmetry, random_view
from trainables.prefix.folding import folded
from trainables.prefix.store import Tap


class FrozenForward:
    """Runs frozen stages over all images of a view, batch by batch, and yields what each tap sees."""

    def __init__(
        self,
        patch_set: PatchSet,
        rows: NDArray[np.int64],
        stages: "OrderedDict[str, nn.Module]",
        transform: TransformSpec,
        *,
        device: torch.device,
        batch_size: int = 32,
    ) -> None:
        self.patch_set, self.rows = patch_set, rows
        self.device, self.batch_size = device, batch_size
        self.transform = PixelTransform(transform).to(device)
        self.stages = self._prepared(stages)

    def __call__(self, view: View, taps: Sequence[Tap]) -> Iterator[tuple[int, dict[Tap, Tensor]]]:
        """Yield (position of the first image, features by tap on the CPU, float32)."""
        for start in range(0, len(self.rows), self.batch_size):
            rows = self.rows[start : start + self.batch_size]
            yield start, self._batch(rows, view, taps)

    @torch.inference_mode()
    def _prepared(self, stages: "OrderedDict[str, nn.Module]") -> "OrderedDict[str, nn.Module]":
        """Stages as they run: frozen, in eval mode for good, folded, in the memory layout that is fastest."""
        features = self.transform(to_tensor(self.patch_set.images[self.rows[:1]]).to(self.device))
        prepared: OrderedDict[str, nn.Module] = OrderedDict()
        for name, stage in stages.items():
            frozen = stage.eval().requires_grad_(False).to(self.device)
            prepared[name] = in_channels_last(folded(frozen, features))
            features = frozen(features)
        return prepared

    @torch.inference_mode()
    def _batch(self, rows: NDArray[np.int64], view: View, taps: Sequence[Tap]) -> dict[Tap, Tensor]:
        raw = self.patch_set.images[rows]
        if not view.is_symmetry:
            raw = random_view(raw, rows, view)
        images = self.transform(to_tensor(raw).to(self.device))
        if view.is_symmetry:
            images = apply_symmetry(images, view.index)
        features = images.contiguous(memory_format=torch.channels_last)
        deepest = max(list(self.stages).index(tap.stage) for tap in taps)
        out: dict[Tap, Tensor] = {}
        for name in list(self.stages)[: deepest + 1]:
            features = self.stages[name](features)
            for tap in taps:
                if tap.stage == name:
                    out[tap] = (features.mean(dim=(2, 3)) if tap.is_pooled else features).float().cpu()
        return out


def to_tensor(raw: NDArray[np.generic]) -> Tensor:
    """Copy raw pixels into a tensor; uint16 becomes int32, which torch computes with."""
    return torch.from_numpy(raw.astype(np.int32) if raw.dtype == np.uint16 else np.array(raw))


def in_channels_last(module: nn.Module) -> nn.Module:
    """Lay out a module's weights channels last: about twice as fast on CPUs, and on GPUs' tensor cores."""
    return module.to(memory_format=torch.channels_last)
