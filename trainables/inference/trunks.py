"""Transform, symmetries and frozen stages that several finished trials share, and their feature outputs."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainables.common.errors import ConfigError
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
    def lanes(self) -> tuple[Pass, ...]:
        """Passes in order: view by view, the baseline before the image."""
        halves = (True, False) if self.is_pair else (False,)
        return tuple(Pass(view, half) for view in self.views for half in halves)


class SharedBackbone(nn.Module):
    """Transform, symmetries and frozen stages that several trials share.

    Args:
        transform: Transform from raw pixels to the first stage.
        stages: Frozen stages, in order, as far as the deepest outlet.
        outlets: Feature outputs, in the order of the result.
    """

    def __init__(
        self,
        transform: TransformSpec,
        stages: "OrderedDict[str, nn.Module]",
        outlets: Sequence[FeatureOutput],
    ) -> None:
        super().__init__()
        self.transform = PixelTransform(transform)
        self.stages = nn.ModuleDict(stages).requires_grad_(False)
        self.outlets = tuple(outlets)
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
        lanes = _union(self.outlets)
        features = torch.stack([apply_symmetry(images[lane.is_baseline], lane.view) for lane in lanes])
        found = {
            outlet: _select(features, lanes, outlet.lanes) for outlet in self.outlets if outlet.tap is None
        }
        waiting = [outlet for outlet in self.outlets if outlet.tap is not None]
        for name, stage in self.stages.items():
            # A view that no deeper outlet asks for goes no further, and neither does a baseline.
            needed = _union(waiting)
            features, lanes = _select(features, lanes, needed), needed
            features = stage(features.flatten(0, 1)).unflatten(0, (len(lanes), raw.shape[0]))
            for outlet in [outlet for outlet in waiting if outlet.tap and outlet.tap.stage == name]:
                waiting.remove(outlet)
                seen = _select(features, lanes, outlet.lanes)
                found[outlet] = seen.mean(dim=(3, 4)) if outlet.tap and outlet.tap.is_pooled else seen
        return [_in_pairs(found[outlet]) if outlet.is_pair else found[outlet] for outlet in self.outlets]

    def _transformed(self, raw: Tensor, baseline: Tensor | None) -> Sequence[Tensor]:
        """Transformed images, and then transformed baselines where an outlet takes them."""
        if not any(outlet.is_pair for outlet in self.outlets):
            return [self.transform(raw)]
        if baseline is None:
            raise ConfigError("a trial compares images with healthy baselines; give `baseline` besides `raw`")
        both: Tensor = self.transform(torch.cat([raw, baseline]))
        return both.unflatten(0, (2, raw.shape[0])).unbind(0)


def _union(outlets: Sequence[FeatureOutput]) -> tuple[Pass, ...]:
    return tuple(sorted({lane for outlet in outlets for lane in outlet.lanes}))


def _select(features: Tensor, lanes: tuple[Pass, ...], wanted: tuple[Pass, ...]) -> Tensor:
    if lanes == wanted:
        return features
    return torch.stack([features[lanes.index(lane)] for lane in wanted])


def _in_pairs(features: Tensor) -> Tensor:
    """Map (2 views, B, ...), baselines and images in turn, to (views, B, 2, ...)."""
    return features.unflatten(0, (-1, 2)).movedim(1, 2)
