"""Transform, symmetries and frozen stages that several finished trials share, and their feature outputs."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainables.common.errors import ConfigError
from trainables.models.readouts import Readout
from trainables.models.taps import Tap
from trainables.preprocessing.transforms import PixelTransform, TransformSpec
from trainables.preprocessing.views import apply_symmetry


class Pass(NamedTuple):
    """One pass of an example through a shared backbone: its image, or its baseline, in one view."""

    view: int
    is_baseline: bool


@dataclass(frozen=True, slots=True)
class FeatureOutput:
    """Features that a trial takes from a shared backbone.

    Attributes:
        tap: Tap after the last frozen stage; None for the transformed pixels.
        views: Symmetries of the square, 0 to 7, that predictions are averaged over.
        is_pair: True if the features of the baseline are taken too.
    """

    tap: Tap | None
    views: tuple[int, ...]
    is_pair: bool

    @property
    def passes(self) -> tuple[Pass, ...]:
        """Passes in order: view by view, the baseline before the image."""
        halves = (True, False) if self.is_pair else (False,)
        return tuple(Pass(view, half) for view in self.views for half in halves)


class SharedBackbone(nn.Module):
    """Transform, symmetries and frozen stages that several trials share.

    Args:
        transform: Transform from raw pixels to the first stage.
        stages: Frozen stages, in order, as far as the deepest outlet, and the readouts that outlets take.
        outputs: Feature outputs, in the order of the result.
    """

    def __init__(
        self,
        transform: TransformSpec,
        stages: "OrderedDict[str, nn.Module]",
        outputs: Sequence[FeatureOutput],
    ) -> None:
        super().__init__()
        self.transform = PixelTransform(transform)
        self.stages = nn.ModuleDict(stages).requires_grad_(False)
        self.outputs = tuple(outputs)
        self.eval()

    def forward(self, raw: Tensor, baseline: Tensor | None = None) -> list[Tensor]:
        """Map pixels to the features of each outlet.

        Args:
            raw: Raw pixels, shape (B, H, W) or (B, H, W, 3).
            baseline: Healthy baselines of the same shape; required if an outlet takes pairs.

        Returns:
            Features of each outlet, shape (views, B, ...), or (views, B, 2, ...) for pairs, baseline first.
        """
        images = self._transformed(raw, baseline)
        passes = union_of_passes(self.outputs)
        features = torch.stack(
            [apply_symmetry(images[image_pass.is_baseline], image_pass.view) for image_pass in passes]
        )
        found = {
            output: _select(features, passes, output.passes) for output in self.outputs if output.tap is None
        }
        waiting = [output for output in self.outputs if output.tap is not None]
        for name, stage in self.stages.items():
            # A view that no deeper outlet asks for goes no further, and neither does a baseline.
            own = [output for output in waiting if output.tap and output.tap.stage == name]
            needed = union_of_passes(own if isinstance(stage, Readout) else waiting)
            taken = _select(features, passes, needed)
            given = stage(taken.flatten(0, 1)).unflatten(0, (len(needed), raw.shape[0]))
            if not isinstance(stage, Readout):  # what a readout gives no later stage takes
                features, passes = given, needed
            for output in own:
                waiting.remove(output)
                seen = _select(given, needed, output.passes)
                found[output] = seen.mean(dim=(3, 4)) if output.tap and output.tap.is_pooled else seen
        return [_in_pairs(found[output]) if output.is_pair else found[output] for output in self.outputs]

    def _transformed(self, raw: Tensor, baseline: Tensor | None) -> Sequence[Tensor]:
        """Transformed images, and then transformed baselines where an outlet takes them."""
        if not any(output.is_pair for output in self.outputs):
            return [self.transform(raw)]
        if baseline is None:
            raise ConfigError("a trial compares images with healthy baselines; give `baseline` besides `raw`")
        both: Tensor = self.transform(torch.cat([raw, baseline]))
        return both.unflatten(0, (2, raw.shape[0])).unbind(0)


def union_of_passes(outputs: Sequence[FeatureOutput]) -> tuple[Pass, ...]:
    """Return the passes that any of the outputs asks for, in the order in which a stage holds them."""
    return tuple(sorted({image_pass for output in outputs for image_pass in output.passes}))


def _select(features: Tensor, passes: tuple[Pass, ...], wanted: tuple[Pass, ...]) -> Tensor:
    if passes == wanted:
        return features
    return torch.stack([features[passes.index(image_pass)] for image_pass in wanted])


def _in_pairs(features: Tensor) -> Tensor:
    """Map (2 views, B, ...), baselines and images in turn, to (views, B, 2, ...)."""
    return features.unflatten(0, (-1, 2)).movedim(1, 2)
