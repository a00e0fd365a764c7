"""Remarks of a process on its circumstances, such as a folder that is not there: each text once.

A process warns of them, as is usual. Whoever runs it for a user elsewhere, as a worker does on another
machine of a cluster, also takes them and passes them on, since nobody reads its warnings there.
"""

import functools
import warnings
from collections import deque
from typing import Final

_MOST_KEPT: Final = 100  # where nobody takes them; the newest

_kept: deque[str] = deque(maxlen=_MOST_KEPT)


@functools.cache
def remark_once(text: str) -> None:
    """Warn, and keep the text for whoever takes remarks; once for each text in the life of a process."""
    _kept.append(text)
    warnings.warn(text, stacklevel=3)


def take_remarks() -> tuple[str, ...]:
    """Return the remarks that were made since they were taken last, in their order."""
    taken = []
    while _kept:
        taken.append(_kept.popleft())
    return tuple(taken)
