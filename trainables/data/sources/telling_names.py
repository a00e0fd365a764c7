"""Names of columns, arrays and files that may stand for patients, or for the parts of a split."""

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainables.data.personal_names import LINKS, NUMBERS, PAPERS, PERSONS, SHORT_PERSONS, words_of

_PATIENTS: Final = (
    f"(?:{PERSONS}|individual|volunteer|slide|group)s?|{SHORT_PERSONS}|{PAPERS}|women|pazienti|donne|faelle|"
    "mrn|empi|pid|ipp|nhc"
)
_IDS: Final = f"anon|(?:{NUMBERS}|name|key|group)s?|index|idx|hash|table"
_MAY_BE_PATIENTS: Final = re.compile(
    rf"(anon|hashed)?({_PATIENTS})({_IDS})*|({NUMBERS})+{LINKS}({PERSONS}|{SHORT_PERSONS}|{PAPERS})"
)
_PARTS: Final = (
    "train|training|trn|val|valid|validation|dev|test|testing|tst|holdout|extra|datasplit|split|folds?|"
    "partition|subset|set|part|phase"
)
_OF_PARTS: Final = (
    "set|data|part|s|split|mask|flag|ids?|idx|index|indices|rows|files|no|nr|number|images?|labels?|[xy]"
)
_MAY_BE_PARTS: Final = re.compile(
    rf"(is|in|public|private|cv|k|images?|labels?|[xy])?({_PARTS})({_PARTS}|{_OF_PARTS})*"
)


def plain(name: str) -> str:
    """Return a name in lower case, without accents, signs and blanks."""
    return words_of(name).replace(" ", "")


def may_be_patients(name: str) -> bool:
    """True for a name that may stand for patients, not for a fact about them.

    >>> [may_be_patients(name) for name in ("pat_id", "Case No", "mrn", "patient_age", "density")]
    [True, True, True, False, False]
    >>> [may_be_patients(name) for name in ("Patienten-Nr", "numéro de dossier", "Fallzahl")]
    [True, True, False]
    """
    return _MAY_BE_PATIENTS.fullmatch(plain(name)) is not None


def may_be_parts(name: str) -> bool:
    """True for a name that may stand for the parts of a split, or for one of them.

    >>> [may_be_parts(name) for name in ("is_train", "Fold", "val_images", "dataset", "test_result")]
    [True, True, True, False, False]
    """
    return _MAY_BE_PARTS.fullmatch(plain(name)) is not None


def could_group(values: NDArray[Any]) -> bool:
    """True unless all values differ, so that they cannot say which images belong together."""
    return len(np.unique(values)) < values.size


def could_part(values: NDArray[Any]) -> bool:
    """True unless all values are one, so that they part nothing."""
    return len(np.unique(values)) > 1
