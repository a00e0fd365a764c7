"""Numbers in words, for messages and tables."""


def count_text(count: float, noun: str) -> str:
    """Return a number with its noun in the right form.

    >>> count_text(1, "file"), count_text(3, "file"), count_text(0.5, "GPU")
    ('1 file', '3 files', '0.5 GPU')
    """
    return f"{count:g} {noun}" if 0 < count <= 1 else f"{count:g} {noun}s"


def size_text(count: int) -> str:
    """Return a number of bytes with a decimal unit.

    >>> size_text(12_345), size_text(2_500_000), size_text(3_210_000_000)
    ('12 kB', '2.5 MB', '3.21 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.0f} kB"
