"""Published collections of breast images. Every `Collection` that a module of this folder defines is here."""

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from trainables.common.discovery import constants_of
from trainables.data.collections.collection import Collection

COLLECTIONS: Final[Mapping[str, Collection]] = MappingProxyType(
    {collection.name: collection for collection in constants_of(sys.modules[__name__], Collection)}
)
