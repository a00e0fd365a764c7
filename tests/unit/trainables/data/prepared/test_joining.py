"""Prepared sets joined: each row knows its source, and what does not fit together is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from source_files import noise, write

from trainables.common.errors import DataError
from trainables.data.collections.collection import Choices, Collection, Example, Listing
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.join import join_sets
from trainables.data.prepared.settings import Settings
from trainables.data.prepared_set import PreparedSet


def prepared(folder: Path, name: str, **changes: object) -> PreparedSet:
    """Four images of two patients; `changes` are of the listing, or `side` and `largest` of the images."""
    side, largest = int(str(changes.pop("side", 8))), int(str(changes.pop("largest", 255)))
    raw = folder / f"{name} raw"
    made = []
    for number in range(4):
        write(raw / f"{number}.png", noise(10 * len(name) + number, largest=largest, side=side))
        made.append(Example(raw / f"{number}.png", str(number), number % 2, patient=f"p{number // 2}"))
    listing = replace(Listing(tuple(made), "task", classes=("benign", "malignant")), **changes)  # type: ignore[arg-type]  # any field
    collection = Collection(
        name=name.partition("-")[0],
        title=name,
        accepts="",
        list=lambda path, choices: listing,
        reads=lambda path: False,
        is_mammogram=False,
        licence=f"licence of {name}",
    )
    return prepare(collection, raw, folder / name, Choices(), Settings()).prepared


def test_rows_know_their_source_and_patients_of_two_sources_stay_two(tmp_path: Path) -> None:
    one, other = prepared(tmp_path, "a"), prepared(tmp_path, "bb", largest=4095)
    joined = join_sets([one.folder, other.folder], tmp_path / "joined")
    assert joined.table["source"] == ["a"] * 4 + ["bb"] * 4
    assert set(joined.table["patient"]) == {"a:p0", "a:p1", "bb:p0", "bb:p1"}
    assert joined.images.dtype == np.uint16
    np.testing.assert_array_equal(joined.images[4:], other.images)
    np.testing.assert_array_equal(joined.images[0], np.rint(one.images[0] * (4095 / 255)))
    assert "licence of a" in joined.facts["licence"]
    assert "licence of bb" in joined.facts["licence"]
    raw = joined.as_patches()
    assert raw.columns is not None
    assert set(raw.columns["source"]) == {"a", "bb"}


def test_sets_of_one_collection_share_their_patients(tmp_path: Path) -> None:
    folders = [prepared(tmp_path, "a-train").folder]
    other = prepared(tmp_path, "a-more", side=8)
    with pytest.raises(DataError, match="the sets share 4 images"):
        join_sets([*folders, other.folder], tmp_path / "joined")


def test_classes_in_another_order_are_brought_to_one(tmp_path: Path) -> None:
    one, other = prepared(tmp_path, "a"), prepared(tmp_path, "bb", classes=("malignant", "benign"))
    joined = join_sets([one.folder, other.folder], tmp_path / "joined")
    assert joined.table["label"] == [0, 1, 0, 1, 1, 0, 1, 0]


def test_findings_of_source_system_003_are_those_of_the_pisa_set(tmp_path: Path) -> None:
    one = prepared(tmp_path, "a", label_codes="pisa", classes=())
    other = prepared(tmp_path, "bb", label_codes="003", classes=())
    joined = join_sets([one.folder, other.folder], tmp_path / "joined")
    assert joined.label_codes == "pisa"
    assert joined.table["label"] == [0, 1, 0, 1, 0, 3, 0, 3]


def test_sizes_and_labels_that_differ_are_refused(tmp_path: Path) -> None:
    one = prepared(tmp_path, "a").folder
    with pytest.raises(DataError, match="one size; found a 8x8, bb 16x16: prepare with --size"):
        join_sets([one, prepared(tmp_path, "bb", side=16).folder], tmp_path / "joined")
    with pytest.raises(DataError, match="labels of sets that are joined must have one meaning"):
        join_sets([one, prepared(tmp_path, "ccc", classes=("no", "yes")).folder], tmp_path / "joined")
    with pytest.raises(DataError, match="two sets or more are joined, found 1"):
        join_sets([one], tmp_path / "joined")
    with pytest.raises(DataError, match="is there already"):
        join_sets([one, one], one)
    with pytest.raises(DataError, match="is no prepared set"):
        join_sets([one, tmp_path], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()
