"""Imports of libraries without torch's compiler, which they mention and nothing here uses.

torchvision asks it one question when a detector runs, and timm marks one function that it shall leave alone.
For that both import it, which takes two seconds of a core: nine tenths of torchvision's own import, in the
process of a search and in each of its workers.
"""

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

COMPILER: Final = "torch._dynamo"
_ITS_PART: Final = "torch._dynamo.utils"


@contextlib.contextmanager
def without_compiler() -> Iterator[None]:
    """Let what is imported meanwhile have the compiler when it first uses it, not at once.

    Where the compiler is imported already, nothing changes.
    """
    is_mine = COMPILER not in sys.modules
    if is_mine:
        part = _Later(_ITS_PART)
        vars(part)["is_compile_supported"] = _is_compile_supported
        whole = _Later(COMPILER)
        vars(whole)["disable"] = _disabled
        sys.modules[COMPILER], sys.modules[_ITS_PART] = whole, part
    try:
        yield
    finally:
        _leave()


class _Later(ModuleType):
    """Stands for a part of the compiler; what it lacks is asked of the part itself."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the machinery of imports asks what kind of module it is
            raise AttributeError(name)
        _leave()
        return getattr(importlib.import_module(self.__name__), name)


def _is_compile_supported(device_type: str) -> bool:
    return bool(importlib.import_module(_ITS_PART).is_compile_supported(device_type))


def _disabled(function: Callable[..., Any] | None = None, *arguments: Any, **options: Any) -> Any:
    """Mark a function, or return what marks one, so that the compiler is imported when it is first called."""
    if function is None:
        return lambda one: _disabled(one, *arguments, **options)
    if isinstance(function, type):
        return importlib.import_module(COMPILER).disable(function, *arguments, **options)

    @functools.cache
    def marked() -> Any:
        return importlib.import_module(COMPILER).disable(function, *arguments, **options)

    @functools.wraps(function)
    def call(*own: Any, **named: Any) -> Any:
        return marked()(*own, **named)

    return call


def _leave() -> None:
    """Take the stand-ins away; the compiler itself stays where it is there."""
    for name in (COMPILER, _ITS_PART):
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]
