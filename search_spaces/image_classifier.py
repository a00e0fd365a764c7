"""Search space of the image classifiers, in pieces that a user's own space may reuse.

A parameter's name is the setting it decides. Where its choices depend on another setting, the name ends in
`@` and that setting's value, since Optuna wants one distribution a name.

Two kinds of trials have different choices. A trial with a frozen prefix chooses the input of that prefix,
such as contrast or augmentation, among few presets: the features of each combination are computed once and
read by every later trial. A trial that trains from pixels pays for every pass anyway, so its whole input may
vary.
"""

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import optuna

from search_spaces import custom_cnn
from search_spaces.context import SpaceContext
from search_spaces.fine_tuning import fine_tuning
from trainables.config.unit_config import ATTENTION
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
# Closed-form heads of a search. The others are on request: ridge, linear machines and logistic regression
# differ little, a support vector machine is a kernel's logistic regression without probabilities of its own.
HEADS: Final = ("logistic", "lda", "kernel_logistic", "boosting")
WIDE_HEADS: Final = ("logistic", "lda", "ridge", "linear_svm")  # cost the rows, not the columns
STRENGTHS: Final = {
    "logistic": (1e-4, 1e2),
    "ridge": (1e-5, 1e1),
    "linear_svm": (1e-5, 1e1),
    "svm": (1e-2, 1e2),
    "kernel_logistic": (1e-2, 1e3),
}
GAMMAS: Final = (0.1, 10.0)
COMPONENTS: Final = (0, 16, 32, 64, 128)
# Settings of any closed-form trial, for its record: one epoch on unchanged images.
ONCE: Final = {"training.epochs": 1, "training.augmentation": "none", "training.average_views": False}
_PIXEL_CONTRASTS: Final = (1.0, 1.1, 1.25, 1.5, 1.8, 2.0)
_SIZES: Final = (75, 139, 150, 224, 299)
_PIXEL_AUGMENTATIONS: Final = (
    *("none", "flips", "d4", "rotate", "affine"),
    *("e001", "e001_scratch", "e002", "e003", "e004", "e004_rot90"),
)


def image_classifier(trial: optuna.trial.BaseTrial, context: SpaceContext) -> Settings:
    """Suggest all settings of a patch classifier: model, input, optimiser and training."""
    backbone = trial.suggest_categorical("model.backbone", context.choices)
    choose = custom_cnn.model if backbone == CUSTOM_CNN else functools.partial(model, backbone=backbone)
    settings, poolings = choose(trial, context)
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


def closed_form_head(
    trial: optuna.trial.BaseTrial,
    context: SpaceContext,
    backbone: str,
    cut: str,
    poolings: tuple[str, ...],
) -> Settings:
    """Suggest a closed-form head, its own settings, and further taps; empty for a trained head.

    Statistics without weights have closed-form heads only, so they are among the trials that cost a second,
    and so have nets that are too slow for more than plain images.
    """
    if not context.heads:
        return {}
    is_fixed = backbone_named(backbone).is_fixed
    if is_fixed or backbone in context.plain_only:
        choices, of = context.heads, "statistics" if is_fixed else "plain"
    else:
        choices, of = ("none", *context.heads), "frozen"
    name = _choose(trial, "classical.name", choices, of)
    if name == "none":
        return {}
    settings: Settings = {"classical.name": name, "classical.standardize": True, **ONCE}
    if name == ATTENTION:
        settings["unit.combine"] = ATTENTION
    settings["model.also"] = _choose(
        trial, "model.also", further_taps(context, backbone, cut), f"{backbone}+{cut}"
    )
    if "flatten" in poolings and not is_fixed and name in WIDE_HEADS:
        settings["model.head.pooling"] = _choose(
            trial, "model.head.pooling", ("gap", "flatten"), f"{backbone}+closed"
        )
    settings["training.class_weight"] = _choose(
        trial, "training.class_weight", ("none", "balanced"), "closed"
    )
    return settings | closed_form_settings(trial, name, context.ranges)


def needs_plain_images(context: SpaceContext, backbone: str, closed: Settings) -> bool:
    """Tell whether a closed-form head reads a net that is too slow for more than plain images.

    Args:
        context: Facts of the search.
        backbone: Backbone of the first tap.
        closed: Settings of the head, with its further taps as text.
    """
    return bool({*nets_of(backbone, closed["model.also"])} & context.plain_only)


def nets_of(backbone: str, also: str) -> tuple[str, ...]:
    """Return the backbones of a closed-form head, each once: that of its first tap, and of its further ones.

    >>> nets_of("vgg16", "vgg16/top+1,texture/top"), nets_of("vgg16", "none")
    (('vgg16', 'texture'), ('vgg16',))
    """
    further = () if also == "none" else also.split(",")
    return tuple(dict.fromkeys((backbone, *(tap.partition("/")[0] for tap in further))))


def size_of_closed(
    trial: optuna.trial.BaseTrial, context: SpaceContext, backbone: str, closed: Settings
) -> Settings:
    """Suggest the side of the images for a closed-form head, among those that fit all its nets."""
    nets = nets_of(backbone, closed["model.also"])
    sizes = shared_sizes(context, nets)
    if not sizes:
        return {}
    return {
        "input.size_px": _choose(trial, "input.size_px", (None, *sizes), f"{'+'.join(sorted(nets))}+closed")
    }


