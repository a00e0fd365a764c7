"""`median`: every five epochs, a trial stops if it is worse than the median of the finished ones there.

Source: Golovin et al. (2017), "Google Vizier: a service for black-box optimization", median stopping rule.
"""

import optuna

from orchestrator.study.pruner import NEVER_PRUNED, Pruner, PruningFacts, first_comparison


def _build(facts: PruningFacts) -> optuna.pruners.BasePruner:
    return optuna.pruners.MedianPruner(n_startup_trials=NEVER_PRUNED, n_min_trials=NEVER_PRUNED)


def _decides_at(epoch: int, epochs: int) -> bool:
    return epoch % first_comparison(epochs) == 0


MEDIAN = Pruner(
    "median",
    _build,
    "every five epochs, a trial stops whose best so far is worse than the median of the trials that finished",
    decides_at=_decides_at,
    survival=0.4,
)
