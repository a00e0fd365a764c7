"""All pruners: every `Pruner` that a module of this folder defines. A module is named as its pruner."""

import functools
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from orchestrator.study.pruner import Pruner
from trainables.common.discovery import constants_of
from trainables.common.errors import UnknownNameError
from trainables.common.imports import object_named

DEFAULT: Final = "halving"
NONE: Final = "none"


def pruner_names() -> tuple[str, ...]:
    """Return the names of all pruners, without importing any of them or Optuna."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@functools.cache
def pruners() -> Mapping[str, Pruner]:
    """Return all pruners by name."""
    found = constants_of(sys.modules[__name__], Pruner)
    return MappingProxyType({pruner.name: pruner for pruner in found})


def pruner_named(name: str) -> Pruner:
    """Return a pruner.

    Args:
        name: Name of a pruner, or `MODULE:NAME` of the user's own: a `Pruner`, or a function of
            `PruningFacts` that returns an `optuna.pruners.BasePruner`.

    Raises:
        UnknownNameError: If there is no pruner of that name.
        ConfigError: If the user's own cannot be imported.
    """
    if ":" in name:
        own = object_named(name, "--pruner")
        return own if isinstance(own, Pruner) else Pruner(name, own, "a pruner of your own")
    if name not in pruner_names():
        raise UnknownNameError("pruner", name, pruner_names())
    return pruners()[name]


def default_pruner(metrics: Sequence[str]) -> str:
    """Return the name of the pruner of a search that names none.

    Args:
        metrics: Metrics that the search optimises; empty for that of the task.

    >>> default_pruner(("auc",)), default_pruner(("auc", "f2"))
    ('halving', 'none')
    """
    return NONE if len(metrics) > 1 else DEFAULT