def shared_sizes(context: SpaceContext, nets: Sequence[str]) -> tuple[int, ...]:
    """Return the sides other than the usual ones that fit all pretrained nets of a closed-form head.

    Args:
        context: Facts of the search.
        nets: Backbones of the head; statistics take images of any size.
    """
    learned = [name for name in nets if not backbone_named(name).is_fixed]
    sizes = [set(context.further_sizes.get(name, ())) for name in learned]
    return tuple(sorted(set.intersection(*sizes))) if sizes else ()


def closed_form_settings(
    trial: optuna.trial.BaseTrial, name: str, ranges: Ranges = MappingProxyType({})
) -> Settings:
    """Suggest the settings of a closed-form head on many features.

    Args:
        trial: Trial that suggests.
        name: Name of the head.
        ranges: Parameter -> range that was learned, in place of the space's own.
    """
    components = COMPONENTS if name in WIDE_HEADS else COMPONENTS[1:]
    settings: Settings = {"classical.pca": _choose(trial, "classical.pca", components, name)}
    if name in STRENGTHS:
        low, high = ranges.get(f"classical.c@{name}", STRENGTHS[name])
        settings["classical.c"] = trial.suggest_float(f"classical.c@{name}", low, high, log=True)
    if name in ("svm", "kernel_logistic"):
        low, high = ranges.get("classical.gamma", GAMMAS)
        settings["classical.gamma"] = trial.suggest_float("classical.gamma", low, high, log=True)
    if name == "lda":
        settings["classical.shrinkage"] = trial.suggest_categorical(
            "classical.shrinkage", ("auto", 0.3, 0.6, 0.9, 0.97)
        )
    if name == ATTENTION:
        settings["classical.l2"] = trial.suggest_float("classical.l2@attention", 1e-4, 1e-1, log=True)
        settings["classical.lr"] = trial.suggest_float("classical.lr@attention", 1e-3, 3e-2, log=True)
    if name == "boosting":
        settings["classical.depth"] = trial.suggest_categorical("classical.depth@boosting", (1, 2, 3, 5))
        settings["classical.trees"] = trial.suggest_categorical("classical.trees", (30, 60, 100))
    return settings


def further_taps(context: SpaceContext, backbone: str, cut: str) -> tuple[str, ...]:
    """Return the choices of further taps, as text, each a list of taps.

    They are: none, the backbone's other levels, the deepest level of each other net, all levels of all nets,
    the statistics, and the deepest levels with the backbone's own and the statistics.
    """
    own = [f"{backbone}/{level}" for level in context.levels[backbone] if level != cut]
    usable = [name for name in context.backbones if name not in (*context.from_scratch, backbone)]
    nets = [name for name in usable if not backbone_named(name).is_fixed]
    statistics = [f"{name}/top" for name in usable if backbone_named(name).is_fixed]
    if backbone_named(backbone).is_fixed:
        nets = []  # or a search would have no trials on statistics alone
    deepest = [f"{name}/top" for name in nets]
    everywhere = [f"{name}/{level}" for name in nets for level in context.levels[name]]
    mixed = [*own, *deepest, *statistics]
    found = (",".join(taps) for taps in (own, deepest, [*own, *everywhere], statistics, mixed) if taps)
    return ("none", *dict.fromkeys(found))


def model(
    trial: optuna.trial.BaseTrial, context: SpaceContext, *, backbone: str
) -> tuple[Settings, tuple[str, ...]]:
    """Suggest cut level, training depth and channel mapping of a backbone; also return its poolings."""
    settings: Settings = {"model.backbone": backbone, "model.weights": "imagenet"}
    settings["model.cut"] = _choose(trial, "model.cut", context.levels[backbone], backbone)
    if backbone in context.from_scratch:
        settings |= {"model.weights": "random", "model.trained_stages": "all"}
    elif settings["model.cut"] in context.fine_tunes[backbone]:
        settings["model.trained_stages"] = _choose(trial, "model.trained_stages", context.depths, backbone)
    if backbone in context.adapts_channels:
        settings["model.channels"] = _choose(trial, "model.channels", ("replicate", "conv1x1"), backbone)
    if settings["model.cut"] not in context.flattens[backbone]:
        return settings, ("gap",)
    convolves = context.has_gpu and _map_side(context, backbone, settings["model.cut"]) > 1
    return settings, ("gap", "flatten", "conv") if convolves else ("gap", "flatten")


def head(trial: optuna.trial.BaseTrial, backbone: str, poolings: tuple[str, ...]) -> Settings:
    """Suggest the head: pooling, hidden layers, dropout, normalisation, and sigmoid or softmax output."""
    settings: Settings = {"model.head.pooling": "gap"}
    if len(poolings) > 1:
        of = f"{backbone}+conv" if "conv" in poolings else backbone
        settings["model.head.pooling"] = _choose(trial, "model.head.pooling", poolings, of)
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
        settings["input.size_px"] = _choose(trial, "input.size_px", (None, *sizes), backbone)
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
        "training.augmentation": _choose(trial, "training.augmentation", _PIXEL_AUGMENTATIONS, "pixels")
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
    phase = _choose(trial, "training.first_phase", ("none", *phases), kind)
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


def _choose(trial: optuna.trial.BaseTrial, name: str, choices: tuple[Any, ...], of: str) -> Any:
    return trial.suggest_categorical(f"{name}@{of}", choices)
