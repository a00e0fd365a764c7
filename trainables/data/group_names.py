"""Names of groups of images, and what a group is: a patient, or images of nobody who is known."""

from collections.abc import Iterable
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from trainables.common.text import count_text

GroupUnit = Literal["patient", "image group", "image"]

_PREFIX: Final = "row-"  # no id of a patient says the number of an image's row


def named_by_rows(rows: Iterable[int]) -> NDArray[np.str_]:
    """Return the name of each group that has no patient, by the row of its first image; shape (n,)."""
    return np.array([f"{_PREFIX}{row}" for row in rows])


def group_unit(groups: NDArray[Any]) -> GroupUnit:
    """Return the noun for groups, by their names.

    Predictions have the groups of their data: the patients where these are known, also in a naive split,
    which parts their images.

    Args:
        groups: Group of each image or unit, shape (n,).

    Returns:
        `patient`; without patients `image`, or `image group` where a group has several.

    >>> [group_unit(groups) for groups in (np.array(["P1"]), named_by_rows([3, 5]), named_by_rows([3, 3]))]
    ['patient', 'image', 'image group']
    """
    names = set(np.asarray(groups).astype(np.str_).tolist())
    if not names or not all(_names_a_row(name) for name in names):
        return "patient"
    return "image" if len(names) == len(groups) else "image group"


def of_groups(count: int, unit: GroupUnit) -> str:
    """Return whose a number of images are, to stand behind it; empty where each is a group of its own.

    >>> of_groups(12, "patient"), of_groups(32, "image")
    (' of 12 patients', '')
    """
    return "" if unit == "image" else f" of {count_text(count, unit)}"


def _names_a_row(name: str) -> bool:
    return name.startswith(_PREFIX) and name.removeprefix(_PREFIX).isdecimal()
