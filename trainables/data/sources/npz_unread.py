"""Arrays of an `.npz` file that are not read: those that may be patients or parts are asked about."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.data.sources.telling_names import (
    could_group,
    could_part,
    may_be_parts,
    may_be_patients,
    plain,
)


@dataclass(frozen=True, slots=True)
class Said:
    """What the arrays that are read say.

    Attributes:
        in_parts: True for a file of `train_images`, `val_images` and `test_images`.
        knows_parts: True if they name the part of each image.
        knows_patients: True if they name the patient of each image.
    """

    in_parts: bool
    knows_parts: bool
    knows_patients: bool


def check_unread(file: str, unread: Mapping[str, Callable[[], NDArray[Any]]], said: Said) -> None:
    """Ask about arrays that are not read and may say what the others leave open.

    Args:
        file: Name of the file, for messages.
        unread: Name of an array that is not read -> function that reads it.
        said: What the arrays that are read say.

    Raises:
        DataError: If an array may be another part, or if one may name parts or patients of which no other
            tells.
    """
    if parts := [name for name in unread if _may_be_another_part(name, in_parts=said.in_parts)]:
        raise DataError(
            f"{file}: {_not_read(parts)}; did you mean a part of a split? Call the parts train_images, "
            "val_images and test_images and their labels likewise, or save the file without what is no part"
        )
    if not said.knows_parts:
        splits = [name for name, read in unread.items() if may_be_parts(name) and could_part(read())]
        if splits:
            raise DataError(
                f"{file}: {_not_read(splits)}; did you mean split? Save train, val, test or extra for every "
                "image as an array of that name, or save the file without it if it means something else"
            )
    if said.knows_patients:
        return
    near = [name for name, read in unread.items() if _may_be_patients(name) and could_group(read())]
    if near and said.in_parts:
        raise DataError(
            f"{file}: {_not_read(near)}; did you mean patient? Save patient ids by part, as train_patient, "
            "val_patient and test_patient, or save the file without that array if it means something else"
        )
    if near:
        raise did_you_mean_patient(file, near, "is not read" if len(near) == 1 else "are not read")


def did_you_mean_patient(file: str, names: Sequence[str], what: str) -> DataError:
    """Return the question whether arrays are meant to be the patients, after what is wrong with them."""
    return DataError(
        f"{file}: {' and '.join(names)} {what}; did you mean patient? Save patient ids as an "
        "array of that name, one an image, or save the file without that array if it means something else"
    )


def _may_be_another_part(name: str, *, in_parts: bool) -> bool:
    """True for images or labels of a part that is not read."""
    if not may_be_parts(name):
        return False
    x_or_y = not in_parts and re.fullmatch(r"[xy].+|.+(?<!id)[xy]", plain(name)) is not None
    return x_or_y or plain(name).endswith(("images", "labels"))


def _may_be_patients(name: str) -> bool:
    """True for a name that may stand for patients, also with the name of a part before or after it."""
    bare = re.sub(r"^(train|val|test)|(train|val|test)$", "", plain(name))
    return may_be_patients(bare) or re.fullmatch(r"ids?|uids?|identifiers?", bare) is not None


def _not_read(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not read"
