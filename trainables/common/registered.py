"""Objects that a program registers while it runs: backbones and others of its own, by kind and name.

The tables of this package hold what its files define, and never change. What a notebook or a script defines
comes beside them, for as long as its process lives. A search takes these objects along to its workers, so
they may be functions and classes of the notebook itself.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import cloudpickle

from trainables.common.errors import ConfigError

Kind = Literal["backbone", "metric", "space"]
_OF_WORKERS: Final = ("backbone", "metric")  # kinds that workers need; a space is asked by the search alone

_OBJECTS: Final[dict[str, dict[str, Any]]] = {}


def register(
    kind: Kind, name: str, value: object, *, own: Collection[str] = (), replace: bool = False
) -> None:
    """Make an object known by its name in this process, and in the workers of searches that it starts.

    Args:
        kind: Kind of the object.
        name: Name that finds it.
        value: The object; one that workers need must be something that cloudpickle can write.
        own: Names of this kind that the package has itself; they cannot be taken.
        replace: Take the place of an object that was registered under the same name.

    Raises:
        ConfigError: If the name is taken, or the object cannot be sent to a worker.
    """
    if name in own:
        raise ConfigError(
            f"{kind} {name!r} is one of this package's own, whose results are found by that name; give yours "
            "another name"
        )
    if name in registered(kind) and not replace:
        raise ConfigError(
            f"{kind} {name!r} is registered already; give another name, or replace it with replace=True"
        )
    try:
        if kind in _OF_WORKERS:
            cloudpickle.dumps(value)
    except Exception as error:  # pickling calls any code of the object
        raise ConfigError(
            f"{kind} {name!r} cannot be sent to the workers of a search ({error}); let it hold plain values, "
            "functions and classes, but no open files, locks or connections"
        ) from error
    _OBJECTS.setdefault(kind, {})[name] = value


def forget(kind: Kind, name: str) -> None:
    """Forget a registered object; nothing happens if there is none of that name."""
    _OBJECTS.get(kind, {}).pop(name, None)


def registered(kind: Kind) -> Mapping[str, Any]:
    """Return name -> object for all registered objects of a kind, in the order of their registration."""
    return MappingProxyType(_OBJECTS.get(kind, {}))


def names_in_use(**used: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return kind -> those names in use that were registered; kinds without one are left out.

    >>> names_in_use(backbone=("vgg16", "resnet50"))
    {}
    """
    found = {
        kind: tuple(name for name in names if name in _OBJECTS.get(kind, {})) for kind, names in used.items()
    }
    return {kind: names for kind, names in found.items() if names}


def missing_names(recorded: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return kind -> those recorded names that are not registered in this process."""
    found = {
        kind: tuple(name for name in names if name not in _OBJECTS.get(kind, {}))
        for kind, names in recorded.items()
    }
    return {kind: names for kind, names in found.items() if names}


def packed() -> bytes:
    """Return the registered objects that workers need, in a form that `unpack` takes in another process."""
    return bytes(cloudpickle.dumps({kind: _OBJECTS.get(kind, {}) for kind in _OF_WORKERS}))


def unpack(content: bytes) -> None:
    """Register the objects that `packed` returned in another process; those of the same name are replaced."""
    for kind, objects in cloudpickle.loads(content).items():
        _OBJECTS.setdefault(kind, {}).update(objects)
