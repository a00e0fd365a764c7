"""`halving`: asynchronous successive halving; at epochs that double, the better half of the trials goes on.

Source: Li et al. (2020), "A system for massively parallel hyperparameter tuning" (ASHA).
"""

import optuna

from orchestrator.study.pruner import Pruner, PruningFacts, at_doubling_epochs, first_comparison


def _build(facts: PruningFacts) -> optuna.pruners.BasePruner:
    return optuna.pruners.SuccessiveHalvingPruner(
        min_resource=first_comparison(facts.epochs), reduction_factor=2
    )


HALVING = Pruner(
    "halving",
    _build,
    "at epochs 5, 10, 20, ... the better half of the trials that came so far goes on",
    decides_at=at_doubling_epochs,
    survival=0.5,
)
