"""All samplers: every `Sampler` that a module of this folder defines. A module is named as its sampler."""

import functools
import pkgutil
import sys
from collections.abc import Mapping
from types import MappingProxyType

from orchestrator.study.sampler import Sampler
from trainables.common.discovery import constants_of
from trainables.common.errors import UnknownNameError
from trainables.common.imports import object_named


def sampler_names() -> tuple[str, ...]:
    """Return the names of all samplers, without importing any of them or Optuna."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


@functools.cache
def samplers() -> Mapping[str, Sampler]:
    """Return all samplers by name."""
    found = constants_of(sys.modules[__name__], Sampler)
    return MappingProxyType({sampler.name: sampler for sampler in found})


def sampler_named(name: str) -> Sampler:
    """Return a sampler.

    Args:
        name: Name of a sampler, or `MODULE:NAME` of the user's own: a `Sampler`, or a function of
            `SamplingFacts` that returns an `optuna.samplers.BaseSampler`.

    Raises:
        UnknownNameError: If there is no sampler of that name.
        ConfigError: If the user's own cannot be imported.
    """
    if ":" in name:
        own = object_named(name, "--sampler")
        return own if isinstance(own, Sampler) else Sampler(name, own, "a sampler of your own")
    if name not in sampler_names():
        raise UnknownNameError("sampler", name, sampler_names())
    return samplers()[name]
