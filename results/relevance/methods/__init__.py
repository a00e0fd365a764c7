"""All relevance methods that need no gradients: every `RelevanceMethod` of this folder's modules."""

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from results.relevance.method import RelevanceMethod
from trainables.common.discovery import constants_of
from trainables.common.errors import UnknownNameError

RELEVANCE_METHODS: Final[Mapping[str, RelevanceMethod]] = MappingProxyType(
    {method.name: method for method in constants_of(sys.modules[__name__], RelevanceMethod)}
)


def relevance_method_named(name: str) -> RelevanceMethod:
    """Return the method of that name, or raise `UnknownNameError` with the nearest one."""
    if name not in RELEVANCE_METHODS:
        raise UnknownNameError("relevance method", name, RELEVANCE_METHODS)
    return RELEVANCE_METHODS[name]
