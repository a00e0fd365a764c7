"""A shared folder saves nodes work when it is there and whole; nothing goes wrong when it is not."""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from prefix_examples import IMAGES, LOW, TOP, VIEWS, Counting, expected, key

from trainables.features import sharing
from trainables.features.budget import DiskBudget
from trainables.features.sharing import SharedFolder
from trainables.features.store import PrefixStore, StoredViews
from trainables.features.stored_files import meta_path
from trainables.features.stored_header import ExpectedFeatures
from trainables.preprocessing.views import View


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


def node(
    tmp_path: Path, name: str, shared: Path, views: Sequence[View] = VIEWS[:2], **options: object
) -> StoredViews:
    store = PrefixStore(tmp_path / name, shared=shared, **options)
    return store.views(key(), views, TOP, also=(LOW,), compute=Counting())


def counts(found: StoredViews) -> tuple[int, int]:
    return found.computed, found.fetched


def assert_right(found: StoredViews) -> None:
    for view, array in zip(VIEWS, found.arrays, strict=False):
        np.testing.assert_array_equal(array[:, 0], expected(view))


def test_what_one_node_computed_the_others_copy(tmp_path: Path, shared: Path) -> None:
    first = node(tmp_path, "first", shared)
    second = node(tmp_path, "second", shared)
    again = node(tmp_path, "second", shared)
    assert [counts(found) for found in (first, second, again)] == [(2, 0), (0, 2), (0, 0)]
    assert_right(second)
    assert second.seconds_per_image == pytest.approx(first.seconds_per_image, rel=0.2)
    assert sorted(path.name for path in shared.rglob("*.npy")) == ["low.map.npy"] * 2 + ["top.gap.npy"] * 2
    assert not list(tmp_path.rglob("*.partial"))


def test_a_node_reads_its_own_copy_when_the_shared_folder_is_gone(tmp_path: Path, shared: Path) -> None:
    node(tmp_path, "first", shared)
    node(tmp_path, "second", shared)
    shutil.rmtree(shared)
    found = node(tmp_path, "second", shared)
    assert counts(found) == (0, 0)
    assert_right(found)


def test_a_shared_folder_that_is_not_there_is_said_once_and_not_made(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="is not there; each node computes its own features") as said:
        found = node(tmp_path, "first", tmp_path / "nowhere")
    assert len(said) == 1
    assert counts(found) == (2, 0)
    assert not (tmp_path / "nowhere").exists()


def test_a_shared_folder_that_cannot_be_written_is_read_and_said_once(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node(tmp_path, "first", shared)
    for path in shared.rglob("d4-[12]/*"):
        path.unlink()
    attempts = []

    def refuse(*arguments: object) -> None:
        attempts.append(arguments)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(sharing, "write_atomically", refuse)
    monkeypatch.setattr(sharing.shutil, "copyfileobj", refuse)
    with pytest.warns(UserWarning, match="cannot be written .*Read-only file system.*stays here") as said:
        found = node(tmp_path, "second", shared, views=VIEWS[:3])
    assert (len(said), len(attempts)) == (1, 1)
    assert counts(found) == (2, 1)
    assert_right(found)


def test_a_damaged_shared_file_is_not_used_and_replaced(tmp_path: Path, shared: Path) -> None:
    node(tmp_path, "first", shared)
    damaged = next(shared.rglob("d4-0/top.gap.npy"))
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 0xFF
    damaged.write_bytes(bytes(content))
    with pytest.warns(UserWarning, match="shared features are damaged and are not used"):
        second = node(tmp_path, "second", shared)
    assert counts(second) == (1, 1)
    assert_right(second)
    assert counts(node(tmp_path, "third", shared)) == (0, 2)


def test_a_damaged_shared_file_never_gets_a_name_in_the_store(tmp_path: Path, shared: Path) -> None:
    node(tmp_path, "first", shared)
    damaged = next(shared.rglob("d4-0/top.gap.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    path = tmp_path / "second" / damaged.relative_to(shared)
    room = DiskBudget(tmp_path / "second" / "prefix")
    asked = ExpectedFeatures(IMAGES, TOP, "float16")
    with pytest.warns(UserWarning, match="does not match its checksum"):
        assert SharedFolder(shared).fetch(path, room, asked) is None
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("missing", [lambda path: path, meta_path], ids=["features", "checksum"])
def test_a_shared_file_on_its_way_is_not_there_yet(tmp_path: Path, shared: Path, missing: object) -> None:
    node(tmp_path, "first", shared)
    missing(next(shared.rglob("d4-0/top.gap.npy"))).unlink()
    found = node(tmp_path, "second", shared)
    assert counts(found) == (1, 1)
    assert_right(found)


def test_a_shared_file_larger_than_the_budget_is_left_where_it_is(tmp_path: Path, shared: Path) -> None:
    node(tmp_path, "first", shared)
    found = node(tmp_path, "second", shared, budget_bytes=10)
    assert counts(found) == (2, 0)
    assert "give a larger --store-gb" in found.notes[0]
    assert_right(found)
