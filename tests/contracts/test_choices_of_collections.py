"""What a user chooses of a collection is done or refused, and never passed over."""

import re
from pathlib import Path
from typing import Literal

import pytest
from collections_trees import TREES
from dicom_tree import write_tree
from source_files import npz, pisa, two_classes

from trainables.common.errors import DataError
from trainables.data.collections import COLLECTIONS
from trainables.data.collections.collection import Choices
from trainables.data.prepared.kinds import is_whole_image

Regions = Literal["image", "roi", "patches"]
NO_TABLE = {"breakhis", "busi", "ddsm", "folder", "idc", "medmnist", "npz", "pisa"}
WITH_REGIONS = {"busi", "cbis-ddsm", "ddsm", "dicom", "embed", "inbreast", "mias", "vindr-mammo"}
ALL = sorted(COLLECTIONS)


def built(name: str, folder: Path) -> Path:
    """A small tree of a collection."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {
        "dicom": lambda: write_tree(folder / "tree", 4),
        "folder": lambda: two_classes(folder / "tree"),
        "npz": lambda: npz(folder),
        "pisa": lambda: pisa(folder),
    }
    if name in own:
        return own[name]()
    TREES[name].build(folder)
    return folder


def test_every_collection_is_asked() -> None:
    assert len(ALL) >= 17
    assert set(ALL) > NO_TABLE | WITH_REGIONS


@pytest.mark.parametrize("name", ALL)
def test_a_table_is_read_or_refused(name: str, tmp_path: Path) -> None:
    absent = tmp_path / "absent.csv"
    said = "reads no table of labels, found --table" if name in NO_TABLE else "absent.csv"
    with pytest.raises(DataError, match=re.escape(said)):
        COLLECTIONS[name].list(built(name, tmp_path / "data"), Choices(table=absent))


@pytest.mark.parametrize("regions", ["image", "roi", "patches"])
@pytest.mark.parametrize("name", ALL)
def test_regions_are_what_is_asked_for_or_refused(name: str, regions: Regions, tmp_path: Path) -> None:
    data = built(name, tmp_path / "data")
    if regions == "patches" or (regions == "roi" and name not in WITH_REGIONS):
        with pytest.raises(DataError, match=rf"regions must be .*; found '{regions}'"):
            COLLECTIONS[name].list(data, Choices(regions))
        return
    found = COLLECTIONS[name].list(data, Choices(regions))
    whole = [is_whole_image(example) for example in found.examples]
    assert all(whole) if regions == "image" else not any(whole)
