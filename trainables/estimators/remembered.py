"""Work on the rows of a fold that later fits in this process need again: decompositions and products.

A search fits many heads on the same features of the same folds. What depends on the rows alone is done once;
what was used least recently is forgotten when it gets too large.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np

MOST_BYTES: Final = 256 << 20  # of remembered arrays in one process

Value = TypeVar("Value")


class Memory:
    """Remembered values by key, the most recently used last.

    Args:
        most_bytes: Largest size of all values together; a single larger one is not kept. A new value is
            made beside those that are there; then some of them are forgotten.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes = most_bytes
        self._values: OrderedDict[tuple[object, ...], tuple[Any, int]] = OrderedDict()

    def recall(self, key: tuple[object, ...], make: Callable[[], Value]) -> Value:
        """Return the value of a key, made now if it is not remembered."""
        if key in self._values:
            self._values.move_to_end(key)
            found: Value = self._values[key][0]
            return found
        value = make()
        size = _bytes(value)
        if size <= self.most_bytes:
            self._values[key] = value, size
            while sum(size for _, size in self._values.values()) > self.most_bytes:
                self._values.popitem(last=False)
        return value

    def forget(self) -> None:
        """Forget everything."""
        self._values.clear()


MEMORY: Final = Memory()


def _bytes(value: object) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, tuple | list):
        return sum(_bytes(one) for one in value)
    names = getattr(type(value), "__slots__", ())
    return sum(_bytes(getattr(value, name)) for name in names)
