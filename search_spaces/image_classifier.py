"""Search space of the image classifiers, in pieces that a user's own space may reuse.

A parameter's name is the setting it decides. Where its choices depend on another setting, the name ends in
`@` and that setting's value, since Optuna wants one distribution a name.

Two kinds of trials have different choices. A trial with a frozen prefix chooses the input of that prefix,
such as contrast or augmentation, among few presets: the features of each combination are computed once and
read by every later trial. A trial that trains from pixels pays for every pass anyway, so its whole input may
vary.
"""

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import optuna

from search_spaces import custom_cnn
from search_spaces.closed_form import choose, closed_form_head, needs_plain_images, size_of_closed
from search_spaces.context import SpaceContext
from search_spaces.fine_tuning import fine_tuning
from trainables.models.custom_cnn import FAMILY as CUSTOM_CNN
from trainables.models.registry import backbone_named
from trainables.models.taps import feature_shapes

Settings = dict[str, Any]
Ranges = Mapping[str, tuple[float, float]]

HIDDEN_LAYERS: Final = ("none", "64", "64-64", "96", "128", "128-128", "256", "512", "512-256", "1024-512")
WEIGHTS_OF_POSITIVES: Final = (1.3, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
CONTRASTS: Final = (1.0, 1.5, 2.0)
LEARNING_RATES: Final = {
    "adam": (3e-5, 1e-2),
    "rmsprop": (3e-5, 1e-2),
    "sgd": (1e-3, 3e-1),
    "adadelta": (0.05, 2.0),
}
_PIXEL_CONTRASTS: Final = (1.0, 1.1, 1.25, 1.5, 1.8, 2.0)
_SIZES: Final = (75, 139, 150, 224, 299)
_PIXEL_AUGMENTATIONS: Final = (
    *("none", "flips", "d4", "rotate", "affine"),
    *("e001", "e001_scratch", "e002", "e003", "e004", "e004_rot90"),
)


def image_classifier(trial: optuna.trial.BaseTrial, context: SpaceContext) -> Settings:
    """Suggest all settings of a patch classifier: model, input, optimiser and training."""
    backbone = trial.suggest_categorical("model.backbone", context.choices)
    build = custom_cnn.model if backbone == CUSTOM_CNN else functools.partial(model, backbone=backbone)
    settings, poolings = build(trial, context)
    is_from_scratch = settings["model.weights"] == "random"
    trains_stages = settings.get("model.trained_stages", 0) != 0
    is_from_pixels = is_from_scratch or settings.get("model.channels") == "conv1x1"
    is_plain_only = backbone in context.plain_only
    beside = {} if is_plain_only else pair_and_type(trial, context)
    is_plain = all(beside.get(name, "none") == "none" for name in ("model.pair", "model.type_input"))
    if is_plain and not trains_stages and not is_from_pixels:
        closed = closed_form_head(trial, context, backbone, settings["model.cut"], poolings)
        if closed:
            shown = {} if needs_plain_images(context, backbone, closed) else frozen_input(trial)
            sized = size_of_closed(trial, context, backbone, closed)
            return {**settings, **beside, **shown, **sized, **unit(trial, context), **closed}
    own_head = head(trial, backbone, poolings)
    rates = {} if trains_stages or is_from_pixels else rates_of_head(context, own_head)
    return {
        **settings,
        **unit(trial, context),
        **own_head,
        **beside,
        **(pixels(trial, context, backbone) if is_from_scratch else frozen_input(trial)),
        **optimizer(trial, trains_stages=trains_stages, is_from_scratch=is_from_scratch, rates=rates),
        **training(trial, context, is_from_pixels=is_from_pixels, averages=not is_from_scratch),
        **first_phase(trial, context, trains_stages=trains_stages, is_from_scratch=is_from_scratch),
        **({} if is_from_scratch else feature_augmentation(trial)),
        **fine_tuning(trial, context, settings),
    }


def unit(trial: optuna.trial.BaseTrial, context: SpaceContext) -> Settings:
    """Suggest how the predictions of a unit's images are combined; nothing for single images."""
    if not context.combines:
        return {}
    return {"unit.combine": trial.suggest_categorical("unit.combine", context.combines)}


def model(
    trial: optuna.trial.BaseTrial, context: SpaceContext, *, backbone: str
) -> tuple[Settings, tuple[str, ...]]:
    """Suggest cut level, training depth and channel mapping of a backbone; also return its poolings."""
    settings: Settings = {"model.backbone": backbone, "model.weights": "imagenet"}
    cuts = (*context.levels[backbone], *context.readout_cuts.get(backbone, ()))
    settings["model.cut"] = choose(trial, "model.cut", cuts, backbone)
    if backbone in context.from_scratch:
        settings |= {"model.weights": "random", "model.trained_stages": "all"}
    elif settings["model.cut"] in context.fine_tunes[backbone]:
        settings["model.trained_stages"] = choose(trial, "model.trained_stages", context.depths, backbone)
    if backbone in context.adapts_channels:
        settings["model.channels"] = choose(trial, "model.channels", ("replicate", "conv1x1"), backbone)
    if settings["model.cut"] not in context.flattens[backbone]:
        return settings, ("gap",)
    convolves = context.has_gpu and _map_side(context, backbone, settings["model.cut"]) > 1
    return settings, ("gap", "flatten", "conv") if convolves else ("gap", "flatten")


def head(trial: optuna.trial.BaseTrial, backbone: str, poolings: tuple[str, ...]) -> Settings:
    """Suggest the head: pooling, hidden layers, dropout, normalisation, and sigmoid or softmax output."""
    settings: Settings = {"model.head.pooling": "gap"}
    if len(poolings) > 1:
        of = f"{backbone}+conv" if "conv" in poolings else backbone
        settings["model.head.pooling"] = choose(trial, "model.head.pooling", poolings, of)
    settings["model.head.hidden"] = trial.suggest_categorical("model.head.hidden", HIDDEN_LAYERS)
    settings["model.head.dropout"] = trial.suggest_categorical(
        "model.head.dropout", (0.0, 0.2, 0.4, 0.5, 0.7)
    )
    settings["model.head.batch_norm"] = trial.suggest_categorical("model.head.batch_norm", (False, True))
    settings["model.head.output"] = trial.suggest_categorical("model.head.output", ("sigmoid", "softmax"))
    return settings


def pair_and_type(trial: optuna.trial.BaseTrial, context: SpaceContext) -> Settings:
    """Suggest comparison with the healthy baseline and the type input of the head, if the data have them."""
    settings: Settings = {}
    if context.has_pairs:
        pair = trial.suggest_categorical("model.pair", ("none", "absdiff", "diff", "concat"))
        settings["model.pair"] = pair
        if pair != "none":
            settings["model.head.branch"] = trial.suggest_categorical("model.head.branch", ("none", "512"))
    if len(context.types) > 1:
        settings["model.type_input"] = trial.suggest_categorical("model.type_input", context.types)
    return settings


def frozen_input(trial: optuna.trial.BaseTrial) -> Settings:
    """Suggest contrast presets, few so that stored features are reused; `same` treats test images alike."""
    return {
        "input.contrast": trial.suggest_categorical("input.contrast", CONTRASTS),
        "input.contrast_test": trial.suggest_categorical("input.contrast_test", ("same", 1.0, 1.5)),
    }


def pixels(trial: optuna.trial.BaseTrial, context: SpaceContext, backbone: str) -> Settings:
    """Suggest all input settings of a net that trains from pixels."""
    contrast = trial.suggest_categorical("input.contrast@pixels", _PIXEL_CONTRASTS)
    settings: Settings = {
        "input.scaling": trial.suggest_categorical(
            "input.scaling", ("unit", "raw", "centred", "centred_scaled", "imagenet", "standardise")
        ),
        "input.clahe": trial.suggest_categorical("input.clahe", ("none", 2.0, 4.0)),
        "input.contrast": contrast,
        "input.contrast_test": trial.suggest_categorical(
            "input.contrast_test@pixels", ("same", 1.0, 1.5, 1.8)
        ),
    }
    sizes = input_sizes(context, backbone)
    if sizes:
        settings["input.size_px"] = choose(trial, "input.size_px", (None, *sizes), backbone)
    if settings["input.clahe"] != "none":
        settings["input.clahe_grid"] = trial.suggest_categorical("input.clahe_grid", (4, 8))
    if contrast != 1.0:
        settings["input.clip"] = trial.suggest_categorical("input.clip", (False, True))
    return settings


def input_sizes(context: SpaceContext, backbone: str) -> tuple[int, ...]:
    """Return the sides in pixels to resize to, besides the images' own: not below a backbone's smallest.

    Without a GPU images are not enlarged, which would cost time and add nothing. A free-form net is built for
    the images' own size.
    """
    if backbone == CUSTOM_CNN:
        return ()
    smallest = backbone_named(backbone).min_size_px
    largest = max(_SIZES) if context.has_gpu else context.image_px - 1
    return tuple(size for size in _SIZES if smallest <= size <= largest)


def tied_rate(optimizer_name: str, hidden: Any) -> str:
    """Return the parameter of the learning rate of a head on frozen features, by optimiser and head.

    A head with hidden layers wants another rate than a linear one.

    >>> tied_rate("adam", "none"), tied_rate("sgd", "256")
    ('optimizer.lr@adam+linear', 'optimizer.lr@sgd+hidden')
    """
    return f"optimizer.lr@{optimizer_name}+{'linear' if hidden == 'none' else 'hidden'}"


def rates_of_head(context: SpaceContext, own_head: Settings) -> dict[str, tuple[str, tuple[float, float]]]:
    """Return optimiser -> parameter and range of its learning rate, for a head on frozen features.

    Args:
        context: Facts of the search; empty without learned ranges, as in searches of earlier versions.
        own_head: Settings of the head.
    """
    names = {name: tied_rate(name, own_head["model.head.hidden"]) for name in LEARNING_RATES}
    return {name: (tied, context.ranges[tied]) for name, tied in names.items() if tied in context.ranges}


def optimizer(
    trial: optuna.trial.BaseTrial,
    *,
    trains_stages: bool,
    is_from_scratch: bool,
    rates: Mapping[str, tuple[str, tuple[float, float]]] = MappingProxyType({}),
) -> Settings:
    """Suggest an optimiser and its own settings.

    Each has its own learning-rate range, only SGD has momentum, and trained pretrained stages get a smaller
    rate.

    Args:
        trial: Trial that suggests.
        trains_stages: Stages of a net train, too.
        is_from_scratch: They train from random weights.
        rates: Optimiser -> parameter and range of its learning rate, where they depend on the head.
    """
    name = trial.suggest_categorical("optimizer.name", ("adam", "rmsprop", "sgd", "adadelta"))
    rate, (low, high) = rates.get(name, (f"optimizer.lr@{name}", LEARNING_RATES[name]))
    schedule = trial.suggest_categorical("optimizer.schedule", ("constant", "step", "cosine", "plateau"))
    settings: Settings = {
        "optimizer.name": name,
        "optimizer.lr": trial.suggest_float(rate, low, high, log=True),
        "optimizer.weight_decay": trial.suggest_categorical(
            "optimizer.weight_decay", (0.0, 1e-5, 1e-4, 1e-3, 2.5e-3, 1e-2)
        ),
        "optimizer.l1": trial.suggest_categorical("optimizer.l1", (0.0, 1e-5)),
        "optimizer.schedule": schedule,
    }
    if schedule in ("step", "plateau"):
        settings["optimizer.step_epochs"] = trial.suggest_categorical("optimizer.step_epochs", (3, 5, 10))
    if trains_stages:
        settings["optimizer.stage_weight_decay"] = trial.suggest_categorical(
            "optimizer.stage_weight_decay", (0.0, 1e-5, 1e-4)
        )
    if trains_stages and not is_from_scratch:
        settings["optimizer.stage_lr_factor"] = trial.suggest_float(
            "optimizer.stage_lr_factor", 1e-3, 1.0, log=True
        )
    if name == "sgd":
        settings["optimizer.momentum"] = trial.suggest_float("optimizer.momentum", 0.0, 0.95)
    return settings


def training(
    trial: optuna.trial.BaseTrial, context: SpaceContext, *, is_from_pixels: bool, averages: bool
) -> Settings:
    """Suggest batch size, augmentation, balance of the classes, and averaging over views."""
    sampling = trial.suggest_categorical("training.sampling", ("none", "over", "under"))
    settings: Settings = {
        "training.epochs": context.epochs,
        "training.batch_size": trial.suggest_categorical("training.batch_size", (16, 25, 32, 50, 64, 100)),
        "training.augmentation": choose(trial, "training.augmentation", _PIXEL_AUGMENTATIONS, "pixels")
        if is_from_pixels
        else trial.suggest_categorical("training.augmentation", context.augmentations),
        "training.sampling": sampling,
        "training.average_views": False,
    }
    if sampling == "none":
        settings["training.class_weight"] = trial.suggest_categorical(
            "training.class_weight", ("none", "balanced", "other_share", *WEIGHTS_OF_POSITIVES)
        )
    if averages and settings["training.augmentation"] in ("flips", "d4", "rotate"):
        settings["training.average_views"] = trial.suggest_categorical(
            "training.average_views", (True, False)
        )
    return settings


def first_phase(
    trial: optuna.trial.BaseTrial, context: SpaceContext, *, trains_stages: bool, is_from_scratch: bool
) -> Settings:
    """Suggest a first training phase: the head before pretrained stages, or another task before this one."""
    if not trains_stages:
        return {}
    phases = context.phases if is_from_scratch else ("head",)
    kind = "scratch" if is_from_scratch else "pretrained"
    phase = choose(trial, "training.first_phase", ("none", *phases), kind)
    settings: Settings = {"training.first_phase": phase}
    if phase != "none":
        settings["training.first_phase_epochs"] = trial.suggest_categorical(
            "training.first_phase_epochs", tuple(min(epochs, context.epochs) for epochs in (5, 10, 15, 20))
        )
    if phase not in ("none", "head"):
        settings["training.first_phase_freezes"] = trial.suggest_categorical(
            "training.first_phase_freezes", (False, True)
        )
    return settings


def feature_augmentation(trial: optuna.trial.BaseTrial) -> Settings:
    """Suggest augmentation of stored features, whose views are few; nets from pixels get new views anyway."""
    return {
        "training.feature_noise": trial.suggest_categorical("training.feature_noise", (0.0, 0.1, 0.3)),
        "training.feature_dropout": trial.suggest_categorical("training.feature_dropout", (0.0, 0.2)),
        "training.mixup": trial.suggest_categorical("training.mixup", (0.0, 0.2)),
    }


def _map_side(context: SpaceContext, backbone: str, cut: str) -> int:
    """Side of a pretrained backbone's map at a cut; 0 for nets from custom_cnn, whose input size is open."""
    if backbone in context.from_scratch:
        return 0
    net = backbone_named(backbone)
    shapes = feature_shapes(backbone, net.channels or context.image_channels, context.sizes_px[backbone])
    return min(shapes[net.stage_names[net.cut_index(cut) - 1]][1:])
