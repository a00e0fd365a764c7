"""Pieces that the spaces of several tasks share.

A parameter's name is the setting it decides. Where its choices depend on the backbone, the name ends in
`@backbone`, since Optuna wants one distribution a name.
"""

from typing import Any

import optuna

from search_spaces.context import SpaceContext

Settings = dict[str, Any]

HIDDEN_LAYERS = ("none", "64", "96", "128", "256", "512", "512-256")
CLASS_WEIGHTS = ("none", "balanced", "other_share", 1.3, 2.0)
CONTRASTS = (1.0, 1.5, 2.0)
LEARNING_RATES = {"adam": (5e-5, 1e-2), "rmsprop": (1e-5, 1e-2), "sgd": (1e-3, 3e-1), "adadelta": (0.05, 2.0)}


def classifier(trial: optuna.trial.BaseTrial, context: SpaceContext) -> Settings:
    """The whole space of a patch classifier: model, input, optimiser and training."""
    backbone = trial.suggest_categorical("model.backbone", context.backbones)
    is_from_scratch = backbone in context.from_scratch
    settings = model(trial, context, backbone, is_from_scratch=is_from_scratch)
    is_fine_tuned = not is_from_scratch and settings.get("model.trained_stages", 0) != 0
    return {
        **settings,
        **contrast(trial),
        **optimizer(trial, is_fine_tuned=is_fine_tuned),
        **training(trial, context, averages=not is_from_scratch),
        **feature_augmentation(trial, is_from_scratch=is_from_scratch),
    }


def model(
    trial: optuna.trial.BaseTrial, context: SpaceContext, backbone: str, *, is_from_scratch: bool
) -> Settings:
    """Backbone, cut level, training depth, channel mapping, head."""
    settings: Settings = {"model.backbone": backbone}
    settings["model.cut"] = _choose(trial, "model.cut", context.levels[backbone], backbone)
    if is_from_scratch:
        settings |= {"model.weights": "random", "model.trained_stages": "all"}
    elif settings["model.cut"] in context.fine_tunes[backbone]:
        settings["model.trained_stages"] = _choose(trial, "model.trained_stages", (0, 1), backbone)
    if backbone in context.adapts_channels:
        settings["model.channels"] = _choose(trial, "model.channels", ("replicate", "conv1x1"), backbone)
    may_flatten = settings["model.cut"] in context.flattens[backbone]
    settings["model.head.pooling"] = (
        _choose(trial, "model.head.pooling", ("gap", "flatten"), backbone) if may_flatten else "gap"
    )
    settings["model.head.hidden"] = trial.suggest_categorical("model.head.hidden", HIDDEN_LAYERS)
    settings["model.head.dropout"] = trial.suggest_categorical(
        "model.head.dropout", (0.0, 0.2, 0.4, 0.5, 0.7)
    )
    settings["model.head.batch_norm"] = trial.suggest_categorical("model.head.batch_norm", (False, True))
    return settings


def contrast(trial: optuna.trial.BaseTrial) -> Settings:
    """Contrast presets, so that stored features repeat; `same` leaves test images as training images are."""
    return {
        "input.contrast": trial.suggest_categorical("input.contrast", CONTRASTS),
        "input.contrast_test": trial.suggest_categorical("input.contrast_test", ("same", 1.0, 1.5)),
    }


def optimizer(trial: optuna.trial.BaseTrial, *, is_fine_tuned: bool) -> Settings:
    """Optimiser with the settings that it has.

    A learning-rate range for each, momentum for SGD only, a smaller rate for pretrained stages that train.
    """
    name = trial.suggest_categorical("optimizer.name", ("adam", "rmsprop", "sgd", "adadelta"))
    low, high = LEARNING_RATES[name]
    settings: Settings = {
        "optimizer.name": name,
        "optimizer.lr": trial.suggest_float(f"optimizer.lr@{name}", low, high, log=True),
        "optimizer.weight_decay": trial.suggest_categorical(
            "optimizer.weight_decay", (0.0, 1e-5, 1e-4, 1e-3, 1e-2)
        ),
        "optimizer.schedule": trial.suggest_categorical("optimizer.schedule", ("constant", "step", "cosine")),
    }
    if is_fine_tuned:
        settings["optimizer.stage_lr_factor"] = trial.suggest_categorical(
            "optimizer.stage_lr_factor", (0.01, 0.1, 1.0)
        )
    if name == "sgd":
        settings["optimizer.momentum"] = trial.suggest_float("optimizer.momentum", 0.0, 0.95)
    return settings


def training(trial: optuna.trial.BaseTrial, context: SpaceContext, *, averages: bool) -> Settings:
    """Batch, augmentation, class weight, averaging over views."""
    settings: Settings = {
        "training.epochs": context.epochs,
        "training.batch_size": trial.suggest_categorical("training.batch_size", (16, 32, 64, 128)),
        "training.augmentation": trial.suggest_categorical("training.augmentation", context.augmentations),
        "training.class_weight": trial.suggest_categorical("training.class_weight", CLASS_WEIGHTS),
        "training.average_views": False,
    }
    if averages and settings["training.augmentation"] in ("flips", "d4", "rotate"):
        settings["training.average_views"] = trial.suggest_categorical(
            "training.average_views", (True, False)
        )
    return settings


def feature_augmentation(trial: optuna.trial.BaseTrial, *, is_from_scratch: bool) -> Settings:
    """Augmentation of stored features, whose views are few; a net that trains from pixels sees fresh ones."""
    if is_from_scratch:
        return {}
    return {
        "training.feature_noise": trial.suggest_categorical("training.feature_noise", (0.0, 0.1, 0.3)),
        "training.feature_dropout": trial.suggest_categorical("training.feature_dropout", (0.0, 0.2)),
        "training.mixup": trial.suggest_categorical("training.mixup", (0.0, 0.2)),
    }


def _choose(trial: optuna.trial.BaseTrial, name: str, choices: tuple[Any, ...], backbone: str) -> Any:
    return trial.suggest_categorical(f"{name}@{backbone}", choices)
