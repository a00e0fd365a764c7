"""Nets from scratch whose structure is searched: blocks, convolutions, branches and residuals."""

import math
from typing import Any, Final

import optuna

from search_spaces.context import SpaceContext
from trainables.common.errors import ConfigError
from trainables.models.custom_cnn import FAMILY, structure_of
from trainables.models.taps import LARGEST_SHARED_MAP, feature_shapes

_DEEPEST: Final = 6


def model(trial: optuna.trial.BaseTrial, context: SpaceContext) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Suggest a free-form net that the images are large enough for; also return the poolings for its map."""
    parts: dict[str, Any] = {
        "convs": trial.suggest_int("scratch.convs", 1, 3),
        "filters": trial.suggest_categorical(
            "scratch.filters", (16, 32, 64) if context.has_gpu else (16, 32)
        ),
        "kernel": trial.suggest_categorical("scratch.kernel", (3, 5, 7)),
        "stride": trial.suggest_categorical("scratch.stride", (1, 2)),
        "pool": trial.suggest_categorical("scratch.pool", (2, 3)),
        "norm": trial.suggest_categorical("scratch.norm", (0, 1)),
        "dropout": trial.suggest_categorical("scratch.dropout", (0, 0.1, 0.25)),
    }
    parts["padding"] = "same"
    if _deepest({**parts, "padding": "valid"}, context.image_px):  # otherwise not even one block fits
        parts["padding"] = trial.suggest_categorical("scratch.padding", ("same", "valid"))
    if parts["padding"] == "same":
        parts["branch"] = trial.suggest_categorical("scratch.branch", (0, 1))
        parts["residual"] = trial.suggest_categorical("scratch.residual", (0, 1))
    deepest = _deepest(parts, context.image_px)
    parts["blocks"] = trial.suggest_int(f"scratch.blocks@{deepest}", 1, deepest)
    name = _name(parts)
    shapes = feature_shapes(name, context.image_channels, context.image_px)
    may_flatten = math.prod(shapes[f"block{parts['blocks']}"]) <= LARGEST_SHARED_MAP
    settings = {"model.backbone": name, "model.weights": "random", "model.trained_stages": "all"}
    return settings, ("gap", "flatten") if may_flatten else ("gap",)


def _deepest(parts: dict[str, Any], image_px: int) -> int:
    """Largest number of blocks that images of this size allow; 0 if they are too small for one."""
    for blocks in range(_DEEPEST, 0, -1):
        if (1 << blocks) * parts["stride"] > image_px:
            continue
        try:
            structure = structure_of(_name({**parts, "blocks": blocks}))
        except ConfigError:  # a net of this depth needs larger images
            continue
        if structure.min_size_px <= image_px:
            return blocks
    return 0


def _name(parts: dict[str, Any]) -> str:
    return f"{FAMILY}:{','.join(f'{name}={value}' for name, value in parts.items())}"
