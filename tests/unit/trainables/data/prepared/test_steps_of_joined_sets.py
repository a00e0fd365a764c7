"""Joined sets keep the steps that their mammograms were made ready by; sets of other steps are refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dicom_tree import film
from source_files import write

from trainables.common.errors import DataError
from trainables.data.collections.collection import Choices, Collection, Example, Listing
from trainables.data.declared_steps import steps_of
from trainables.data.mammogram.preparation import Preparation
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.join import join_sets
from trainables.data.prepared.settings import Settings
from trainables.data.prepared_set import FACTS_FILE, PreparedSet, open_prepared_set

pytestmark = pytest.mark.slow


def prepared(folder: Path, name: str, steps: Preparation | None, **changes: Any) -> PreparedSet:
    """Four films of two patients, made ready on 48x32 pixels."""
    made = []
    for number in range(4):
        file = folder / f"{name} raw" / f"{number}.png"
        write(file, film(10 * len(name) + number, is_malignant=number % 2 > 0, side="LR"[number % 2]))
        made.append(Example(file, str(number), number % 2, patient=f"p{number // 2}"))
    listing = Listing(tuple(made), "task", classes=("benign", "malignant"))
    collection = Collection(
        name=name,
        title=name,
        accepts="",
        list=lambda path, choices: listing,
        reads=lambda path: False,
        is_mammogram=True,
        licence="",
    )
    settings = replace(Settings(size=(48, 32), steps=steps), **changes)
    return prepare(collection, folder / f"{name} raw", folder / name, Choices(), settings).prepared


def as_earlier_versions_joined(joined: PreparedSet) -> None:
    facts = dict(joined.facts)
    del facts["settings"]
    (joined.folder / FACTS_FILE).write_text(json.dumps(facts))


def test_steps_that_all_sets_share_are_those_of_the_joined_set(tmp_path: Path) -> None:
    steps = Preparation(remove_pectoral=True)
    one, other = prepared(tmp_path, "a", steps), prepared(tmp_path, "bb", steps)
    joined = join_sets([one.folder, other.folder], tmp_path / "joined")
    found = joined.as_patches().preparation
    assert found is not None
    assert found == one.as_patches().preparation
    assert Preparation.from_dict(found).remove_pectoral
    more = prepared(tmp_path, "ccc", steps)
    again = join_sets([joined.folder, more.folder], tmp_path / "again")
    assert again.as_patches().preparation == found


def test_sets_without_steps_are_joined_without_steps(tmp_path: Path) -> None:
    folders = [prepared(tmp_path, name, None).folder for name in ("a", "bb")]
    assert join_sets(folders, tmp_path / "joined").as_patches().preparation is None


def test_sets_that_were_made_ready_in_different_ways_are_refused(tmp_path: Path) -> None:
    one = prepared(tmp_path, "a", Preparation()).folder
    other = prepared(tmp_path, "bb", Preparation(chest_wall="right", crop_breast=False)).folder
    with pytest.raises(
        DataError,
        match=r"found chest_wall left \(a\) and right \(bb\), crop_breast True \(a\) and False \(bb\): prep",
    ):
        join_sets([one, other], tmp_path / "joined")
    plain = prepared(tmp_path, "ccc", None).folder
    with pytest.raises(DataError, match=r"found steps \(a\) and no steps \(ccc\)"):
        join_sets([one, plain], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_a_set_that_an_earlier_version_joined_has_the_steps_of_its_parts(tmp_path: Path) -> None:
    folders = [prepared(tmp_path, name, Preparation()).folder for name in ("a", "bb")]
    joined = join_sets(folders, tmp_path / "joined")
    expected = joined.as_patches().preparation
    as_earlier_versions_joined(joined)
    assert open_prepared_set(joined.folder).as_patches().preparation == expected
    more = prepared(tmp_path, "ccc", Preparation())
    assert join_sets([joined.folder, more.folder], tmp_path / "again").as_patches().preparation == expected


def test_parts_of_different_steps_that_an_earlier_version_joined_are_refused(tmp_path: Path) -> None:
    folders = [prepared(tmp_path, name, Preparation()).folder for name in ("a", "bb")]
    joined = join_sets(folders, tmp_path / "joined")
    facts = dict(joined.facts)
    del facts["settings"]
    facts["joined"][1]["settings"]["steps"]["margin"] = 0.2
    (joined.folder / FACTS_FILE).write_text(json.dumps(facts))
    assert steps_of(facts) is None
    more = prepared(tmp_path, "ccc", Preparation())
    with pytest.raises(DataError, match="joined joins sets whose mammograms were made ready in different"):
        join_sets([joined.folder, more.folder], tmp_path / "again")
