"""Ids of joined sets: one woman is one patient, and images of two trees are two whatever they are called."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from source_files import noise, write

from orchestrator import join_sets, prepare_set
from trainables.common.errors import DataError
from trainables.data.prepared_set import FACTS_FILE

KEYS = ("0123456789abcdef0123", "abcdef0123456789abcd")


def prepared(
    folder: Path, name: str, *, first: str = "", seed: int = 0, key: int | None = None, **how: Any
) -> Path:
    """A set of eight images of four patients, whose files are called `first` and a number."""
    tree, rows = folder / f"{name} tree", []
    for number in range(8):
        write(tree / f"{first}{number}.png", noise(seed + number, side=16))
        rows.append((f"{first}{number}.png", ("benign", "malignant")[number % 2], f"P{number // 2}"))
    with (tree / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("file", "label", "patient"), *rows])
    if key is not None:
        (folder / f"{name}.key").write_text(KEYS[key])
        how["hash_ids"] = str(folder / f"{name}.key")
    out = folder / name
    prepare_set("dicom", tree, out, **{"size": (16, 16), "workers": 1} | how)
    return out


def test_a_hashed_and_a_plain_set_of_one_collection_are_refused(tmp_path: Path) -> None:
    sets = [prepared(tmp_path, "plain"), prepared(tmp_path, "hashed", first="h", seed=50, key=0)]
    said = "plain, hashed are sets of dicom, and only hashed has hashes in place of ids, so that a patient of"
    with pytest.raises(DataError, match=said):
        join_sets(sets, tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_sets_that_are_hashed_with_two_keys_are_refused_and_with_one_they_share_patients(
    tmp_path: Path,
) -> None:
    one = prepared(tmp_path, "one", key=0)
    with pytest.raises(DataError, match="hashed with different keys"):
        join_sets([one, prepared(tmp_path, "two", first="h", seed=50, key=1)], tmp_path / "joined")
    joined = join_sets([one, prepared(tmp_path, "three", first="h", seed=50, key=0)], tmp_path / "joined")
    assert len(set(joined.table["patient"])) == 4
    with pytest.raises(DataError, match="hashed with different keys"):  # a joined set knows its keys
        join_sets([tmp_path / "joined", tmp_path / "two"], tmp_path / "again")
    for file in one.iterdir():
        assert KEYS[0].encode() not in file.read_bytes()


def test_a_hashed_set_of_an_earlier_version_is_warned_of(tmp_path: Path) -> None:
    one, other = prepared(tmp_path, "one", key=0), prepared(tmp_path, "two", first="h", seed=50, key=0)
    facts = json.loads((one / FACTS_FILE).read_text())
    del facts["key_id"]
    (one / FACTS_FILE).write_text(json.dumps(facts))
    joined = join_sets([one, other], tmp_path / "joined")
    assert any("not known whether the ids of one, two were hashed" in note for note in joined.facts["notes"])


def test_two_trees_that_name_their_files_alike_are_joined(tmp_path: Path) -> None:
    sets = [prepared(tmp_path, "A"), prepared(tmp_path, "B", seed=100)]
    joined = join_sets(sets, tmp_path / "joined")
    assert joined.table["name"][0::8] == ["dicom:A/0.png", "dicom:B/0.png"]
    assert joined.table["file"][0::8] == ["A/0.png", "B/0.png"]
    assert len(set(joined.table["name"])) == 16
    assert len(set(joined.table["patient"])) == 4  # one name may be one woman, whose images stay together
    assert any("images of A, B share names" in note for note in joined.facts["notes"])
    third = prepared(tmp_path, "C", seed=200)
    assert len(set(join_sets([tmp_path / "joined", third], tmp_path / "more").table["name"])) == 24
    with pytest.raises(DataError, match="share 8 images"):
        join_sets([tmp_path / "joined", sets[0]], tmp_path / "twice")


def test_sets_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    sets = [prepared(tmp_path / "a", "set"), prepared(tmp_path / "b", "set", seed=100)]
    joined = join_sets(sets, tmp_path / "joined")
    assert joined.table["name"][0::8] == ["dicom:set 1/0.png", "dicom:set 2/0.png"]


def test_one_tree_that_was_prepared_twice_is_still_refused(tmp_path: Path) -> None:
    one, again = prepared(tmp_path, "one"), prepared(tmp_path, "again")
    with pytest.raises(DataError, match=r"share 8 images, such as dicom:0\.png; leave one of the sets out"):
        join_sets([one, again], tmp_path / "joined")
    otherwise = prepared(tmp_path, "otherwise", options={"mammograms": "yes"})
    with pytest.raises(DataError, match="must be made ready in one way"):
        join_sets([one, otherwise], tmp_path / "joined")
