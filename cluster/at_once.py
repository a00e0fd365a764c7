"""Several machines of a cluster asked at once: each answers after seconds, or not at all."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

MACHINES_AT_ONCE: Final = 16

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def on_all_machines(ask: Callable[[Asked], Answer], machines: Iterable[Asked]) -> list[Answer]:
    """Return what a function returns for each machine, in the order of the machines.

    Args:
        ask: Function called with each machine, in threads, for sixteen of them at once.
        machines: The machines, in any form; there may be none.

    Raises:
        Exception: The error of the first machine that has one, once the calls that had begun have ended.
    """
    with ThreadPoolExecutor(MACHINES_AT_ONCE) as pool:
        return list(pool.map(ask, machines))
