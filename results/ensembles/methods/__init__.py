"""All ensemble methods, simplest first: every `Method` that a module of this folder defines."""

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, SerializeAsAny

from results.ensembles.fitted import Method, Parameters
from results.ensembles.members import Members
from trainables.common.discovery import constants_of
from trainables.common.errors import OneClassError, UnknownNameError

# The order is that of simplicity: a tie goes to the earlier method.
METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    {
        method.name: method
        for method in sorted(
            constants_of(sys.modules[__name__], Method), key=lambda method: method.complexity
        )
    }
)
_RULES: Final = MappingProxyType(
    {method.rule.model_fields["kind"].default: method.rule for method in METHODS.values()}
)


def _rule_of(value: Any) -> Any:
    """Read a combination rule back from JSON; `kind` names its class."""
    if isinstance(value, Parameters):
        return value
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind not in _RULES:
        raise ValueError(f"kind must be one of {', '.join(_RULES)}, found {kind!r}")
    return _RULES[kind].model_validate(dict(value))


# Result of a method: a combination rule; `kind` names its class when it is read back from JSON.
FittedEnsemble = Annotated[SerializeAsAny[Parameters], BeforeValidator(_rule_of)]


def method_named(name: str) -> Method:
    """Return the method of that name, or raise `UnknownNameError` with the nearest one."""
    if name not in METHODS:
        raise UnknownNameError("ensemble method", name, METHODS)
    return METHODS[name]


def methods_for(classes: int) -> tuple[str, ...]:
    """Return the names of the methods that combine predictions of that many classes, simplest first.

    >>> methods_for(8)
    ('average', 'greedy', 'grid')
    """
    return tuple(name for name, method in METHODS.items() if classes == 2 or not method.is_binary)


def fit(method: str, members: Members, seed: int) -> Parameters:
    """Fit a method on out-of-fold predictions.

    Args:
        method: Name in `METHODS`.
        members: Out-of-fold predictions of the members.
        seed: Random seed for the start of the perceptron and for a sample of very many images.

    Raises:
        UnknownNameError: If there is no such method.
        OneClassError: If the labels hold a single class.
        EnsembleError: If a stacked method is asked for more than two classes.
    """
    chosen = method_named(method)
    if len(set(members.labels.tolist())) < 2:
        raise OneClassError(
            f"ensemble method {method} needs images of two classes, found one in {len(members.labels)} images"
        )
    return chosen.fit(members, seed)
