"""Whole images and regions in one set: what is shown would give the label away, so they are not mixed."""

from collections import Counter
from collections.abc import Mapping

from trainables.common.errors import DataError
from trainables.common.text import count_text
from trainables.config.tasks import FINDINGS
from trainables.data.collections.collection import Example, Listing


def is_whole_image(example: Example) -> bool:
    """True for an example that shows all of its image, and no region of it."""
    return example.cut == "whole" or (example.cut is None and example.box is None and example.mask is None)


def check_one_kind(listing: Listing, what: str) -> None:
    """Refuse a listing of whole images and regions.

    Args:
        listing: What is to be prepared.
        what: What was listed, for the message.

    Raises:
        DataError: If some examples are whole images and others are regions.
    """
    whole = Counter(example.label for example in listing.examples if is_whole_image(example))
    cut = Counter(example.label for example in listing.examples if not is_whole_image(example))
    if not whole or not cut:
        return
    said = "; ".join(
        f"{_name_of(label, listing)} {whole[label]} and {cut[label]}" for label in sorted(whole | cut)
    )
    raise DataError(
        f"{what} mixes {count_text(whole.total(), 'whole image')} with {count_text(cut.total(), 'region')} "
        f"({said}), {_consequence(whole, cut)}; give every image a region, or take whole images with "
        "--regions image"
    )


def _consequence(whole: Mapping[int, int], cut: Mapping[int, int]) -> str:
    return (
        "so that the kind of an image would give its label away"
        if set(whole) != set(cut)
        else "so that a model would learn how an image was cut"
    )


def _name_of(label: int, listing: Listing) -> str:
    if listing.classes:
        return listing.classes[label]
    return FINDINGS[label].replace("_", " ") if listing.label_codes == "pisa" else f"label {label}"
