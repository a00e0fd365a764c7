"""Is the whole mammogram BI-RADS 4, 5 or 6? Seed 002's task."""

import optuna

from search_spaces import pieces
from search_spaces.context import SpaceContext


def space(trial: optuna.trial.BaseTrial, context: SpaceContext) -> pieces.Settings:
    """Settings of one trial."""
    return pieces.classifier(trial, context)
