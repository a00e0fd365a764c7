"""Is the mass malignant, by measurements of its cell nuclei? Seed 003's classical models on its tables."""

import optuna

from search_spaces.classical import Settings, classical
from search_spaces.context import SpaceContext


def space(trial: optuna.trial.BaseTrial, context: SpaceContext) -> Settings:
    """Settings of one trial."""
    backbone = trial.suggest_categorical("model.backbone", context.backbones)
    return {"model.backbone": backbone, **classical(trial)}
