"""Hold-out, the naive split and a split taken over: who may be torn apart, and who never."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.common.errors import SplitError
from trainables.data.patches import TaskRows
from trainables.data.split_checks import trained_and_predicted
from trainables.data.split_record import TEST, TRAINING, Split, read_split, write_split
from trainables.data.splits import make_split

pytestmark = pytest.mark.slow


def rows_of(groups: list[str], labels: list[int]) -> TaskRows:
    places = np.arange(len(labels), dtype=np.int64)
    return TaskRows(places, np.array(labels), np.array(groups), None, is_grouped=True)


def patients(count: int, *, per_patient: int = 2) -> TaskRows:
    """Even patients benign, odd ones malignant."""
    groups = [f"p{number:03d}" for number in range(count) for _ in range(per_patient)]
    return rows_of(groups, [int(group[1:]) % 2 for group in groups])


def only(rows: TaskRows, chosen: Any) -> TaskRows:
    return replace(rows, rows=rows.rows[chosen], labels=rows.labels[chosen], groups=rows.groups[chosen])


def split(rows: TaskRows, **changes: Any) -> Split:
    asked: dict[str, Any] = {"task": "benign_malignant", "folds": 4, "test_share": 0.2, "seed": 0}
    return make_split(rows, **{"fingerprint": "f" * 64, **asked, **changes})


@st.composite
def cohorts(draw: st.DrawFn, fewest: int = 1) -> TaskRows:
    """40 to 80 patients with up to four images each."""
    sizes = draw(st.lists(st.integers(fewest, 4), min_size=40, max_size=80))
    groups = [f"p{number}" for number, size in enumerate(sizes) for _ in range(size)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rows_of(groups, (rng.random(len(groups)) < 0.5).astype(int).tolist())


@settings(max_examples=25, deadline=None)
@given(cohorts(), st.sampled_from([0.2, 0.3, 0.5]), st.sampled_from([0.0, 0.2]), st.integers(0, 2**40))
def test_a_hold_out_never_tears_a_patient_and_keeps_the_classes_in_proportion(
    rows: TaskRows, holdout: float, test_share: float, seed: int
) -> None:
    made = split(rows, holdout=holdout, test_share=test_share, seed=seed)
    folds = made.folds_of(rows)
    assert made.folds == 1
    assert set(folds.tolist()) == {TRAINING, 0} | ({TEST} if test_share else set())
    assert all(len(set(folds[rows.groups == patient].tolist())) == 1 for patient in set(rows.groups.tolist()))
    remaining = folds != TEST
    for label in (0, 1):
        of_class = remaining & (rows.labels == label)
        assert abs(np.mean(folds[of_class] == 0) - holdout) < 0.2


@pytest.mark.parametrize(
    ("holdout", "test_share", "expected"),
    [
        (0.3, 0.0, {"training": 70, "validation": 30}),
        (0.2, 0.0, {"training": 80, "validation": 20}),
        (0.111, 0.1, {"training": 80, "validation": 10, "test": 10}),
    ],
)
def test_the_shares_of_the_literature_are_met(
    holdout: float, test_share: float, expected: dict[str, int]
) -> None:
    made = split(patients(100), holdout=holdout, test_share=test_share)
    found = {part: counts["patients"] for part, counts in made.counts.items()}
    assert found == pytest.approx(expected, abs=2)  # the splitter balances images of classes, not patients
    assert sum(found.values()) == 100


@settings(max_examples=25, deadline=None)
@given(cohorts(fewest=2), st.sampled_from([None, 0.3]), st.integers(0, 2**40))
def test_a_naive_split_tears_a_patient_apart_and_a_grouped_one_does_not(
    rows: TaskRows, holdout: float | None, seed: int
) -> None:
    def torn(made: Split) -> int:
        folds = made.folds_of(rows)
        return sum(len(set(folds[rows.groups == patient].tolist())) > 1 for patient in set(rows.groups))

    naive = split(rows, holdout=holdout, is_naive=True, seed=seed)
    assert torn(naive) > 0
    assert torn(split(rows, holdout=holdout, seed=seed)) == 0
    assert set(naive.fold_of_group) == {f"row-{row}" for row in rows.rows}


def test_a_naive_split_counts_images_and_balances_them() -> None:
    made = split(patients(40), is_naive=True)
    assert not made.is_grouped
    assert made.unit == "image"
    assert [counts["images"] for counts in made.counts.values()] == [16] * 5
    assert all(counts["benign"] == counts["malignant"] == 8 for counts in made.counts.values())


def test_a_naive_split_tears_a_baseline_from_its_abnormality() -> None:
    pairs = replace(patients(40), groups=np.repeat([f"row-{2 * pair}" for pair in range(40)], 2))
    rows = replace(pairs, labels=np.tile([0, 1], 40), is_grouped=False)
    folds = split(rows, is_naive=True).folds_of(rows).reshape(40, 2)
    assert (folds[:, 0] != folds[:, 1]).any()
    grouped = split(rows).folds_of(rows).reshape(40, 2)
    assert (grouped[:, 0] == grouped[:, 1]).all()


def test_a_source_whose_test_set_shares_patients_is_split_naively_or_not_at_all() -> None:
    rows = replace(
        patients(40), is_test=np.arange(80) % 8 < 3
    )  # every fourth patient lies on both sides of the cut
    with pytest.raises(
        SplitError, match=r"10 patients in both the training and the test part .*: p001, p005"
    ):
        split(rows)
    made = split(rows, is_naive=True)
    assert made.has_own_test
    np.testing.assert_array_equal(made.folds_of(rows) == TEST, rows.is_test)


def test_rows_of_a_naive_split_that_it_does_not_know_are_named() -> None:
    made = split(patients(20), is_naive=True)
    with pytest.raises(SplitError, match="the split knows no image 'row-40'; it was made for other data"):
        made.folds_of(patients(21))


@pytest.mark.parametrize("protocol", [{}, {"holdout": 0.3}, {"is_naive": True}, {"test_share": 0.0}])
def test_a_split_taken_over_equals_the_other_whatever_else_is_asked(protocol: dict[str, Any]) -> None:
    rows = patients(40)
    other = split(rows, seed=5, **protocol)
    assert split(rows, seed=9, folds=3, holdout=0.5, test_share=0.4, like=other) == other


def test_a_split_taken_over_for_fewer_rows_keeps_everyone_where_they_were() -> None:
    rows = patients(80)
    other = split(rows, task="mass_calcification", holdout=0.3)
    some = only(rows, np.arange(160) % 16 < 12)
    made = split(some, like=other)
    np.testing.assert_array_equal(made.folds_of(some), other.folds_of(some))
    assert made.task == "benign_malignant"
    assert sum(counts["patients"] for counts in made.counts.values()) == len(set(some.groups.tolist())) == 60
    assert {"benign", "malignant"} < set(made.counts["validation"])


def test_a_split_of_other_data_is_not_taken_over() -> None:
    rows = patients(20)
    with pytest.raises(SplitError, match="made for data ffffffffffff, the data at hand are 000000000000"):
        split(rows, fingerprint="0" * 64, like=split(rows))


def test_patients_that_the_other_split_does_not_know_are_named() -> None:
    with pytest.raises(
        SplitError, match=r"2 of 22 patients of benign_malignant have no part in the split of .*: p020, p021;"
    ):
        split(patients(22), like=split(patients(20)))


def test_a_part_that_lacks_a_class_of_this_task_is_refused() -> None:
    rows = patients(20)
    other = split(rows)
    labels = (other.folds_of(rows) == 2).astype(np.int64)
    with pytest.raises(SplitError, match=r"fold 0 would hold no malignant among its 4 patients; take over"):
        split(replace(rows, labels=labels), like=other)


@pytest.mark.parametrize("protocol", [{}, {"holdout": 0.3}])
def test_images_that_are_extra_in_this_task_are_scored_in_no_part_that_is_taken_over(
    protocol: dict[str, Any],
) -> None:
    rows = patients(40)
    other = split(rows, **protocol)
    held_out, sealed = (
        next(group for group, fold in other.fold_of_group.items() if fold == part) for part in (0, TEST)
    )
    made = split(replace(rows, is_extra=rows.groups == held_out), like=other)
    assert made.fold_of_group == dict(other.fold_of_group) | {held_out: TRAINING}
    with pytest.raises(SplitError, match=f"1 patient of the extra images lay in the sealed.*{sealed}"):
        split(replace(rows, is_extra=rows.groups == sealed), like=other)
    with pytest.raises(SplitError, match="both among the extra images and among those that are scored: p000"):
        split(replace(rows, is_extra=np.arange(80) == 0), like=other)


def test_a_split_that_trains_on_the_own_test_images_of_this_task_is_not_taken_over() -> None:
    rows = patients(40)
    other = split(rows)
    trained, sealed = (
        next(group for group, fold in other.fold_of_group.items() if fold == part) for part in (0, TEST)
    )
    with pytest.raises(SplitError, match=f"holds 1 that are trained on, here or in the earlier.*{trained}"):
        split(replace(rows, is_test=rows.groups == trained), like=other)
    torn = replace(rows, is_test=(rows.groups == sealed) & (np.arange(80) % 2 == 0))
    with pytest.raises(SplitError, match=f"holds 1 that are trained on, here or in the earlier.*{sealed}"):
        split(torn, like=other)
    made = split(replace(rows, is_test=rows.groups == sealed), like=other)
    assert made.fold_of_group == other.fold_of_group


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2])
def test_a_hold_out_of_nothing_or_all_is_refused(share: float) -> None:
    with pytest.raises(
        SplitError, match=f"hold-out must lie between 0 and 1, found {share:g}; use --holdout"
    ):
        split(patients(20), holdout=share)


def test_too_few_patients_for_a_hold_out_are_counted() -> None:
    rows = rows_of(["a", "b", "c"], [0, 0, 1])
    with pytest.raises(SplitError, match=r"has 1 patient with class malignant, a hold-out of 0\.3 needs at"):
        split(rows, holdout=0.3, test_share=0.0)


def test_a_validation_part_without_a_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.data.splits.drawn_groups", lambda *_: {"p000"})
    with pytest.raises(
        SplitError, match="validation would hold no malignant among its 1 patient; use another --holdout"
    ):
        split(patients(20), holdout=0.3, test_share=0.0)


@pytest.mark.parametrize("protocol", [{"holdout": 0.3}, {"is_naive": True}])
def test_the_manifest_of_each_protocol_reads_back(tmp_path: Path, protocol: dict[str, Any]) -> None:
    made = split(patients(20), **protocol)
    write_split(tmp_path / "split.json", made)
    assert read_split(tmp_path / "split.json") == made
    written = json.loads((tmp_path / "split.json").read_text())
    assert set(written["fold_of_group"].values()) == (
        {"training", 0, "test"} if "holdout" in protocol else {0, 1, 2, 3, "test"}
    )


def test_a_manifest_from_before_the_protocols_is_a_grouped_one(tmp_path: Path) -> None:
    from trainables.data.split_record import _digest

    made = split(patients(20))
    content = {name: value for name, value in asdict(made).items() if name not in ("holdout", "is_naive")}
    content["fold_of_group"] = {g: "test" if f == TEST else f for g, f in made.fold_of_group.items()}
    (tmp_path / "split.json").write_text(json.dumps({"digest": _digest(content), **content}))
    assert read_split(tmp_path / "split.json") == made


def test_images_of_an_epoch_are_those_trained_on_and_those_held_out() -> None:
    rows = patients(50)
    assert trained_and_predicted(split(rows).folds_of(rows)) == (240, 80)
    held_out = split(rows, holdout=0.25).folds_of(rows)
    assert trained_and_predicted(held_out) == (int((held_out == TRAINING).sum()), int((held_out == 0).sum()))
