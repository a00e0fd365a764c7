"""Taps: points after a stage at which features are taken from a backbone, and their shapes there."""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch

from trainables.config.trial_config import TrialConfig
from trainables.models.readouts import run_stages
from trainables.models.registry import backbone_named
from trainables.models.stages import Backbone

Shape = tuple[int, int, int]
# Maps above this many numbers an image are stored only when a trial asks for them: they fill the disk, and a
# dense layer on them would have millions of weights.
LARGEST_SHARED_MAP: Final = 26_000


@dataclass(frozen=True, slots=True)
class Tap:
    """Point at which features are taken from the stages.

    Attributes:
        stage: Name of the last stage that is run, or of the readout behind it.
        is_pooled: True for features averaged over positions, (C,); False for the map, (C, H, W).
    """

    stage: str
    is_pooled: bool

    def __str__(self) -> str:
        return f"{self.stage}.{'gap' if self.is_pooled else 'map'}"


def feature_shapes(backbone: str, channels: int, size_px: int) -> dict[str, Shape]:
    """Shape (C, H, W) after each stage and readout, from the meta device, without weights and arithmetic."""
    return _shapes_of(backbone_named(backbone), channels, size_px)


@functools.lru_cache(maxsize=64)
def _shapes_of(net: Backbone, channels: int, size_px: int) -> dict[str, Shape]:
    with torch.device("meta"):
        stages = net.with_readouts(net.build(channels))
        images = torch.empty(1, channels, size_px, size_px)
    for stage in stages.values():
        stage.eval()
    shapes: dict[str, Shape] = {}
    for name, features in run_stages(stages, images):
        _, depth, height, width = features.shape
        shapes[name] = (depth, height, width)
    return shapes


def tap_of(config: TrialConfig, backbone: Backbone) -> Tap | None:
    """Tap at the end of a configuration's frozen prefix; None when it trains from pixels."""
    plan = backbone.plan(config.model)
    if not plan.is_prefix_fixed:
        return None
    is_pooled = not plan.trained and config.model.head.pooling == "gap"
    return Tap(plan.frozen[-1], is_pooled)


def frozen_parts(config: TrialConfig) -> tuple[TrialConfig, ...]:
    """Configurations of the frozen inputs of a trial, in the order in which a closed-form head sees them.

    A net has one, its own. A closed-form head sees plain images, without augmentation: its backbone's
    features first, and then the pooled ones of each further tap of `model.also`.

    >>> from trainables.config.trial_config import decode
    >>> config = decode({"model.backbone": "vgg16", "classical.name": "lda", "model.also": "vgg16/block4"})
    >>> [part.model.cut for part in frozen_parts(config)]
    ['top', 'block4']
    """
    if config.classical.name == "none":
        return (config,)
    plain = {"augmentation": "none", "average_views": False, "augment_last": None, "repeats": 1}
    training = config.training.model_copy(update=plain)
    models = [config.model.model_copy(update={"also": ()})]
    for tap in config.model.also:
        backbone, _, cut = tap.rpartition("/")
        head = config.model.head.model_copy(update={"pooling": "gap"})
        models.append(models[0].model_copy(update={"backbone": backbone, "cut": cut, "head": head}))
    return tuple(config.model_copy(update={"model": model, "training": training}) for model in models)


def taps_to_share(backbone: Backbone, shapes: dict[str, Shape], *, depths: Iterable[int]) -> tuple[Tap, ...]:
    """Taps that trials of a search may ask for, at every cut level.

    Args:
        backbone: Backbone from the registry.
        shapes: Shapes from `feature_shapes`.
        depths: Numbers of trained stages in the search space; 0 is the frozen backbone.
    """
    taps: list[Tap] = []
    for level in backbone.levels:
        kept = backbone.stage_names.index(level)
        maps = [backbone.stage_names[kept - depth] for depth in depths if depth <= kept]
        taps += [Tap(level, is_pooled=True)] + [Tap(stage, is_pooled=False) for stage in maps]
    taps += [Tap(readout, is_pooled=True) for readout in backbone.searched_readouts]
    return tuple(
        tap
        for tap in dict.fromkeys(taps)
        if tap.is_pooled or math.prod(shapes[tap.stage]) <= LARGEST_SHARED_MAP
    )
