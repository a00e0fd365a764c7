"""Columns of a set: stored beside the arrays, part of the fingerprint, taken along when rows are left out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainables.common.errors import DataError
from trainables.data.columns import COLUMNS_FILE, write_columns
from trainables.data.image_survey import surveyed
from trainables.data.patches import RawPatches, fingerprint_of, open_patch_set, store_patch_set

PLAIN = RawPatches(
    images=np.random.default_rng(0).integers(0, 256, (3, 8, 8)).astype(np.uint8),
    labels=np.array([0, 1, 0]),
    label_codes="task",
)
COLUMNS = {
    "view": np.array(["CC", "", "MLO"]),
    "age_years": np.array([61.0, np.nan, 47.0]),
    "vendor": np.array(["", "", ""]),
}


def test_columns_read_back_as_they_were_with_unknown_ones_unknown(tmp_path: Path) -> None:
    stored = store_patch_set(replace(PLAIN, columns=COLUMNS), tmp_path)
    assert stored.columns is not None
    assert set(stored.columns) == set(COLUMNS)
    for name, column in COLUMNS.items():
        np.testing.assert_array_equal(stored.columns[name], column)
    with pytest.raises(ValueError, match="read-only"):
        stored.columns["age_years"][0] = 1


def test_a_set_without_columns_keeps_the_fingerprint_of_earlier_versions(tmp_path: Path) -> None:
    assert fingerprint_of(replace(PLAIN, columns={})) == fingerprint_of(PLAIN)
    assert fingerprint_of(PLAIN).startswith("831cbbe10655746f")
    assert store_patch_set(PLAIN, tmp_path).columns is None


def test_columns_are_part_of_the_fingerprint_whatever_their_order_and_number_type() -> None:
    with_columns = fingerprint_of(replace(PLAIN, columns=COLUMNS))
    assert with_columns != fingerprint_of(PLAIN)
    assert with_columns == fingerprint_of(replace(PLAIN, columns=dict(reversed(COLUMNS.items()))))
    ages = [
        fingerprint_of(replace(PLAIN, columns={"age_years": np.array([1, 2, 3], t)})) for t in ("i4", "f4")
    ]
    assert ages[0] == ages[1]
    other = {**COLUMNS, "view": np.array(["CC", "", "CC"])}
    assert with_columns != fingerprint_of(replace(PLAIN, columns=other))


def test_columns_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column view must hold one value an image, shape \(3,\)"):
        store_patch_set(replace(PLAIN, columns={"view": np.array(["CC"])}), tmp_path)
    with pytest.raises(DataError, match="column when must hold text or numbers"):
        store_patch_set(replace(PLAIN, columns={"when": np.array(["2020"] * 3, "M8[Y]")}), tmp_path)


def test_changed_columns_are_damage(tmp_path: Path) -> None:
    stored = store_patch_set(replace(PLAIN, columns=COLUMNS), tmp_path)
    write_columns({"view": np.array(["CC", "CC", "CC"])}, tmp_path / stored.fingerprint / COLUMNS_FILE)
    with pytest.raises(DataError, match=r"columns.parquet has been changed"):
        open_patch_set(tmp_path, stored.fingerprint)
    (tmp_path / stored.fingerprint / COLUMNS_FILE).write_bytes(b"PAR1")
    with pytest.raises(DataError, match="damaged"):
        open_patch_set(tmp_path, stored.fingerprint)


def test_rows_that_are_left_out_take_their_columns_along() -> None:
    images = PLAIN.images.copy()
    images[0] = images[2]
    raw = replace(PLAIN, images=images, is_test=np.array([False, False, True]), columns=COLUMNS)
    kept = surveyed(raw, str, [])
    assert kept.columns is not None
    assert kept.columns["view"].tolist() == ["", "MLO"]
