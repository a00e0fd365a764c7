"""Does the tissue hold invasive ductal carcinoma? Seed 000's histology patches."""

import optuna

from search_spaces import pieces
from search_spaces.context import SpaceContext


def space(trial: optuna.trial.BaseTrial, context: SpaceContext) -> pieces.Settings:
    """Settings of one trial."""
    return pieces.classifier(trial, context)
