"""Execution of frozen stages: in torch at first, and in ONNX Runtime once the work is worth an export.

On one CPU core EfficientNet-Lite0 runs about twice as fast in ONNX Runtime as in torch with its
normalisations folded (`python -m benchmarks.pipeline`), but an export takes seconds.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainables.common.errors import PrefixError
from trainables.features.bn_folding import folded, in_channels_last
from trainables.features.onnx_stages import OnnxStore
from trainables.models.readouts import Readout, run_stages
from trainables.runtime.devices import single_precision

Stages = OrderedDict[str, nn.Module]

# Multiply-adds from which an export pays: 1000 images through EfficientNet-Lite0 at 224 px, where an export
# takes 4.5 s and saves 4.7 ms an image.
BREAK_EVEN: Final = 400e9
_CPU_BATCH: Final = 32
_CUDA_BATCH: Final = 128


class Runs(Protocol):
    """A back end that computes the stages: torch or ONNX Runtime."""

    name: str
    batch_size: int

    def __call__(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Map images (B, C, S, S) to float32 features (B, C', H, W) by stage, on the images' device."""
        ...


class TorchStages:
    """Stages in torch: folded where that applies, channels last.

    Single precision, without autocast and without TF32, so that features of CUDA and of a CPU are the same
    but for float noise, whichever of them filled the store.

    Args:
        stages: Frozen stages in eval mode, on the device that they will run on.
        example: Input, shape (B, C, S, S), on which each folded stage is compared.
    """

    name = "torch"

    def __init__(self, stages: Stages, example: Tensor) -> None:
        self.batch_size = _CUDA_BATCH if example.is_cuda else _CPU_BATCH
        self.stages: Stages = OrderedDict()
        features = example
        with torch.no_grad(), single_precision():
            for name, stage in stages.items():
                if isinstance(stage, Readout):
                    self.stages[name] = stage
                    continue
                self.stages[name] = in_channels_last(folded(stage, features))
                features = stage(features)

    def __call__(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Map images (B, C, S, S) to features (B, C', H, W) by stage; deeper stages do not run."""
        out: dict[str, Tensor] = {}
        features = images.contiguous(memory_format=torch.channels_last)
        with single_precision():
            for name, found in run_stages(self.stages, features, wanted=wanted):
                if name in wanted:
                    out[name] = found
                if len(out) == len(set(wanted)):
                    break
        return out


class StageExecutor:
    """Frozen stages on the fastest back end.

    Attributes:
        reason: Reason for the present back end; after a failed export, its failure.

    Args:
        stages: Stages of the backbone. They are frozen here, and set to eval mode permanently.
        example: A real batch of inputs, shape (B, C, S, S), on the device; exports are checked on it.
        cache: Folder of exported stages, shared by processes and searches; None keeps them in memory.
    """

    def __init__(self, stages: Stages, example: Tensor, *, cache: Path | None = None) -> None:
        self._plain: Stages = OrderedDict(
            (name, stage.eval().requires_grad_(False).to(example.device)) for name, stage in stages.items()
        )
        self._example = example
        self._folded = TorchStages(self._plain, example)
        self._runs: Runs = self._folded
        self._images = 0
        self._may_change = not example.is_cuda
        self._store = OnnxStore(cache, self._plain, tuple(example.shape[1:]))
        self.reason = "torch: nothing has run yet" if self._may_change else "torch: computes on CUDA"

    @property
    def name(self) -> str:
        """`torch` or `ONNX Runtime`."""
        return self._runs.name

    @property
    def batch_size(self) -> int:
        """Fastest measured batch size, in images."""
        return self._runs.batch_size

    def expect(self, images: int) -> None:
        """Announce work, so that stages are exported where that pays, or an earlier export is used.

        The decision counts images and arithmetic, not seconds, so that it is the same on every run.

        Args:
            images: Number of images that are about to run through the stages.
        """
        self._images += images
        if not self._may_change:
            return
        if not self._store.holds():
            work, needed = self._images * multiply_adds(self._plain, self._example), BREAK_EVEN
            if work < needed:
                self.reason = f"torch: {work / 1e9:.1f} of the {needed / 1e9:.0f} G multiply-adds that pay"
                return
        self._change()

    def __call__(self, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Run the stages as far as the deepest one wanted.

        Args:
            images: Images of the example's size, shape (B, C, S, S), on its device.
            wanted: Names of the stages whose output is wanted.

        Returns:
            Float32 features by stage, shape (B, C', H, W), on the same device.
        """
        with torch.inference_mode():
            return self._runs(images, wanted)

    def _change(self) -> None:
        self._may_change = False
        try:
            self._runs = self._store.open(self._folded.stages, self._example)
        except (PrefixError, OSError) as error:
            self.reason = f"torch: {error}"
        else:
            self.reason = f"{self.name}: compared with the stages on {len(self._example)} images"


def multiply_adds(stages: Stages, example: Tensor) -> float:
    """Count the multiplications, each with its addition, of one image through all stages.

    Args:
        stages: Stages in eval mode.
        example: Input, shape (B, C, S, S).

    >>> multiply_adds(OrderedDict(only=nn.Conv2d(1, 2, 3, padding=1)), torch.zeros(1, 1, 8, 8))
    1152.0
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        for _ in run_stages(stages, example[:1], wanted=()):
            pass
    return counter.get_total_flops() / 2
