"""The size that images of a collection are brought to where the user says none."""

from pathlib import Path

import pytest

from trainables.data.collections import COLLECTIONS
from trainables.data.collections.collection import Box, Cut, Example, Listing
from trainables.data.mammogram.preparation import Preparation
from trainables.data.prepared.engine import _complete
from trainables.data.prepared.settings import Settings

BOX = Box(0, 0, 10, 10)


@pytest.mark.parametrize(
    ("name", "cut", "size"),
    [
        ("cbis-ddsm", None, (1024, 832)),
        ("ddsm", None, (1024, 832)),
        ("mias", None, (1024, 832)),
        ("cbis-ddsm", "box", (299, 299)),
        ("mias", "tiles", (299, 299)),
        ("inbreast", None, (512, 256)),
        ("inbreast", "box", (150, 150)),
        ("vindr-mammo", "roi_1", (299, 299)),
        ("busi", "whole", (224, 224)),
        ("busi", "box", (150, 150)),
        ("medmnist", None, None),
    ],
)
def test_a_collections_own_size_is_that_of_its_kind(
    name: str, cut: Cut | None, size: tuple[int, int] | None
) -> None:
    box = None if cut in (None, "whole") else BOX
    listing = Listing((Example(Path("film.png"), "film", 1, box=box, cut=cut),), "pisa")
    made = _complete(Settings(steps=Preparation()), COLLECTIONS[name], listing)
    assert made.size == size
    asked = _complete(Settings(steps=Preparation(), size=(64, 48)), COLLECTIONS[name], listing)
    assert asked.size == (64, 48)
