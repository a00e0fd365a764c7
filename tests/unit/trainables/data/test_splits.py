"""Splits: no group is torn apart, every part has every class, and a manifest cannot be changed unseen."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.common.errors import SplitError, UnknownNameError
from trainables.common.seeds import LARGEST_SEED
from trainables.data import splits as module
from trainables.data.group_names import named_by_rows
from trainables.data.patches import TaskRows
from trainables.data.split_record import TEST, Split, read_split, write_split
from trainables.data.splits import make_split
from trainables.data.stratified_cut import drawn_groups, grouped_cut

TASK = "benign_malignant"


def rows_of(groups: list[str], labels: list[int], *, is_test: list[bool] | None = None) -> TaskRows:
    return TaskRows(
        rows=np.arange(len(labels), dtype=np.int64),
        labels=np.array(labels, dtype=np.int64),
        groups=np.array(groups),
        is_test=None if is_test is None else np.array(is_test),
        is_grouped=True,
    )


def patients(count: int, *, per_patient: int = 2) -> TaskRows:
    """Patients with `per_patient` images each; even patients benign, odd ones malignant."""
    groups = [f"p{number:03d}" for number in range(count) for _ in range(per_patient)]
    return rows_of(groups, [int(group[1:]) % 2 for group in groups])


def split(rows: TaskRows, *, folds: int = 4, test_share: float = 0.2, seed: int = 0) -> Split:
    return make_split(rows, fingerprint="f" * 64, task=TASK, folds=folds, test_share=test_share, seed=seed)


@st.composite
def cohorts(draw: st.DrawFn) -> TaskRows:
    """40 to 80 patients with one to four images, benign or malignant as each image likes."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=40, max_size=80))
    groups = [f"p{number}" for number, size in enumerate(sizes) for _ in range(size)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.floats(0.35, 0.65))
    return rows_of(groups, (rng.random(len(groups)) < share).astype(int).tolist())


def test_groups_are_cut_with_any_seed_that_a_search_takes() -> None:
    rows = patients(20)
    cuts = [grouped_cut(rows.labels, rows.groups, 4, seed) for seed in (7, 2**32 + 7, LARGEST_SEED)]
    assert cuts[0] == cuts[1]
    assert set(cuts[2].values()) == set(range(4))


def test_one_image_of_each_class_cannot_be_parted() -> None:
    with pytest.raises(SplitError, match="need at least 2 images of some class, the largest class has 1"):
        drawn_groups(np.array([0, 1]), np.array(["p0", "p1"]), 0.5, 0)


@settings(max_examples=25, deadline=None)
@given(cohorts(), st.integers(2, 5), st.sampled_from([0.0, 0.15, 0.2, 0.4]), st.integers(0, 2**40))
def test_any_split_keeps_groups_whole_and_classes_balanced(
    rows: TaskRows, folds: int, test_share: float, seed: int
) -> None:
    made = split(rows, folds=folds, test_share=test_share, seed=seed)
    parts = made.fold_of(rows.groups)
    assert set(parts.tolist()) == set(range(folds)) | ({TEST} if test_share else set())
    assert set(made.fold_of_group) == set(rows.groups.tolist())
    training = parts != TEST
    if test_share:
        assert abs(np.mean(~training) - test_share) < 0.1
    for fold in range(folds):
        for label in (0, 1):
            expected = np.sum(training & (rows.labels == label)) / folds
            assert abs(np.sum((parts == fold) & (rows.labels == label)) - expected) <= 5


def test_the_same_seed_gives_the_same_split_and_another_seed_another_one() -> None:
    rows = patients(40)
    assert split(rows, seed=3) == split(rows, seed=3)
    assert len({tuple(split(rows, seed=seed).fold_of(rows.groups).tolist()) for seed in range(5)}) == 5


def test_the_order_of_rows_does_not_matter_for_who_is_where() -> None:
    rows = patients(20, per_patient=1)
    back = rows_of(rows.groups[::-1].tolist(), rows.labels[::-1].tolist())
    assert split(back).fold_of_group == split(rows).fold_of_group


def test_no_test_share_seals_nothing() -> None:
    made = split(patients(12), test_share=0.0)
    assert TEST not in made.fold_of_group.values()
    assert "test" not in made.counts


def test_counts_say_how_many_patients_and_images_each_part_has() -> None:
    made = split(patients(20))
    assert made.counts["test"] == {"patients": 4, "benign": 4, "malignant": 4}
    assert sum(counts["patients"] for counts in made.counts.values()) == 20


def test_the_sources_own_test_rows_are_the_test_part() -> None:
    rows = patients(16)
    own = [group in ("p000", "p001") for group in rows.groups]
    made = split(rows_of(rows.groups.tolist(), rows.labels.tolist(), is_test=own), test_share=0.5)
    assert made.has_own_test
    assert {group for group, fold in made.fold_of_group.items() if fold == TEST} == {"p000", "p001"}


def test_a_patient_in_both_parts_of_the_source_is_named() -> None:
    rows = patients(16)
    own = [row in (0, 2, 3) for row in range(32)]
    with pytest.raises(
        SplitError, match="1 patient in both the training and the test part of the source: p000;"
    ):
        split(rows_of(rows.groups.tolist(), rows.labels.tolist(), is_test=own))


