"""All samplers: every `Sampler` that a module of this folder defines. A module is named as its sampler."""

import sys
from collections.abc import Mapping
from typing import Final

from orchestrator.study.named import NamedFiles
from orchestrator.study.sampler import Sampler

_FILES: Final = NamedFiles(sys.modules[__name__], Sampler, "sampler")


def sampler_names() -> tuple[str, ...]:
    """Return the names of all samplers, without importing any of them or Optuna."""
    return _FILES.names()


def samplers() -> Mapping[str, Sampler]:
    """Return all samplers by name."""
    return _FILES.all


def sampler_named(name: str) -> Sampler:
    """Return a sampler.

    Args:
        name: Name of a sampler, or `MODULE:NAME` of the user's own: a `Sampler`, or a function of
            `SamplingFacts` that returns an `optuna.samplers.BaseSampler`.

    Raises:
        UnknownNameError: If there is no sampler of that name.
        ConfigError: If the user's own cannot be imported.
    """
    return _FILES.named(name)
