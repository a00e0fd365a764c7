"""Search space of fine-tuning, for trials in which stages of a backbone train."""

from collections.abc import Mapping
from typing import Any, Final

import optuna

from search_spaces.context import SpaceContext
from trainables.models.drop_path import stages_with_branches
from trainables.models.registry import backbone_named

AVERAGES: Final = (0.0, 0.9, 0.99)
WARM_UPS: Final = (0, 1, 3)  # epochs
LAYER_DECAYS: Final = (1.0, 0.8, 0.6)
DROP_PATHS: Final = (0.0, 0.1, 0.3)
FOCAL_GAMMAS: Final = (0.0, 1.0, 2.0)
PRECISIONS: Final = ("float32", "float16")  # on GPUs; older ones have no units for bfloat16


def fine_tuning(
    trial: optuna.trial.BaseTrial, context: SpaceContext, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Suggest averaged weights, warm-up, focal loss, and what the trained stages allow; empty if none trains.

    Args:
        trial: Trial that suggests.
        context: Facts of the search.
        settings: Settings that are chosen already; those of the model count.
    """
    if settings.get("model.trained_stages", 0) == 0:
        return {}
    chosen: dict[str, Any] = {
        "fine_tuning.ema": trial.suggest_categorical("fine_tuning.ema", AVERAGES),
        "fine_tuning.warmup_epochs": trial.suggest_categorical("fine_tuning.warmup_epochs", WARM_UPS),
        "training.focal_gamma": trial.suggest_categorical("training.focal_gamma", FOCAL_GAMMAS),
    }
    trained = _trained(settings)
    is_pretrained = settings.get("model.weights") != "random"
    if is_pretrained and len(trained) > 1:
        chosen["fine_tuning.layer_decay"] = trial.suggest_categorical("fine_tuning.layer_decay", LAYER_DECAYS)
    if stages_with_branches(settings["model.backbone"]) & set(trained):
        chosen["fine_tuning.drop_path"] = trial.suggest_categorical("fine_tuning.drop_path", DROP_PATHS)
    if context.has_gpu:
        chosen["fine_tuning.precision"] = trial.suggest_categorical("fine_tuning.precision", PRECISIONS)
    return chosen


def _trained(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the stages that train."""
    backbone = backbone_named(settings["model.backbone"])
    kept = backbone.stage_names[: backbone.cut_index(settings.get("model.cut", "top"))]
    count = settings["model.trained_stages"]
    return kept if count == "all" else kept[-count:]
