"""How many trials an ensemble is made of; quick to import, since the command line shows it."""

from typing import Final

DEFAULT_MEMBERS: Final = 16  # of an ensemble, at most
_MOST_CONSIDERED: Final = 40
_FEWEST_CONSIDERED: Final = 4


def considered_among(trials: int) -> int:
    """Return how many of the best trials may be members: the better half, but 4 to 40.

    A kind whose best trial is among the worse half makes an ensemble worse.

    Args:
        trials: Number of trials that there are.

    >>> considered_among(3), considered_among(21), considered_among(500)
    (4, 11, 40)
    """
    return min(_MOST_CONSIDERED, max(_FEWEST_CONSIDERED, (trials + 1) // 2))
