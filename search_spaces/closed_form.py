"""Closed-form heads of a search space: which, on which taps, on images of which side, with which settings."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import optuna

from search_spaces.context import SpaceContext
from trainables.config.unit_config import ATTENTION
from trainables.models.registry import backbone_named

Settings = dict[str, Any]
Ranges = Mapping[str, tuple[float, float]]

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
_TOGETHER: Final = 3  # levels of a net that stand together as further taps
COMPONENTS: Final = (0, 16, 32, 64, 128)
# Settings of any closed-form trial, for its record: one epoch on unchanged images.
ONCE: Final = {"training.epochs": 1, "training.augmentation": "none", "training.average_views": False}


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
    name = choose(trial, "classical.name", choices, of)
    if name == "none":
        return {}
    settings: Settings = {"classical.name": name, "classical.standardize": True, **ONCE}
    if name == ATTENTION:
        settings["unit.combine"] = ATTENTION
    settings["model.also"] = choose(
        trial, "model.also", further_taps(context, backbone, cut), f"{backbone}+{cut}"
    )
    if "flatten" in poolings and not is_fixed and name in WIDE_HEADS:
        settings["model.head.pooling"] = choose(
            trial, "model.head.pooling", ("gap", "flatten"), f"{backbone}+closed"
        )
    settings["training.class_weight"] = choose(trial, "training.class_weight", ("none", "balanced"), "closed")
    return settings | closed_form_settings(trial, name, context.ranges)


def needs_plain_images(context: SpaceContext, backbone: str, closed: Settings) -> bool:
    """Tell whether a closed-form head sees images without contrast presets: they cost too much, or do little.

    Some nets are too slow for more than plain images. And where all features are statistics of pixels, more
    contrast scales most of them, which standardisation takes out again.

    Args:
        context: Facts of the search.
        backbone: Backbone of the first tap.
        closed: Settings of the head, with its further taps as text.
    """
    nets = {*nets_of(backbone, closed["model.also"])}
    return bool(nets & context.plain_only) or all(backbone_named(name).is_fixed for name in nets)


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
        "input.size_px": choose(trial, "input.size_px", (None, *sizes), f"{'+'.join(sorted(nets))}+closed")
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
    settings: Settings = {"classical.pca": choose(trial, "classical.pca", components, name)}
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
    the statistics, and the deepest levels with the backbone's own and the statistics. Of a net with more than
    three levels the first three stand together, as in the points that were learned, and once all of them.
    """
    all_own = [f"{backbone}/{level}" for level in context.levels[backbone] if level != cut]
    first = context.levels[backbone][:_TOGETHER]
    own = [tap for tap in all_own if tap.partition("/")[2] in first]
    usable = [name for name in context.backbones if name not in (*context.from_scratch, backbone)]
    nets = [name for name in usable if not backbone_named(name).is_fixed]
    statistics = [f"{name}/top" for name in usable if backbone_named(name).is_fixed]
    if backbone_named(backbone).is_fixed:
        nets = []  # or a search would have no trials on statistics alone
    deepest = [f"{name}/top" for name in nets]
    everywhere = [f"{name}/{level}" for name in nets for level in context.levels[name][:_TOGETHER]]
    mixed = [*own, *deepest, *statistics]
    lists = (own, all_own, deepest, [*own, *everywhere], statistics, mixed)
    found = (",".join(taps) for taps in lists if taps)
    return ("none", *dict.fromkeys(found))


def choose(trial: optuna.trial.BaseTrial, name: str, choices: tuple[Any, ...], of: str) -> Any:
    """Suggest one of several choices under a name that ends in what they depend on.

    Args:
        trial: Trial that suggests.
        name: Setting that is chosen.
        choices: The choices.
        of: What they depend on; Optuna wants one distribution a name.
    """
    return trial.suggest_categorical(f"{name}@{of}", choices)
