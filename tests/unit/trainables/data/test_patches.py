"""Patch sets in the store: content is named by its fingerprint, copies are whole, damage is seen."""

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.common.errors import DataError, OneClassError
from trainables.common.files import write_atomically
from trainables.config.tasks import TASKS
from trainables.data import patches as module
from trainables.data.patches import (
    PatchSet,
    RawPatches,
    fingerprint_of,
    open_patch_set,
    select_rows,
    store_patch_set,
)

MALIGNANCY, NORMALITY = TASKS["benign_malignant"], TASKS["normal_abnormal"]


def pairs(count: int = 4, **changes: object) -> RawPatches:
    """`count` baseline/abnormality pairs, benign and malignant masses in turn, two pairs a patient."""
    rows = np.arange(2 * count)
    raw = RawPatches(
        images=np.random.default_rng(0).integers(0, 65536, (2 * count, 9, 7)).astype(np.uint16),
        labels=np.where(rows % 2, 1 + (rows // 2) % 2, 0).astype(np.int64),
        label_codes="pisa",
        patients=np.array([f"p{row // 4}" for row in rows]),
        partners=np.where(rows % 2, rows - 1, -1).astype(np.int64),
        is_test=rows >= 2 * count - 2,
        source="made up",
    )
    return dataclasses.replace(raw, **changes)


def test_a_stored_set_reads_back_as_it_was_written(tmp_path: Path) -> None:
    raw = pairs()
    stored = store_patch_set(raw, tmp_path)
    for name in ("images", "labels", "patients", "partners", "is_test"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(raw, name))
    assert (stored.label_codes, stored.source, stored.is_synthetic) == ("pisa", "made up", False)
    assert stored.fingerprint == fingerprint_of(raw)
    assert (tmp_path / stored.fingerprint / "meta.json").is_file()


def test_images_are_memory_mapped_and_no_array_can_be_written_to(tmp_path: Path) -> None:
    stored = store_patch_set(pairs(), tmp_path)
    assert isinstance(stored.images, np.memmap)
    for array in (stored.images, stored.labels, stored.patients):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_arrays_a_source_lacks_stay_none(tmp_path: Path) -> None:
    stored = store_patch_set(pairs(patients=None, partners=None, is_test=None), tmp_path)
    assert stored.patients is None
    assert stored.partners is None
    assert stored.is_test is None


@pytest.mark.parametrize(
    ("dtype", "shape", "max_value", "channels"),
    [(np.uint8, (8, 5, 5), 255.0, 1), (np.uint16, (8, 5, 5, 3), 65535.0, 3), (np.float32, (8, 5, 5), 1.0, 1)],
)
def test_max_value_and_channels_follow_the_array(
    tmp_path: Path, dtype: type, shape: tuple[int, ...], max_value: float, channels: int
) -> None:
    stored = store_patch_set(pairs(images=np.zeros(shape, dtype)), tmp_path)
    assert (stored.max_value, stored.channels) == (max_value, channels)


@pytest.mark.parametrize(
    "change",
    [
        {"images": np.zeros((8, 9, 7), np.uint16)},
        {"images": np.zeros((8, 9, 7), np.uint8)},
        {"images": np.zeros((8, 7, 9), np.uint16)},
        {"labels": np.array([0, 1, 0, 1, 0, 1, 0, 2])},
        {"label_codes": "003"},
        {"patients": np.array(list("abcdefgh"))},
        {"patients": None},
        {"partners": None},
        {"is_test": np.zeros(8, bool)},
    ],
)
def test_every_part_of_the_content_is_in_the_fingerprint(change: dict[str, object]) -> None:
    assert fingerprint_of(pairs(**change)) != fingerprint_of(pairs())


def test_the_fingerprint_forgets_the_name_byte_order_and_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = pairs()
    expected = fingerprint_of(raw)
    assert fingerprint_of(dataclasses.replace(raw, source="elsewhere")) == expected
    assert fingerprint_of(dataclasses.replace(raw, images=raw.images.astype(">u2"))) == expected
    monkeypatch.setattr(module, "_BLOCK_BYTES", 200)
    assert fingerprint_of(raw) == expected


def test_an_existing_copy_is_reused_but_keeps_the_callers_name(tmp_path: Path) -> None:
    first = store_patch_set(pairs(), tmp_path)
    written = (tmp_path / first.fingerprint / "images.npy").stat().st_mtime_ns
    again = store_patch_set(pairs(source="elsewhere"), tmp_path)
    assert (tmp_path / first.fingerprint / "images.npy").stat().st_mtime_ns == written
    assert again.source == "elsewhere"


def test_steps_of_preparation_that_a_stored_copy_does_not_know_are_written_down_with_it(
    tmp_path: Path,
) -> None:
    raw = RawPatches(np.zeros((2, 4, 4), np.uint8), np.array([0, 1]), "task")
    first = store_patch_set(raw, tmp_path)
    assert first.preparation is None
    known: list[dict[str, Any]] = [{"crop": (1, 2)}, {"crop": (3, 4), "flips": True}]
    for steps in known:
        again = store_patch_set(dataclasses.replace(raw, preparation=steps), tmp_path)
        stored = open_patch_set(tmp_path, first.fingerprint)
        assert again.fingerprint == first.fingerprint
        assert again.preparation == stored.preparation == {**steps, "crop": list(steps["crop"])}
        np.testing.assert_array_equal(stored.labels, raw.labels)
    assert store_patch_set(raw, tmp_path).preparation == stored.preparation
    assert [file.name for file in (tmp_path / first.fingerprint).iterdir() if "meta" in file.name] == [
        "meta.json"
    ]


def test_writers_of_the_same_set_do_not_disturb_each_other(tmp_path: Path) -> None:
    raw, stored = pairs(200), list[PatchSet]()
    writers = [
        threading.Thread(target=lambda: stored.append(store_patch_set(raw, tmp_path))) for _ in range(6)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(stored) == 6
    assert [path.name for path in tmp_path.iterdir()] == [fingerprint_of(raw)]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, content: str) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(module, "write_atomically", fail)
    with pytest.raises(OSError, match="disk full"):
        store_patch_set(pairs(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_opening_a_set_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no stored patch set 0123456789ab in .*; load the data again"):
        open_patch_set(tmp_path, "0123456789abcdef")


@pytest.mark.parametrize("damage", ["truncated images", "other shape", "missing labels", "broken meta"])
def test_a_damaged_copy_is_refused_and_storing_again_mends_it(tmp_path: Path, damage: str) -> None:
    place = tmp_path / store_patch_set(pairs(), tmp_path).fingerprint
    if damage == "truncated images":
        content = (place / "images.npy").read_bytes()
        (place / "images.npy").write_bytes(content[:-10])
    elif damage == "other shape":
        np.save(place / "images.npy", np.zeros((8, 9, 6), np.uint16))
    elif damage == "missing labels":
        (place / "labels.npy").unlink()
    else:
        (place / "meta.json").write_text(json.dumps({"arrays": {}}))
    with pytest.raises(DataError, match=r"is damaged \(.+\); delete that folder"):
        open_patch_set(tmp_path, place.name)
    np.testing.assert_array_equal(store_patch_set(pairs(), tmp_path).images, pairs().images)
    assert [path.name for path in tmp_path.iterdir()] == [place.name]


def test_arrays_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"labels must be one value an image, shape \(8,\), but has shape \(3,\)"
    ):
        store_patch_set(pairs(labels=np.zeros(3, np.int64)), tmp_path)


def test_a_pixel_type_without_a_scale_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images must be .* uint8, uint16, float32, found .* of float64"):
        store_patch_set(pairs(images=np.zeros((8, 2, 2))), tmp_path)


def test_only_abnormalities_have_a_part_in_benign_malignant(tmp_path: Path) -> None:
    rows = select_rows(store_patch_set(pairs(), tmp_path), MALIGNANCY)
    assert rows.rows.tolist() == [1, 3, 5, 7]
    assert rows.labels.tolist() == [0, 1, 0, 1]
    assert rows.groups.tolist() == ["p0", "p0", "p1", "p1"]
    assert rows.is_test is not None
    assert rows.is_test.tolist() == [False, False, False, True]
    assert rows.is_grouped


def test_without_patients_a_pair_shares_the_group_of_its_smaller_row(tmp_path: Path) -> None:
    rows = select_rows(store_patch_set(pairs(2, patients=None, is_test=None), tmp_path), NORMALITY)
    assert rows.groups.tolist() == ["row-0", "row-0", "row-2", "row-2"]
    assert not rows.is_grouped
    assert rows.is_test is None


def test_abnormalities_with_one_baseline_share_a_group_wherever_it_stands(tmp_path: Path) -> None:
    raw = pairs(
        2, labels=np.array([1, 2, 0, 1]), partners=np.array([2, 2, -1, -1]), patients=None, is_test=None
    )
    rows = select_rows(store_patch_set(raw, tmp_path), NORMALITY)
    assert rows.groups.tolist() == ["row-0", "row-0", "row-0", "row-3"]


def test_without_patients_and_partners_every_row_is_its_own_group(tmp_path: Path) -> None:
    stored = store_patch_set(pairs(2, patients=None, partners=None, is_test=None), tmp_path)
    assert select_rows(stored, MALIGNANCY).groups.tolist() == ["row-1", "row-3"]


def test_a_set_with_one_class_has_no_rows_to_select(tmp_path: Path) -> None:
    stored = store_patch_set(pairs(1), tmp_path)
    with pytest.raises(OneClassError, match="benign_malignant needs at least two"):
        select_rows(stored, MALIGNANCY)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "below" / "file.txt"
    write_atomically(path, "old")

    def fail(self: Path, target: Path) -> Path:
        raise OSError("no")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no"):
        write_atomically(path, b"new")
    assert [(entry.name, entry.read_text()) for entry in path.parent.iterdir()] == [("file.txt", "old")]
