"""Closed-form heads of a search space: which, on which taps, on images of which side, with which settings."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import optuna

from search_spaces.context import SpaceContext
from trainables.config.unit_config import ATTENTION
from trainables.estimators.registry import estimator_named
from trainables.models.registry import backbone_named

Settings = dict[str, Any]
Ranges = Mapping[str, tuple[float, float]]

# Closed-form heads of a search, and others that share one more choice, since ridge and linear machines differ
# little from logistic regression: all of them together are proposed as often as one head. On request alone
# are a support vector machine with a kernel, which is a kernel's logistic regression without probabilities of
# its own, and single trees and perceptrons, of which boosting and trained heads have the better forms.
HEADS: Final = ("logistic", "lda", "kernel_logistic", "boosting")
RARER_HEADS: Final = ("ridge", "linear_svm", "knn")
CALIBRATED: Final = frozenset({"ridge", "linear_svm"})  # on held-out patients of the training part
WIDE_HEADS: Final = ("logistic", "lda")  # cost the rows, not the columns, so that they take whole maps,
ALL_FEATURES: Final = (*WIDE_HEADS, "ridge")  # and all pooled features; others see principal components alone
STRENGTHS: Final = {
    "logistic": (1e-4, 1e2),
    "ridge": (1e-5, 1e1),
    "linear_svm": (1e-5, 1e1),
    "svm": (1e-2, 1e2),
    "kernel_logistic": (1e-2, 1e3),
}
GAMMAS: Final = (0.1, 10.0)
NEIGHBOURS: Final = (3, 63)
_TOGETHER: Final = 3  # levels of a net that stand together as further taps
SCALINGS: Final = (True, False)  # of `classical.standardize` on features of nets; statistics differ in unit
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
    name = _head(trial, choices, context.rarer_heads, of)
    if name == "none":
        return {}
    settings: Settings = {"classical.name": name, "classical.standardize": True, **ONCE}
    if name == ATTENTION:
        settings["unit.combine"] = ATTENTION
    settings["model.also"] = choose(
        trial, "model.also", further_taps(context, backbone, cut), f"{backbone}+{cut}"
    )
    is_learned = not all(backbone_named(net).is_fixed for net in nets_of(backbone, settings["model.also"]))
    if len(context.scalings) > 1 and is_learned and name != ATTENTION:
        settings["classical.standardize"] = choose(trial, "classical.standardize", context.scalings, "closed")
    if "flatten" in poolings and not is_fixed and name in WIDE_HEADS:
        settings["model.head.pooling"] = choose(
            trial, "model.head.pooling", ("gap", "flatten"), f"{backbone}+closed"
        )
    if estimator_named(name).weighs_classes:
        weighting = choose(trial, "training.class_weight", ("none", "balanced"), "closed")
        settings["training.class_weight"] = weighting
    return settings | closed_form_settings(trial, name, context.ranges, images=context.images)


def _head(trial: optuna.trial.BaseTrial, choices: tuple[str, ...], rarer: tuple[str, ...], of: str) -> str:
    """Suggest a head by name; one choice, which lists the rarer heads, stands for all of them."""
    if not rarer:
        return str(choose(trial, "classical.name", choices, of))
    listed = ",".join(rarer)
    name = str(choose(trial, "classical.name", (*choices, listed), of))
    return str(choose(trial, "classical.name", rarer, "rarer")) if name == listed else name


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


def nets_of(backbone: str, also: str | Sequence[str]) -> tuple[str, ...]:
    """Return the backbones of a closed-form head, each once: that of its first tap, and of its further ones.

    Args:
        backbone: Backbone of the first tap.
        also: The further taps as a space chooses them, joined by commas or `none`; or, where they are held or
            replayed, one by one.

    >>> nets_of("vgg16", "vgg16/top+1,texture/top"), nets_of("vgg16", ["texture/top"])
    (('vgg16', 'texture'), ('vgg16', 'texture'))
    >>> nets_of("vgg16", "none")
    ('vgg16',)
    """
    taps = also.split(",") if isinstance(also, str) else also
    further = [tap for tap in taps if tap != "none"]
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
    trial: optuna.trial.BaseTrial,
    name: str,
    ranges: Ranges = MappingProxyType({}),
    *,
    images: int = 4 * NEIGHBOURS[1],
) -> Settings:
    """Suggest the settings of a closed-form head on many features.

    Args:
        trial: Trial that suggests.
        name: Name of the head.
        ranges: Parameter -> range that was learned, in place of the space's own.
        images: Number of images in the training part, of which a quarter at most are neighbours.
    """
    components = COMPONENTS if name in ALL_FEATURES else COMPONENTS[1:]
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
    if name == "knn":
        fewest, most = NEIGHBOURS
        settings["classical.neighbours"] = trial.suggest_int(
            "classical.neighbours", fewest, max(fewest, min(most, images // 4)), log=True
        )
        settings["classical.minkowski_p"] = trial.suggest_categorical("classical.minkowski_p", (2, 1))
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
    the statistics, the deepest levels with the backbone's own and the statistics, and what the backbone
    itself lists, such as the class tokens of the last blocks. Of a net with more than three levels the first
    three stand together, as in the points that were learned, and once all of them.
    """
    level, _, readout = cut.partition(".")
    all_own = [f"{backbone}/{other}" for other in context.levels[backbone] if other != level]
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
    # A level without a readout holds what its readouts hold.
    held = (f"{level}.",) if not readout else (cut,)
    listed = [
        [f"{backbone}/{other}" for other in cuts if not other.startswith(held)]
        for cuts in context.tap_lists.get(backbone, ())
    ]
    lists = (own, all_own, deepest, [*own, *everywhere], statistics, mixed, *listed)
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
