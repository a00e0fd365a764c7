"""Progress of a collection that is prepared before a search, as messages."""

import time
from collections.abc import Callable
from typing import Final

_SECONDS: Final = 15.0  # between two messages


def messages_of_progress(notify: Callable[[str], None]) -> Callable[[int, int], None]:
    """Return a function that is told how many images are done; it says so at first, and while it takes long.

    Args:
        notify: Function called with each message.

    >>> told = messages_of_progress(print)
    >>> for done in (0, 1, 2):
    ...     told(done, 2)
    preparing the images of the collection: 0 of 2 are done
    """
    last = float("-inf")

    def progress(done: int, total: int) -> None:
        nonlocal last
        if done < total and time.monotonic() - last >= _SECONDS:
            last = time.monotonic()
            notify(f"preparing the images of the collection: {done:,} of {total:,} are done")

    return progress
