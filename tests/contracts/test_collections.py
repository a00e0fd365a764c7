"""What every published collection must do, on a small tree with its traps."""

import os
from pathlib import Path

import pytest
from collections_trees import TREES

from trainables.common.errors import DataError
from trainables.data.collections import COLLECTIONS
from trainables.data.collections.collection import Choices, Listing
from trainables.data.prepared.on_the_way import collection_of

PUBLISHED = sorted(TREES)
WITH_TABLE = [name for name in PUBLISHED if TREES[name].COLUMN is not None]


@pytest.fixture
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A collection's name and its tree, below a folder with a space and an umlaut in its name."""
    folder = tmp_path / "My data ü" / "set"
    TREES[request.param].build(folder)
    return request.param, folder


def listed(name: str, folder: Path) -> Listing:
    return COLLECTIONS[name].list(folder, Choices())


def test_every_published_collection_has_a_tree() -> None:
    of_the_user = {"dicom", "folder", "npz", "pisa"}  # these have no layout of their own
    assert set(PUBLISHED) == set(COLLECTIONS) - of_the_user
    assert len(PUBLISHED) >= 13


@pytest.mark.parametrize("tree", PUBLISHED, indirect=True)
def test_lists_what_is_there_and_names_what_is_not(tree: tuple[str, Path]) -> None:
    name, folder = tree
    found = listed(name, folder)
    assert len(found.examples) == TREES[name].EXAMPLES
    assert len(found.problems) == TREES[name].PROBLEMS, found.problems
    assert all(problem.what and problem.reason for problem in found.problems)
    assert found.notes


@pytest.mark.parametrize("tree", PUBLISHED, indirect=True)
def test_names_are_unique_and_files_exist(tree: tuple[str, Path]) -> None:
    found = listed(*tree)
    names = [example.name for example in found.examples]
    assert names == sorted(set(names))
    for example in found.examples:
        assert example.file.is_file()
        assert example.mask is None or example.mask.is_file()
        assert not any(str(tree[1]) in str(value) for value in example.columns.values())


@pytest.mark.parametrize("tree", PUBLISHED, indirect=True)
def test_another_order_of_the_file_system_changes_nothing(
    tree: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listed(*tree)
    scan, each = os.scandir, Path.iterdir
    monkeypatch.setattr(
        os, "scandir", lambda path: iter(sorted(scan(path), key=lambda one: one.name, reverse=True))
    )
    monkeypatch.setattr(Path, "iterdir", lambda path: iter(sorted(each(path), reverse=True)))
    assert listed(*tree) == before


@pytest.mark.parametrize("tree", PUBLISHED, indirect=True)
def test_no_patient_is_in_both_parts(tree: tuple[str, Path]) -> None:
    examples = listed(*tree).examples
    test = {example.patient for example in examples if example.is_test} - {None}
    assert test.isdisjoint({example.patient for example in examples if not example.is_test})


@pytest.mark.parametrize("tree", PUBLISHED, indirect=True)
def test_labels_belong_to_the_code_book(tree: tuple[str, Path]) -> None:
    found = listed(*tree)
    largest = 4 if found.label_codes == "pisa" else len(found.classes) - 1
    assert {example.label for example in found.examples} <= set(range(largest + 1))
    assert len({example.label for example in found.examples}) > 1


@pytest.mark.parametrize("tree", PUBLISHED, indirect=True)
def test_its_tree_is_recognised(tree: tuple[str, Path]) -> None:
    name, folder = tree
    if name == "medmnist":
        folder = folder / "breastmnist.npz"
    assert COLLECTIONS[name].reads(folder)
    others = {other for other in PUBLISHED if other != name and COLLECTIONS[other].reads(folder)}
    assert others == set()


@pytest.mark.parametrize("header", ["ref,severity", "file,label"])
@pytest.mark.parametrize("tree", PUBLISHED, indirect=True)
def test_a_table_of_the_users_own_beside_it_does_not_hide_it(tree: tuple[str, Path], header: str) -> None:
    name, folder = tree
    (folder / "labels.csv").write_text(f"{header}\n1,0\n")
    found = collection_of(str(folder / "breastmnist.npz" if name == "medmnist" else folder))
    assert found == (None if COLLECTIONS[name].is_read_directly else COLLECTIONS[name])


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_empty_folder_says_what_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs|holds no image"):
        listed(name, tmp_path)
    assert not COLLECTIONS[name].reads(tmp_path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_folder_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent"):
        listed(name, tmp_path / "absent")


@pytest.mark.parametrize("tree", WITH_TABLE, indirect=True)
def test_a_missing_column_is_named(tree: tuple[str, Path]) -> None:
    name, folder = tree
    file, column = TREES[name].COLUMN
    text = (folder / file).read_text(encoding="utf-8")
    (folder / file).write_text(text.replace(column, "renamed", 1), encoding="utf-8", newline="")
    wanted = column.lower().replace("-", "_")
    with pytest.raises(DataError, match=rf"{file} needs the column {wanted}"):
        listed(name, folder)


@pytest.mark.parametrize("tree", PUBLISHED, indirect=True)
def test_an_unknown_option_is_refused(tree: tuple[str, Path]) -> None:
    name, folder = tree
    with pytest.raises(DataError, match="no option colour"):
        COLLECTIONS[name].list(folder, Choices(options={"colour": "red"}))