def test_an_own_test_part_with_one_class_is_refused() -> None:
    rows = patients(16)
    own = [group == "p001" for group in rows.groups]
    with pytest.raises(SplitError, match="test would hold no benign among its 1 patient; use another --test"):
        split(rows_of(rows.groups.tolist(), rows.labels.tolist(), is_test=own))


def test_fewer_patients_than_folds_are_counted() -> None:
    with pytest.raises(
        SplitError, match="the training part has 3 patients, 4 folds need at least 4; use --folds 3"
    ):
        split(rows_of(["a", "a", "b", "b", "c", "c"], [0, 1] * 3), test_share=0.0)


def test_fewer_patients_of_a_class_than_folds_are_counted() -> None:
    rows = rows_of([f"p{number}" for number in range(12)], [1, 1] + [0] * 10)
    with pytest.raises(
        SplitError, match="has 2 patients with class malignant, 4 folds need at least 4; use --folds 2"
    ):
        split(rows, test_share=0.0)


def test_a_single_patient_cannot_be_split_at_all() -> None:
    with pytest.raises(SplitError, match=r"the training part has 1 patient, 2 folds need .*; add patients"):
        split(rows_of(["a", "a"], [0, 1]), folds=2, test_share=0.0)


def test_one_patient_of_a_class_cannot_be_in_the_test_part_too() -> None:
    rows = rows_of([f"p{number}" for number in range(9)], [1] + [0] * 8)
    with pytest.raises(
        SplitError, match=r"the data have 1 patient with class malignant, a test share of 0\.2"
    ):
        split(rows)


def uneven_cut(labels: object, groups: np.ndarray, parts: int, seed: int) -> dict[str, int]:
    """A cut that puts everything into the first part."""
    return dict.fromkeys(groups.tolist(), 0)


def test_a_fold_without_a_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "grouped_cut", uneven_cut)
    with pytest.raises(
        SplitError, match="fold 1 would hold no benign and no malignant among its 0 patients; use"
    ):
        split(patients(20), test_share=0.0)


def test_an_unlucky_cut_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = [module.grouped_cut, uneven_cut, uneven_cut]

    def cut(labels: np.ndarray, groups: np.ndarray, parts: int, seed: int) -> dict[str, int]:
        return cuts.pop()(labels, groups, parts, seed)

    monkeypatch.setattr(module, "grouped_cut", cut)
    assert len(split(patients(20), test_share=0.0).counts) == 4


@pytest.mark.parametrize(("images", "noun"), [(1, "image"), (2, "image group")])
def test_a_split_without_patients_names_its_groups_by_what_they_hold(images: int, noun: str) -> None:
    places = np.arange(40)
    groups = named_by_rows((places // images * images).tolist())
    found = split(TaskRows(places, places // images % 2, groups, None, is_grouped=False))
    assert found.unit == noun
    assert "image groups" in found.counts["fold 0"]  # as files of earlier versions have it


def test_image_groups_are_called_so_where_patients_are_unknown() -> None:
    rows = TaskRows(np.arange(2), np.array([0, 1]), np.array(["row-0", "row-1"]), None, is_grouped=False)
    with pytest.raises(SplitError, match="the training part has 2 image groups, 4 folds"):
        split(rows, test_share=0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 1}, "at least 2 folds, 1 asked for"),
        ({"test_share": 1.0}, r"test share must be in \[0, 1\), found 1"),
        ({"test_share": -0.1}, r"test share must be in \[0, 1\), found -0.1"),
        ({"seed": -1}, "seed of a split must be 0 or more, found -1"),
    ],
)
def test_requests_out_of_range_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        split(patients(20), **arguments)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'benign_malignant'"):
        make_split(patients(20), fingerprint="", task="benign_malignent", folds=4, test_share=0.2, seed=0)


def test_a_group_the_split_does_not_know_is_named() -> None:
    with pytest.raises(SplitError, match="the split knows no patient 'stranger'; it was made for other data"):
        split(patients(20)).fold_of(["p001", "stranger"])


def test_a_split_is_for_its_own_data_only() -> None:
    made = split(patients(20))
    made.check_fingerprint("f" * 64)
    with pytest.raises(SplitError, match="made for data ffffffffffff, the data at hand are 000000000000"):
        made.check_fingerprint("0" * 64)


def test_a_manifest_reads_back_as_the_same_split(tmp_path: Path) -> None:
    made = split(patients(20))
    write_split(tmp_path / "split.json", made)
    assert read_split(tmp_path / "split.json") == made
    assert "test" in json.loads((tmp_path / "split.json").read_text())["fold_of_group"].values()


@pytest.mark.parametrize("setting", ["fold_of_group", "seed", "counts", "fingerprint"])
def test_a_hand_edited_manifest_is_refused(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "split.json"
    write_split(path, split(patients(20)))
    content = json.loads(path.read_text())
    if setting == "fold_of_group":
        sealed = next(group for group, fold in content[setting].items() if fold == "test")
        content[setting][sealed] = 0
    else:
        content[setting] = {"counts": {}, "seed": 1, "fingerprint": "0" * 64}[setting]
    path.write_text(json.dumps(content))
    with pytest.raises(SplitError, match="was changed after it was written: its digest does not fit"):
        read_split(path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", "3", pytest.param("[" * 100_000, id="deep")])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(SplitError, match=r"not a split manifest .*; to make it again .*: orchestrate resume"):
        read_split(tmp_path / "split.json")


def test_a_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SplitError, match=r"no split at .*split\.json; to make it again .*: orchestrate resume"
    ):
        read_split(tmp_path / "split.json")
