"""Which value is white in files of 16 bits that do not state it, as a prepared set found it.

Preparation scales such images from the range that they use together to the range of the set. A prediction
sees one file, which says nothing about the others, so that the value goes with the set and with its models.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

WHITES: Final = "whites_of_16"  # of the facts of a joined set, and of the description of a stored one


def whites_of(facts: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Return the white of the images of 16 bits whose files do not state it.

    Args:
        facts: What `set.json` holds.

    Returns:
        Values in (0, 65535], ascending: several where sets were joined that differ in it, none where no image
        is of that kind; None where it is not known, as of sets that earlier versions joined.
    """
    if "layout" in facts:
        white = float(facts["layout"].get("white_of_16") or 0)
        return (white,) if white else ()
    found = facts.get(WHITES)
    return None if found is None else tuple(float(white) for white in found)


def joined_whites(named: Mapping[str, Mapping[str, Any]], notes: list[str]) -> tuple[float, ...] | None:
    """Return the white of such images of several sets.

    Args:
        named: Name of a set, as messages say it -> its facts.
        notes: A sentence is added here where the sets differ, since a file does not say of which it is.

    Returns:
        As `whites_of`; None where it is not known of some set.
    """
    found = {name: whites_of(facts) for name, facts in named.items()}
    known = [whites for whites in found.values() if whites is not None]
    if len(known) < len(found):
        return None
    joined = tuple(sorted({white for whites in known for white in whites}))
    if len(joined) > 1:
        said = "; ".join(f"{name} {in_words(whites)}" for name, whites in found.items() if whites)
        notes.append(
            f"which value is white in images of 16 bits that do not state it differs ({said}); a prediction "
            "refuses such files where several are possible, so give it files that state their white"
        )
    return joined


def in_words(whites: Sequence[float]) -> str:
    """Return values as words.

    >>> in_words([4095.0, 65535.0])
    '4095 or 65535'
    """
    return " or ".join(f"{white:g}" for white in whites)
