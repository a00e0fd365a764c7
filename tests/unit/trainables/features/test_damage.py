"""Damage to stored features is noticed before a trial reads them, or at the latest while it does."""

import os
from pathlib import Path

import numpy as np
import pytest
from prefix_examples import TOP, VIEWS, Counting, expected, key

from trainables.common.errors import PrefixError
from trainables.features.store import PrefixStore, StoredViews
from trainables.features.stored_files import check_unchanged, meta_path


def stored(folder: Path, width: int = 2) -> StoredViews:
    return PrefixStore(folder).views(key(), VIEWS[:1], TOP, also=(), compute=Counting(width=width))


def features_file(folder: Path) -> Path:
    return next(folder.rglob("top.gap.npy"))


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, (1, 1))


@pytest.mark.parametrize(
    "damage",
    [
        flip_last_byte,
        lambda path: os.truncate(path, 100),
        lambda path: path.write_bytes(b"nonsense"),
        lambda path: meta_path(path).write_text("{"),
        lambda path: meta_path(path).write_text('{"crc32": 1}'),
    ],
    ids=["a flipped byte", "cut short", "overwritten", "checksum unreadable", "checksum incomplete"],
)
def test_a_damaged_file_is_noticed_rebuilt_and_reported(tmp_path: Path, damage: object) -> None:
    stored(tmp_path)
    damage(features_file(tmp_path))
    with pytest.warns(UserWarning, match="damaged and are computed again"):
        found = stored(tmp_path)
    assert (found.computed, found.rebuilt) == (1, 1)
    np.testing.assert_array_equal(found.arrays[0][:, 0], expected(VIEWS[0]))
    again = stored(tmp_path)
    assert (again.computed, again.rebuilt) == (0, 0)


def test_a_file_without_its_checksum_is_not_there_yet(tmp_path: Path) -> None:
    stored(tmp_path)
    meta_path(features_file(tmp_path)).unlink()
    found = stored(tmp_path)
    assert (found.computed, found.rebuilt) == (1, 0)


@pytest.mark.parametrize(
    "damage", [flip_last_byte, lambda path: os.truncate(path, 100)], ids=["written to", "cut short"]
)
def test_a_file_that_changes_under_a_reader_ends_in_an_error_and_not_in_wrong_numbers(
    tmp_path: Path, damage: object
) -> None:
    array = stored(tmp_path).arrays[0]
    assert array[1, 0] == 1.0
    damage(features_file(tmp_path))
    with pytest.raises(PrefixError, match="were changed while a trial was reading them; nothing may write"):
        array[np.array([0, 1])]
    with pytest.raises(PrefixError, match=r"top\.gap\.npy"):
        check_unchanged([array])


def test_a_reader_of_a_file_that_was_removed_or_replaced_reads_on(tmp_path: Path) -> None:
    array = stored(tmp_path).arrays[0]
    path = features_file(tmp_path)
    path.unlink()
    meta_path(path).unlink()
    np.testing.assert_array_equal(array[:, 0], expected(VIEWS[0]))
    assert stored(tmp_path).computed == 1
    np.testing.assert_array_equal(array[:, 0], expected(VIEWS[0]))


def test_stored_features_cannot_be_written_to_by_their_readers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        stored(tmp_path).arrays[0][0] = 1.0
