"""Registries without lists: the constants of one type that the modules of a folder define.

A folder is read in order of its module names, once, so that adding a data source, a backbone or an ensemble
method is adding a file. Nothing registers itself: a module only defines a constant.
"""

import importlib
import pkgutil
from types import ModuleType
from typing import TypeVar

Kind = TypeVar("Kind")


def constants_of(package: ModuleType, kind: type[Kind]) -> tuple[Kind, ...]:
    """Return the public module-level constants of a type, in order of modules and of their definition.

    Args:
        package: Folder whose modules are imported; folders within it are left out.
        kind: Type of the constants; instances of it that a module imported from another count once.
    """
    found: dict[int, Kind] = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        if not module.ispkg:
            contents = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
            for name, value in contents.items():
                if isinstance(value, kind) and not name.startswith("_"):
                    found.setdefault(id(value), value)
    return tuple(found.values())
