"""The rungs of successive halving: the epochs at which trials are compared.

The study decides at these epochs and the workers report at them; between rungs a worker need not wait for a
decision.
"""

from typing import Final

FIRST_RUNG: Final = 5  # epochs before the first comparison
REDUCTION: Final = 2  # every rung takes this many times the epochs of the one before


def first_rung(epochs: int) -> int:
    """Return the epoch of the first comparison in a search.

    Args:
        epochs: Largest number of epochs of a trial, at least 1.

    >>> first_rung(30), first_rung(3)
    (5, 3)
    """
    return min(FIRST_RUNG, epochs)


def is_rung(epoch: int, first: int) -> bool:
    """Tell whether trials are compared at an epoch.

    Args:
        epoch: Epoch, 1-based.
        first: Epoch of the first rung, at least 1.

    >>> [epoch for epoch in range(1, 50) if is_rung(epoch, first=5)]
    [5, 10, 20, 40]
    """
    rung = first
    while rung < epoch:
        rung *= REDUCTION
    return rung == epoch
