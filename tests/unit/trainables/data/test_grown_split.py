"""Data that have grown: who was known keeps his part, who is new gets one, and who was torn is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.common.errors import SplitError
from trainables.config.tasks import task_named
from trainables.data.grown_split import grow_split, known_parts
from trainables.data.patches import PatchSet, RawPatches, TaskRows, select_rows, store_patch_set
from trainables.data.shared_images import NOT_SHARED, rows_elsewhere
from trainables.data.split_record import TEST, TRAINING, Split, read_split, write_split
from trainables.data.splits import make_split

TASK = task_named("benign_malignant")
NOBODY = np.full(400, NOT_SHARED)


def rows_of(groups: list[str], *, is_grouped: bool = True) -> TaskRows:
    """Even patients benign, odd ones malignant."""
    places = np.arange(len(groups), dtype=np.int64)
    labels = np.array([int(group[1:]) % 2 for group in groups])
    return TaskRows(places, labels, np.array(groups), None, is_grouped=is_grouped)


def patients(*numbers: int) -> TaskRows:
    return rows_of([f"p{number:03d}" for number in numbers for _ in range(2)])


def split(rows: TaskRows, **changes: Any) -> Split:
    asked: dict[str, Any] = {"task": TASK, "folds": 4, "test_share": 0.2, "seed": 0}
    return make_split(rows, **{"fingerprint": "a" * 64, **asked, **changes})


def grown(rows: TaskRows, earlier: Split, **changes: Any) -> Split:
    known = known_parts(rows, earlier, None, NOBODY)
    asked: dict[str, Any] = {"test_share": 0.2, "seed": 5}
    return grow_split(
        rows, **{"fingerprint": "b" * 64, "task": TASK, "like": earlier, "known": known, **asked, **changes}
    )


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 60),
    st.sampled_from([{}, {"holdout": 0.3}, {"folds": 3, "test_share": 0.0}]),
    st.sampled_from([0.0, 0.2, 0.5]),
    st.integers(0, 2**40),
)
def test_who_was_known_keeps_his_part_and_everyone_new_gets_one(
    new: int, protocol: dict[str, Any], test_share: float, seed: int
) -> None:
    earlier = split(patients(*range(40)), **protocol)
    rows = patients(*range(30), *range(100, 100 + new))  # ten patients have left
    if not earlier.test_share and 0 < new < 12:
        test_share = 0.0  # so few make no test part of their own
    made = grown(rows, earlier, test_share=test_share, seed=seed)
    assert set(made.fold_of_group) == set(rows.groups)
    for group, part in made.fold_of_group.items():
        if group in earlier.fold_of_group:
            assert part == earlier.fold_of_group[group]
        else:
            assert part in {TEST, TRAINING, 0} if made.holdout else part in {TEST, *range(made.folds)}
    assert (made.folds, made.holdout) == (earlier.folds, earlier.holdout)
    assert sum(part["patients"] for part in made.counts.values()) == 30 + new


def test_new_patients_are_cut_as_the_earlier_ones_were_and_the_manifest_says_so(tmp_path) -> None:
    earlier = split(patients(*range(40)))
    made = grown(patients(*range(40), *range(100, 160)), earlier)
    new = [part for group, part in made.fold_of_group.items() if group >= "p100"]
    assert new.count(TEST) == 12  # a fifth of sixty
    assert [new.count(fold) for fold in range(4)] == [12] * 4
    assert made.fingerprint == "b" * 64
    write_split(tmp_path / "split.json", made)
    assert read_split(tmp_path / "split.json") == made


def test_a_few_new_patients_are_dealt_to_the_folds() -> None:
    earlier = split(patients(*range(40)))
    made = grown(patients(*range(40), 100, 101, 102), earlier, test_share=0.0)
    assert len({made.fold_of_group[f"p{number}"] for number in (100, 101, 102)}) == 3
    one = grown(patients(*range(40), 100), earlier, test_share=0.5)
    assert one.fold_of_group["p100"] >= 0  # a single one trains


@pytest.mark.parametrize("protocol", [{}, {"holdout": 0.3}])
def test_new_patients_with_one_image_of_each_class_train(protocol: dict[str, Any]) -> None:
    earlier = split(patients(*range(40)), **protocol)
    made = grown(rows_of([*patients(*range(40)).groups.tolist(), "p100", "p101"]), earlier)
    assert TEST not in (made.fold_of_group["p100"], made.fold_of_group["p101"])


def test_extra_images_of_new_patients_train_in_every_fold() -> None:
    earlier = split(patients(*range(40)))
    rows = patients(*range(40), 100, 101)
    rows = replace(rows, is_extra=np.isin(rows.groups, ["p100", "p101"]))
    made = grown(rows, earlier)
    assert {made.fold_of_group["p100"], made.fold_of_group["p101"]} == {TRAINING}


def test_a_known_patient_who_is_extra_by_now_is_scored_in_no_fold() -> None:
    earlier = split(patients(*range(40)))
    held_out, sealed = (
        next(name for name, fold in earlier.fold_of_group.items() if fold == part) for part in (0, TEST)
    )
    rows = patients(*range(40), 100, 101)
    made = grown(replace(rows, is_extra=rows.groups == held_out), earlier)
    assert made.fold_of_group[held_out] == TRAINING
    others = {group: part for group, part in earlier.fold_of_group.items() if group != held_out}
    assert {group: made.fold_of_group[group] for group in others} == others
    with pytest.raises(SplitError, match=f"1 patient of the extra images lay in the sealed.*{sealed}"):
        grown(replace(rows, is_extra=rows.groups == sealed), earlier)


def test_a_patient_of_grown_data_with_extra_images_and_others_is_refused() -> None:
    earlier, rows = split(patients(*range(40))), patients(*range(40), 100, 101)
    with pytest.raises(SplitError, match="both among the extra images and among those that are scored: p100"):
        grown(replace(rows, is_extra=np.arange(len(rows.rows)) == 80), earlier)


def test_the_own_test_part_of_grown_data_is_sealed_unless_a_model_has_seen_it() -> None:
    earlier = split(patients(*range(40)))
    rows = patients(*range(40), 100, 101)
    own = replace(rows, is_test=np.isin(rows.groups, ["p100", "p101"]))
    made = grown(own, earlier)
    assert made.has_own_test
    assert {made.fold_of_group["p100"], made.fold_of_group["p101"]} == {TEST}
    assert all(made.fold_of_group[group] == part for group, part in earlier.fold_of_group.items())
    trained = next(group for group, part in earlier.fold_of_group.items() if part == 0)
    with pytest.raises(SplitError, match=f"holds 1 that are trained on.*{trained}"):
        grown(replace(rows, is_test=rows.groups == trained), earlier)


def test_a_part_without_a_class_is_named() -> None:
    earlier = split(patients(*range(40)), folds=2, test_share=0.0)
    benign = [f"p{number:03d}" for number in range(40) if earlier.fold_of_group[f"p{number:03d}"] == 0]
    rows = rows_of([group for group in benign if int(group[1:]) % 2 == 0] + ["p101"] * 3)
    with pytest.raises(SplitError, match=r"would hold no .*use --test-share 0, or start from no earlier run"):
        grown(rows, earlier, test_share=0.0)


def stored(folder, images, groups: list[str] | None) -> PatchSet:
    labels = np.arange(len(images)) % 2
    names = None if groups is None else np.array(groups)
    return store_patch_set(RawPatches(images, labels, "task", patients=names, source="test"), folder)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (12, 8, 8), dtype=np.uint8)


def test_images_are_found_wherever_they_lie(tmp_path, images) -> None:
    first = stored(tmp_path, images[:8], None)
    other = images[[3, 11, 0, 0]].copy()
    other[3, 0, 0] ^= 1  # one pixel
    second = stored(tmp_path, other, None)
    assert rows_elsewhere(second, first).tolist() == [3, NOT_SHARED, 0, NOT_SHARED]
    wider = stored(tmp_path, images[:4].reshape(4, 4, 16), None)
    assert set(rows_elsewhere(wider, first).tolist()) == {NOT_SHARED}
    deeper = stored(tmp_path, images[:4].astype(np.uint16), None)
    assert set(rows_elsewhere(deeper, first).tolist()) == {NOT_SHARED}


def test_turned_images_are_found_and_blank_ones_are_of_nobody(tmp_path, images) -> None:
    blank = np.full((2, 8, 8), 7, np.uint8)
    first = stored(tmp_path, np.concatenate([images[:4], blank[:1]]), None)
    turned = [np.rot90(images[2]), images[1][:, ::-1], np.rot90(images[0], 3)[:, ::-1], images[9][::-1]]
    second = stored(tmp_path, np.stack([*turned, blank[0], images[3]]), None)
    assert rows_elsewhere(second, first).tolist() == [2, 1, 0, NOT_SHARED, NOT_SHARED, 3]


def test_rows_of_measurements_are_compared_as_they_are(tmp_path) -> None:
    table = np.arange(6, dtype=np.float32)[:, None]
    first, second = stored(tmp_path, table[:4], None), stored(tmp_path, table[[5, 2]], None)
    assert rows_elsewhere(second, first).tolist() == [NOT_SHARED, 2]


def test_blank_images_of_patients_in_two_folds_do_not_tear_a_grown_set(tmp_path, images) -> None:
    random = np.random.default_rng(1)
    count = 40
    pixels = random.integers(0, 255, (count, 8, 8), dtype=np.uint8)
    names = [f"p{number:03d}" for number in range(count)]
    before = stored(tmp_path, pixels, names)
    earlier = split(select_rows(before, TASK), fingerprint=before.fingerprint)
    parts = earlier.fold_of_group
    torn = next(name for name in names if parts[name] != parts["p000"])
    more = [*names, "p000", torn]
    after = stored(tmp_path, np.concatenate([pixels, np.zeros((2, 8, 8), np.uint8)]), more)
    with_blanks = stored(tmp_path, np.concatenate([pixels, np.zeros((1, 8, 8), np.uint8)]), [*names, "p000"])
    rows = select_rows(after, TASK)
    for theirs in (before, with_blanks):
        known = known_parts(rows, earlier, select_rows(theirs, TASK), rows_elsewhere(after, theirs))
        assert known == parts


def tied(names: list[str], leaders: list[str]) -> TaskRows:
    """Rows of patients, some of whom share a picture with the leader of their group."""
    return replace(rows_of(leaders), patients=np.array(names))


def test_every_patient_of_a_group_that_shares_a_picture_is_looked_up() -> None:
    earlier = split(patients(*range(40)))
    parts = earlier.fold_of_group
    now = tied(["q900", "p001"], ["q900", "q900"])
    assert known_parts(now, earlier, None, NOBODY) == {"q900": parts["p001"]}
    other = next(name for name, part in parts.items() if part != parts["p001"])
    with pytest.raises(SplitError, match="1 group of images lay in several parts of the earlier split: p001"):
        known_parts(tied(["p001", other], ["p001", "p001"]), earlier, None, NOBODY)
    names = [f"p{number:03d}" for number in range(40)]
    before = tied([*names, "p800"], [*names, "p001"])
    again = rows_of(["p800"])
    assert known_parts(again, earlier, before, NOBODY) == {"p800": parts["p001"]}


def test_patients_are_known_by_their_images_under_other_names_and_without_names() -> None:
    before = rows_of([f"p{number:03d}" for number in range(40)], is_grouped=True)
    earlier = split(before)
    later = rows_of([f"q{number:03d}" for number in range(60)])
    same = np.concatenate([np.arange(40)[::-1], np.full(20, NOT_SHARED)])
    known = known_parts(later, earlier, before, same)
    assert known == {f"q{39 - number:03d}": earlier.fold_of_group[f"p{number:03d}"] for number in range(40)}
    unnamed = replace(later, is_grouped=False)
    assert known_parts(unnamed, earlier, before, same) == known
    assert known_parts(rows_of(["p001"], is_grouped=False), earlier, None, NOBODY) == {}  # a chance name


def test_a_patient_whose_images_lay_in_several_parts_is_refused() -> None:
    before = rows_of([f"p{number:03d}" for number in range(40)])
    earlier = split(before)
    parts = earlier.fold_of_group
    one = next(number for number in range(40) if parts[f"p{number:03d}"] == 0)
    other = next(number for number in range(40) if parts[f"p{number:03d}"] == 1)
    with pytest.raises(SplitError, match="1 group of images lay in several parts of the earlier split: q001"):
        known_parts(rows_of(["q001", "q001"]), earlier, before, np.array([one, other]))
