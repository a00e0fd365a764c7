"""Words for the parts of a split, in folder names, arrays and tables."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from trainables.common.errors import DataError
from trainables.data.patches import BoolArray


def _with_nouns(*words: str) -> frozenset[str]:
    """Words alone and before `set` or `data`, such as test, testset, test_set, test-data and test data."""
    nouns = ("", *(f"{joint}{noun}" for joint in ("", "_", "-", " ") for noun in ("set", "data")))
    return frozenset(word + noun for word in words for noun in nouns)


TRAINING_WORDS: Final = _with_nouns("train", "training", "trn", "treino")
VALIDATION_WORDS: Final = _with_nouns("val", "valid", "validation", "dev")
TEST_WORDS: Final = _with_nouns("test", "testing", "tst", "teste")
EXTRA_WORDS: Final = frozenset({"extra"})


def marked_test_part(words: Sequence[str], where: str, notes: list[str]) -> BoolArray | None:
    """Return which images are marked as test by a word each; None where none is.

    Args:
        words: One word for each image, in any case.
        where: What holds the words, for messages, such as `set.npz: split`.
        notes: Sentences on the test part and on images for validation are added here.

    Raises:
        DataError: If a word is none for a part of a split, or all images are marked.
    """
    plain = [word.strip().lower() for word in words]
    strange = sorted(set(plain) - TRAINING_WORDS - VALIDATION_WORDS - TEST_WORDS - EXTRA_WORDS)
    if strange:
        raise DataError(
            f"{where} must say train, val, test or extra for every image; found {', '.join(strange[:5])}"
        )
    note_validation(sum(word in VALIDATION_WORDS for word in plain), where, notes)
    return sealed(np.array([word in TEST_WORDS for word in plain], dtype=bool), where, notes)


def extra_part(words: Sequence[str], where: str, notes: list[str]) -> BoolArray | None:
    """Return which images are marked as extra by a word each; None where none is.

    Extra images, such as those of another set or with labels that a model has guessed, train in every fold
    and are never scored.

    Args:
        words: One word for each image, in any case.
        where: What holds the words, for messages.
        notes: A sentence on the extra images is added here.

    Raises:
        DataError: If all images are marked.
    """
    is_extra = np.array([word.strip().lower() in EXTRA_WORDS for word in words], dtype=bool)
    if not is_extra.any():
        return None
    if is_extra.all():
        raise DataError(f"{where} marks all images as extra, so that none is left to be scored")
    notes.append(
        f"the {int(is_extra.sum())} images that {where} marks as extra train in every fold and are never "
        "scored"
    )
    return is_extra


def sealed(is_test: BoolArray, where: str, notes: list[str]) -> BoolArray | None:
    """Return the images that are marked as test, shape (N,), or None where none is; say how many.

    Raises:
        DataError: If all images are marked.
    """
    if is_test.all():
        raise DataError(
            f"{where} puts all images into the test part; leave it out, or mark the images of the test "
            "part alone"
        )
    if not is_test.any():
        notes.append(f"{where} marks no image as test; a test part is drawn as usual")
        return None
    notes.append(f"the {int(is_test.sum())} images that {where} marks as test are the sealed test part")
    return is_test


def note_validation(count: int, where: str, notes: list[str]) -> None:
    """Say that images for validation belong to the training part."""
    if count:
        notes.append(
            f"the {count} images of {where} that are for validation belong to the training part, whose "
            "folds are cut anew"
        )
