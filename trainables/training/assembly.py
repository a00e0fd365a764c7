"""Construction of the trained part of a trial: adapter, stages and head."""

from collections import OrderedDict

import torch
from torch import nn

from trainables.common.errors import ConfigError
from trainables.config.trial_config import TrialConfig
from trainables.data.training_data import TrainingData
from trainables.models.drop_path import drop_branches
from trainables.models.heads import build_head
from trainables.models.registry import backbone_named
from trainables.models.stages import ChannelAdapter, StagePlan, TrainedPart
from trainables.models.weights import WeightsFile, build_stages
from trainables.runtime.trial_runtime import TrialRuntime


def build_part(
    config: TrialConfig,
    shape: tuple[int, ...],
    runtime: TrialRuntime,
    training_data: TrainingData,
    *,
    classes: int,
) -> TrainedPart:
    """Build the trained part of a trial, for features of one example of the given shape."""
    backbone = backbone_named(config.model.backbone)
    image_channels = 3 if training_data.patch_set.images.ndim == 4 else 1
    return assemble_part(
        config,
        shape,
        weights=runtime.weights[backbone.name] if backbone.has_imagenet_weights else None,
        image_channels=image_channels,
        classes=classes,
    )


def assemble_part(
    config: TrialConfig,
    shape: tuple[int, ...],
    *,
    weights: WeightsFile | None,
    image_channels: int,
    classes: int,
    built: "OrderedDict[str, nn.Module] | None" = None,
) -> TrainedPart:
    """Build adapter, stages and head of a configuration.

    Args:
        config: The trial.
        shape: Shape of one input example: features (D,) or (C, H, W), preceded by 2 for pairs.
        weights: Pretrained file, or None for random weights.
        image_channels: Channels of the images, 1 or 3.
        classes: Number of classes.
        built: All stages of the backbone, to be taken as they are; None builds them.

    Raises:
        ConfigError: If residual branches are to be dropped, and the trained stages have none.
    """
    backbone = backbone_named(config.model.backbone)
    plan = backbone.plan(config.model)
    if config.model.weights == "random":
        weights = None
    needs_stages = bool(plan.trained) or not plan.is_prefix_fixed
    channels = backbone.channels or image_channels
    stages: OrderedDict[str, nn.Module] = built or OrderedDict()
    if needs_stages and built is None:
        stages = build_stages(backbone, channels=channels, weights=weights)
    if stages and backbone.readouts:
        stages = backbone.with_readouts(stages, {*plan.frozen, *plan.trained})
    if plan.trained and config.fine_tuning.drop_path:
        _drop_branches(stages, plan, config)
    frozen = nn.Sequential()
    if not plan.is_prefix_fixed:
        frozen = nn.Sequential(OrderedDict((name, stages[name]) for name in plan.frozen))
    trained = nn.Sequential(OrderedDict((name, stages[name]) for name in plan.trained))
    adapter = ChannelAdapter(backbone.mean, backbone.std) if config.model.channels == "conv1x1" else None
    body = nn.Sequential(*([adapter] if adapter else []), frozen, trained)
    is_pair = config.model.pair != "none"
    with torch.inference_mode():
        example = torch.zeros(1, *(shape[1:] if is_pair else shape))
        seen = tuple(body.eval()(example).shape[1:])  # statistics of batch norm stay as they are
    body.train()
    part = TrainedPart(adapter, frozen, trained, build_head(config.model, seen, classes=classes))
    part.is_pair = is_pair
    part.is_checkpointed = config.fine_tuning.checkpointing and bool(plan.trained or not plan.is_prefix_fixed)
    part.keeps_batch_statistics = config.model.weights != "random" and backbone.has_imagenet_weights
    part.keeps_frozen = config.model.weights == "start"
    if config.training.first_phase_freezes and config.training.first_phase not in ("none", "head"):
        part.rest_stages()
    return part


def _drop_branches(stages: "OrderedDict[str, nn.Module]", plan: StagePlan, config: TrialConfig) -> None:
    kept = OrderedDict((name, stages[name]) for name in (*plan.frozen, *plan.trained))
    if not drop_branches(kept, plan.trained, config.fine_tuning.drop_path):
        raise ConfigError(
            f"fine_tuning.drop_path={config.fine_tuning.drop_path:g}, but the trained stages of "
            f"{config.model.backbone} ({', '.join(plan.trained)}) have no residual branches that can be "
            "dropped; set fine_tuning.drop_path=0, or train more stages of a network of timm"
        )
