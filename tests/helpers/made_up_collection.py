"""A collection that lists what a test says."""

from trainables.data.collections.collection import Collection, Listing


def made_up(listing: Listing, *, is_mammogram: bool = False) -> Collection:
    """A collection that lists the same whatever its path and choices are."""
    return Collection(
        name="made-up",
        title="Made up",
        accepts="",
        list=lambda path, choices: listing,
        reads=lambda path: False,
        is_mammogram=is_mammogram,
        licence="",
    )
