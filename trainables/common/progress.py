"""The work of this process, as a number that grows: with each batch, view, fold and block that is done.

It says whether a process that is silent for long is at work, so it counts work itself, not time that passes:
a process that is stopped, in a dead-lock, or waits for a disk that does not answer counts no further.
"""

import ctypes
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

_WAITING_SECONDS: Final = 3600.0  # that another process may take with what this one waits for
_FIRST_LOOK_SECONDS: Final = 0.004
_LAST_LOOK_SECONDS: Final = 0.25


class Counter(Protocol):
    """A number that processes may share."""

    value: int


_own: Counter = ctypes.c_uint64(0)
_of_children: list[Counter] = []


def worked(pieces: int = 1) -> None:
    """Count pieces of work that are done. Called from one thread of a process."""
    _own.value += pieces


def work_done() -> int:
    """Return the work of this process and of the children that it follows; it never falls."""
    return _own.value + sum(child.value for child in list(_of_children))


def count_in(shared: Counter) -> None:
    """Count in a number that a parent reads, too; called in a child before it works."""
    global _own  # noqa: PLW0603 - the number of the process is one
    shared.value = _own.value
    _own = shared


def follow(child: Counter) -> None:
    """Count the work of a child, too, from now on."""
    _of_children.append(child)


def forget(child: Counter) -> None:
    """Follow a child no longer; what it has done counts as one's own. Safe to call twice."""
    for place, known in enumerate(_of_children):
        if known is child:
            del _of_children[place]
            worked(child.value)
            return


def waited(
    is_there: Callable[[], Any],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    """Ask again and again for what another process is about to give up; returns it once it is there.

    Waiting counts as work for an hour: the other process is watched itself, and ended if it hangs.

    Args:
        is_there: Returns what is waited for, or None.
        clock: Function that returns seconds.
        sleep: Function that waits for seconds.
    """
    begun, seconds = clock(), _FIRST_LOOK_SECONDS
    while (found := is_there()) is None:
        if clock() - begun < _WAITING_SECONDS:
            worked()
        sleep(seconds)
        seconds = min(2 * seconds, _LAST_LOOK_SECONDS)
    return found
