"""`none`: every trial runs to its end."""

import optuna

from orchestrator.study.pruner import Pruner, PruningFacts


def _build(facts: PruningFacts) -> optuna.pruners.BasePruner:
    return optuna.pruners.NopPruner()


def _never(epoch: int, epochs: int) -> bool:
    return False


NONE = Pruner("none", _build, "every trial runs to its end", decides_at=_never)
