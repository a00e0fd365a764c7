"""All relevance methods that look into the net: every `GradientMethod` of this folder's modules."""

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from trainables.common.discovery import constants_of
from trainables.relevance.gradient_method import GradientMethod

GRADIENT_METHODS: Final[Mapping[str, GradientMethod]] = MappingProxyType(
    {method.name: method for method in constants_of(sys.modules[__name__], GradientMethod)}
)
