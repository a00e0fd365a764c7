"""All pruners: every `Pruner` that a module of this folder defines. A module is named as its pruner."""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.study.named import NamedFiles
from orchestrator.study.pruner import Pruner

DEFAULT: Final = "halving"
NONE: Final = "none"

_FILES: Final = NamedFiles(sys.modules[__name__], Pruner, "pruner")


def pruner_names() -> tuple[str, ...]:
    """Return the names of all pruners, without importing any of them or Optuna."""
    return _FILES.names()


def pruners() -> Mapping[str, Pruner]:
    """Return all pruners by name."""
    return _FILES.all


def pruner_named(name: str) -> Pruner:
    """Return a pruner.

    Args:
        name: Name of a pruner, or `MODULE:NAME` of the user's own: a `Pruner`, or a function of
            `PruningFacts` that returns an `optuna.pruners.BasePruner`.

    Raises:
        UnknownNameError: If there is no pruner of that name.
        ConfigError: If the user's own cannot be imported.
    """
    return _FILES.named(name)


def default_pruner(metrics: Sequence[str]) -> str:
    """Return the name of the pruner of a search that names none.

    Args:
        metrics: Metrics that the search optimises; empty for that of the task.

    >>> default_pruner(("auc",)), default_pruner(("auc", "f2"))
    ('halving', 'none')
    """
    return NONE if len(metrics) > 1 else DEFAULT
