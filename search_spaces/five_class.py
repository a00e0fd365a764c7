"""Which of five findings? Seed 003's `label`, Pisa's codes; 003's own codes are read apart from them."""

import optuna

from search_spaces import pieces
from search_spaces.context import SpaceContext


def space(trial: optuna.trial.BaseTrial, context: SpaceContext) -> pieces.Settings:
    """Settings of one trial."""
    return pieces.classifier(trial, context)
