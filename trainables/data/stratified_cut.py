"""Seeded cuts of images into parts that keep groups whole and classes in proportion; pure functions."""

import warnings
from fractions import Fraction
from typing import Final

import numpy as np

from trainables.common.errors import SplitError
from trainables.common.seeds import scikit_learn_seed
from trainables.common.types import IntArray
from trainables.data.patches import TextArray

_MOST_PARTS: Final = 10  # a share is rounded to a fraction with at most this denominator


def grouped_cut(labels: IntArray, groups: TextArray, parts: int, seed: int) -> dict[str, int]:
    """Cut groups into parts of about equal size, with the classes in proportion.

    Args:
        labels: Class indices, shape (images,).
        groups: Group of each image, kept whole, shape (images,).
        parts: Number of parts, at least 2 and at most the number of groups.
        seed: Seed of the cut, at least 0; the same seed gives the same parts.

    Returns:
        Group -> part, 0 to parts - 1. A class with too few groups may be missing from a part.

    Raises:
        SplitError: If even the largest class has fewer images than there are parts.
    """
    largest = int(np.bincount(labels).max())
    if largest < parts:
        raise SplitError(
            f"{parts} parts need at least {parts} images of some class, the largest class has {largest}; "
            "give more images, or ask for fewer parts with --folds and --test-share 0"
        )
    from sklearn.model_selection import StratifiedGroupKFold  # workers read splits, and start sooner without

    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=scikit_learn_seed(seed))
    part_of_group: dict[str, int] = {}
    with warnings.catch_warnings():
        # A class with fewer rows than parts: whether that matters is for the caller to check.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for part, (_, held_out) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
            part_of_group |= dict.fromkeys(np.unique(groups[held_out]).tolist(), part)
    return part_of_group


def drawn_groups(labels: IntArray, groups: TextArray, share: float, seed: int) -> set[str]:
    """Draw groups of about a share of the images, with the classes in proportion.

    Args:
        labels: Class indices, shape (images,).
        groups: Group of each image, kept whole, shape (images,); at least two different ones.
        share: Share of the images to draw, in (0, 1); rounded to tenths or a simpler fraction.
        seed: Seed of the draw; the same seed gives the same groups.

    Raises:
        SplitError: If no class has two images, so that nothing can be in proportion.
    """
    # The splitter cuts no class into more parts than the largest class has images, and has at least two.
    most_parts = max(2, min(_MOST_PARTS, len(set(groups.tolist())), int(np.bincount(labels).max())))
    fraction = _fraction(share, most_parts=most_parts)
    parts = grouped_cut(labels, groups, fraction.denominator, seed)
    # The splitter assigns the largest groups to the first parts, so the parts to take are drawn from all.
    drawn = np.random.default_rng(seed).permutation(fraction.denominator)[: fraction.numerator].tolist()
    return {group for group, part in parts.items() if part in drawn}


def _fraction(share: float, *, most_parts: int) -> Fraction:
    near = Fraction(share).limit_denominator(most_parts)
    return min(max(near, Fraction(1, most_parts)), Fraction(most_parts - 1, most_parts))
