"""How far configurations lie from each other."""

import math
from collections.abc import Mapping
from typing import Any, Final

_HEAD: Final = "classical.name"
_HEAD_COUNTS: Final = 4.0


def distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Return the distance of two configurations, at least 0.

    Each setting that differs counts 1, another kind of head 4. Numbers above 0 count the difference of their
    common logarithms, at most 1.

    Args:
        one: Dotted setting -> value; what is missing has its default.
        other: The same of the other one.

    >>> round(distance({"classical.name": "lda", "classical.c": 0.1}, {"classical.name": "lda"}), 1)
    1.0
    """
    return math.fsum(_difference(key, one.get(key), other.get(key)) for key in one.keys() | other.keys())


def _difference(key: str, one: Any, other: Any) -> float:
    if one == other:
        return 0.0
    if key == _HEAD:
        return _HEAD_COUNTS
    numbers = [own for own in (one, other) if isinstance(own, int | float) and not isinstance(own, bool)]
    if len(numbers) < 2 or min(numbers) <= 0:
        return 1.0
    return min(1.0, abs(math.log10(numbers[0] / numbers[1])))
