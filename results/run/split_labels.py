"""Names of scores: those of a naive split carry its name wherever they are written."""

from typing import Final, Literal

SplitName = Literal["grouped split", "naive split"]

GROUPED: Final = "grouped split"
NAIVE: Final = "naive split"
NAIVE_WARNING: Final = (
    "Naive split: patients lie in several folds or parts at once, so these scores are too high."
)


def scored(header: str, split: SplitName) -> str:
    """Return the name of a score; that of a naive split carries the split's name.

    >>> scored("AUC", "grouped split"), scored("AUC", "naive split")
    ('AUC', 'AUC (naive split)')
    """
    return f"{header} ({split})" if split == NAIVE else header


def interval_header(split: SplitName, metric: str = "AUC") -> str:
    """Return the header of a column of scores with intervals, narrow enough for 80 columns.

    >>> interval_header("grouped split"), interval_header("naive split")
    ('AUC [95 %]', 'AUC (naive split)\\n[95 %]')
    """
    return f"{metric} [95 %]" if split == GROUPED else f"{scored(metric, split)}\n[95 %]"


def caption_of(caption: str, split: SplitName) -> str:
    """Return a caption of scores, with a warning if they come from a naive split."""
    return f"{caption} {NAIVE_WARNING}" if split == NAIVE else caption


def marks(*, is_synthetic: bool, split: SplitName) -> str:
    """Return warnings in capitals to put before a title: synthetic images, naive split; empty without any.

    >>> marks(is_synthetic=True, split="naive split"), marks(is_synthetic=False, split="grouped split")
    ('SYNTHETIC NAIVE SPLIT ', '')
    """
    said = ["SYNTHETIC"] * is_synthetic + ["NAIVE SPLIT"] * (split == NAIVE)
    return "".join(f"{mark} " for mark in said)
