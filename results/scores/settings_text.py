"""The main settings of a configuration as short text, for tables and the terminal."""

from collections.abc import Mapping
from typing import Any

from results.run.records import TrialRecord
from trainables.config.baseline import BASELINE_TEXT, is_baseline
from trainables.config.trial_config import flatten
from trainables.config.unit_config import ATTENTION
from trainables.estimators.registry import ESTIMATORS


def labelled_settings(record: TrialRecord) -> str:
    """Return the main settings of a trial as short text, behind the recipe that it is of."""
    text = settings_text(record.config)
    return f"{record.recipe}: {text}" if record.recipe else text


def settings_text(config: dict[str, Any]) -> str:
    """Return backbone, cut, trained stages, optimiser and learning rate as short text.

    A classical model has its own settings in place of the optimiser's, and a table has no backbone.

    >>> settings_text({"model": {"backbone": "vgg16", "cut": "top+1"}, "optimizer": {"name": "adam"}})
    'vgg16 top+1 adam'
    >>> settings_text({"model": {"backbone": "table"}, "classical": {"name": "tree", "depth": 5}})
    'tree depth=5'
    """
    flat = flatten(config)
    if flat.get("classical.name", "none") != "none":
        return _classical_text(flat)
    trained = flat.get("model.trained_stages", 0)
    parts = [
        flat.get("model.backbone"),
        flat.get("model.cut"),
        None if trained == 0 else f"train {trained}",
        flat.get("optimizer.name"),
        f"{flat['optimizer.lr']:.2g}".replace("e-0", "e-") if "optimizer.lr" in flat else None,
        *_combined(flat),
    ]
    return " ".join(str(part) for part in parts if part is not None)


def backbones_of(config: Mapping[str, Any]) -> set[str]:
    """Return the names of all backbones whose features a configuration takes.

    Args:
        config: Dotted setting -> value of a trial.

    >>> sorted(backbones_of({"model.backbone": "vgg16", "model.also": ["texture/top", "vgg16/block4"]}))
    ['texture', 'vgg16']
    """
    also = {str(tap).rpartition("/")[0] for tap in config.get("model.also") or ()}
    return {str(config.get("model.backbone")), *also}


def _classical_text(flat: dict[str, Any]) -> str:
    name, is_table = flat["classical.name"], flat.get("model.backbone") == "table"
    backbone: list[Any]
    if is_baseline(flat):
        backbone = [f"{BASELINE_TEXT},"]
    else:
        also = [f"+ {tap}" for tap in flat.get("model.also") or ()]
        backbone = [] if is_table else [flat.get("model.backbone"), flat.get("model.cut"), *also]
    names = ESTIMATORS[name].settings if name in ESTIMATORS else ()
    own = [(setting, flat.get(f"classical.{setting}")) for setting in names]
    settings = [
        f"{setting}={value if isinstance(value, str) else format(value, '.2g')}"
        for setting, value in own
        if value is not None
    ]
    reduced = [f"pca={flat['classical.pca']}"] if flat.get("classical.pca") else []
    scaled = ["scaled"] if flat.get("classical.standardize") else []
    parts = (*backbone, name, *settings, *reduced, *scaled, *_combined(flat))
    return " ".join(str(part) for part in parts if part is not None)


def _combined(flat: dict[str, Any]) -> list[str]:
    """How the images of a unit are combined, where it is neither the mean nor the head's own attention."""
    rule = flat.get("unit.combine", "mean")
    return [] if rule in ("mean", ATTENTION) else [f"by {rule}"]
