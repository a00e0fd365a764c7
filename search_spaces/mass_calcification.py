"""Mass or calcification? The easier task of seeds 001 and 004."""

import optuna

from search_spaces import pieces
from search_spaces.context import SpaceContext


def space(trial: optuna.trial.BaseTrial, context: SpaceContext) -> pieces.Settings:
    """Settings of one trial."""
    return pieces.classifier(trial, context)
