"""Published collections of breast images. Every `Collection` that a module of this folder defines is here.

They are read when `COLLECTIONS` is first asked for: the processes that prepare images know examples alone.
"""

import functools
import sys
from collections.abc import Mapping
from types import MappingProxyType

from trainables.common.discovery import constants_of
from trainables.data.collections.collection import Collection

COLLECTIONS: Mapping[str, Collection]


@functools.cache
def _collections() -> Mapping[str, Collection]:
    found = constants_of(sys.modules[__name__], Collection)
    return MappingProxyType({collection.name: collection for collection in found})


def __getattr__(name: str) -> Mapping[str, Collection]:
    if name == "COLLECTIONS":
        return _collections()
    raise AttributeError(f"module {__name__} has no attribute {name}")
