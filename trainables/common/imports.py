"""Imports: of what a user names as MODULE:NAME, and of what a process needs from its start on."""

import atexit
import gc
import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from trainables.common.errors import ConfigError


def module_named(name: str, asked: str) -> ModuleType:
    """Import a module of the user.

    Args:
        name: Name of the module, which may also be a file in the working folder.
        asked: Option and value that ask for it, for messages.

    Raises:
        ConfigError: If it cannot be imported.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except Exception as error:  # importing runs any code of the user
        raise ConfigError(f"{asked}: the module cannot be imported: {error}") from error


def object_named(name: str, option: str) -> Any:
    """Return the object that a user names.

    Args:
        name: `MODULE:NAME`.
        option: Option that it was given with, for messages.

    Raises:
        ConfigError: If the module cannot be imported, or has nothing of that name.
    """
    module_name, _, attribute = name.partition(":")
    module = module_named(module_name, f"{option} {name}")
    if not hasattr(module, attribute):
        raise ConfigError(f"{option} {name}: module {module_name} has no {attribute!r}")
    return getattr(module, attribute)


def import_at_start(names: Iterable[str]) -> None:
    """Import modules at the start of a process, without looking for garbage meanwhile or among them later.

    Python looks for cycles of garbage whenever there are some hundred more objects. Libraries bring a
    million, and none is garbage before the end. Processes that are forked later share the memory of them.

    Args:
        names: Names of the modules.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for name in names:
            importlib.import_module(name)
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # some libraries complain of what is not freed at the end
        if was_enabled:
            gc.enable()
