"""Ranges of seeds: which ones a search takes, and which ones the generators of scikit-learn take."""

from typing import Final

# A search gives model k the seed `seed * 1009 + k`, which PyTorch takes below 2**63.
LARGEST_SEED: Final = 2**53
_SCIKIT_LEARN_SEEDS: Final = 2**32  # it takes seeds below this


def scikit_learn_seed(seed: int) -> int:
    """Return the seed that scikit-learn is given for a seed, which it takes below 2**32 alone.

    Args:
        seed: Seed, at least 0. Below 2**32 it stays as it is.

    >>> scikit_learn_seed(7), scikit_learn_seed(2**32 + 7)
    (7, 7)
    """
    return seed % _SCIKIT_LEARN_SEEDS
