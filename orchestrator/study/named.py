"""Lookup of samplers and pruners by name: one a file of a folder, or the user's own `MODULE:NAME`.

The names are those of the files, so that the command line lists them without importing any, or Optuna.
"""

import functools
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Generic, Protocol, TypeVar

from trainables.common.discovery import constants_of
from trainables.common.errors import UnknownNameError
from trainables.common.imports import object_named


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Kind = TypeVar("Kind", bound=_Named)


class NamedFiles(Generic[Kind]):
    """The constants of one type that the modules of a folder define, found by name.

    Args:
        package: Folder whose modules each define one, named as the module.
        kind: Type of the constants.
        what: Kind in a word, such as `sampler`; also the option that names one.
    """

    def __init__(self, package: ModuleType, kind: type[Kind], what: str) -> None:
        self._package, self._kind, self._what = package, kind, what

    def names(self) -> tuple[str, ...]:
        """Return all names, without importing any module."""
        return tuple(sorted(module.name for module in pkgutil.iter_modules(self._package.__path__)))

    @functools.cached_property
    def all(self) -> Mapping[str, Kind]:
        """All of ours by name; their modules are imported at the first use."""
        return MappingProxyType({one.name: one for one in constants_of(self._package, self._kind)})

    def named(self, name: str) -> Kind:
        """Return one by its name; `MODULE:NAME` is the user's own, a constant or a function that builds.

        Raises:
            UnknownNameError: If there is none of that name.
            ConfigError: If the user's own cannot be imported.
        """
        if ":" in name:
            own = object_named(name, f"--{self._what}")
            if isinstance(own, self._kind):
                return own
            return self._kind(name, own, f"a {self._what} of your own")  # type: ignore[call-arg]  # both begin so
        if name not in self.names():
            raise UnknownNameError(self._what, name, self.names(), own="MODULE:FUNCTION")
        return self.all[name]
