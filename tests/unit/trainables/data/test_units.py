"""Units of a set: which images belong together, what they are scored as, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.preflight.search_data import split_images
from orchestrator.request import parse_request
from trainables.common.errors import DataError, SplitError
from trainables.config.tasks import Task, task_named
from trainables.data.outer_folds import cut_outer_folds
from trainables.data.patches import PatchSet, RawPatches, TaskRows, select_rows, store_patch_set
from trainables.data.phantom import make_phantom
from trainables.data.sources import load_patch_set
from trainables.data.split_record import TEST, Split
from trainables.data.splits import make_split
from trainables.data.training_data import training_data_of
from trainables.data.units import images_of_units, only_class_of_units, scored_units, units_of

TASK = task_named("benign_malignant")
# Four views of a patient's two breasts, one view of a second patient's left one, in a mixed order.
PATIENTS = np.array(["a", "b", "a", "a", "a"])
SIDES = np.array(["L", "L", "R", "L", "R"])
LABELS = np.array([0, 1, 0, 0, 1])


def patches(folder: Path, **changes: object) -> PatchSet:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8)).astype(np.uint8)
    raw = RawPatches(images, LABELS, "task", patients=PATIENTS, columns={"laterality": SIDES})
    return store_patch_set(replace(raw, **changes), folder)  # type: ignore[arg-type] # fields by name


def test_a_breast_is_a_side_of_a_patient_and_the_largest_label_of_its_images(tmp_path: Path) -> None:
    stored = patches(tmp_path)
    rows = select_rows(stored, TASK)
    units = units_of(stored, rows, "breast", TASK)
    assert units is not None
    assert units.tolist() == [0, 1, 2, 0, 2]
    scored = scored_units(rows.rows, rows.labels, np.zeros(5, np.int64), rows.groups, units)
    assert scored.rows.tolist() == [0, 1, 2]
    assert scored.labels.tolist() == [0, 1, 1]
    assert scored.groups.tolist() == ["a", "b", "a"]
    images, places = images_of_units(rows, units, np.array([2, 0]))
    assert images.tolist() == [2, 4, 0, 3]
    assert places.tolist() == [0, 0, 1, 1]


def test_exams_part_the_breasts_of_a_patient_and_patients_need_no_column(tmp_path: Path) -> None:
    exams = {"laterality": SIDES, "exam": np.array(["1", "1", "1", "2", "1"])}
    stored = patches(tmp_path, columns=exams)
    rows = select_rows(stored, TASK)
    assert np.asarray(units_of(stored, rows, "breast", TASK)).tolist() == [0, 1, 2, 3, 2]
    assert np.asarray(units_of(stored, rows, "exam", TASK)).tolist() == [0, 1, 0, 2, 0]
    assert np.asarray(units_of(stored, rows, "patient", TASK)).tolist() == [0, 1, 0, 0, 0]
    assert units_of(stored, rows, "image", TASK) is None


def test_what_a_unit_needs_is_said_where_it_is_missing(tmp_path: Path) -> None:
    stored = patches(tmp_path)
    rows = select_rows(stored, TASK)
    with pytest.raises(DataError, match=r"--unit exam needs the column exam.*has the columns: laterality"):
        units_of(stored, rows, "exam", TASK)
    unknown = patches(tmp_path, columns={"laterality": np.array(["L", "", "R", "L", ""])})
    with pytest.raises(DataError, match="2 of 5 images of arrays have none, the first is row 1"):
        units_of(unknown, rows, "breast", TASK)
    without = patches(tmp_path, patients=None)
    with pytest.raises(DataError, match="--unit breast needs the patient of each image"):
        units_of(without, rows, "breast", TASK)


def test_classes_without_an_order_need_one_class_a_unit(tmp_path: Path) -> None:
    kinds = Task("kinds", ("x", "y", "z"), codes={0: "x", 1: "y", 2: "z"})
    stored = patches(tmp_path, labels=np.array([0, 1, 2, 0, 1]), label_codes="own")
    rows = select_rows(stored, kinds)
    with pytest.raises(DataError, match="1 breasts have images of several classes of kinds"):
        units_of(stored, rows, "breast", kinds)
    ordered = replace(kinds, is_ordinal=True)
    assert units_of(stored, rows, "breast", ordered) is not None


def test_a_split_that_cuts_a_breast_is_refused(tmp_path: Path) -> None:
    raw = make_phantom(patients=12, lesions_per_patient=2, size_px=32, views=2)
    stored = store_patch_set(raw, tmp_path)
    rows = select_rows(stored, TASK)
    split = make_split(
        rows, fingerprint=stored.fingerprint, task=TASK.name, folds=2, test_share=0.2, seed=0, is_naive=True
    )
    with pytest.raises(
        DataError, match=r"--unit breast keeps the images of a unit together.*cuts \d+ breasts"
    ):
        training_data_of(stored, TASK, split, "breast")


def breasts_with_few_benign_ones() -> TaskRows:
    """24 patients with one breast: of 16 two benign images and a malignant one, of 8 one benign image."""
    labels = np.array([0, 0, 1] * 16 + [0] * 8)
    breasts = np.concatenate([np.repeat(np.arange(16), 3), np.arange(16, 24)])
    patients = np.array([f"p{breast:02d}" for breast in breasts])
    return TaskRows(np.arange(56), labels, patients, None, is_grouped=True, units=breasts)


def malignant_breasts() -> TaskRows:
    """The same patients, each with a malignant image."""
    rows = breasts_with_few_benign_ones()
    return replace(rows, labels=np.where(np.arange(56) < 48, rows.labels, 1))


def split_into_four(rows: TaskRows, seed: int, **options: Any) -> Split:
    asked: dict[str, Any] = {"fingerprint": "f" * 64, "task": TASK, "folds": 4, "test_share": 0.2, **options}
    return make_split(rows, seed=seed, **asked)


def has_two_classes_of_units(rows: TaskRows, split: Split) -> bool:
    folds = split.folds_of(rows)
    return all(only_class_of_units(rows, folds == fold, TASK.classes) is None for fold in (TEST, *range(4)))


def test_every_fold_and_the_test_part_have_units_of_two_classes() -> None:
    rows = breasts_with_few_benign_ones()
    were_fine = []
    for seed in range(12):
        of_images, of_units = split_into_four(replace(rows, units=None), seed), split_into_four(rows, seed)
        assert has_two_classes_of_units(rows, of_units)
        were_fine.append(has_two_classes_of_units(rows, of_images))
        assert (of_images == of_units) == were_fine[-1]
    assert {False, True} == set(were_fine)


def test_units_of_one_class_are_refused_before_a_search() -> None:
    rows = malignant_breasts()
    with pytest.raises(SplitError, match=r"fold 0 would hold units of class malignant alone.*--unit image"):
        split_into_four(rows, 0, test_share=0.0)
    with pytest.raises(SplitError, match="validation would hold units of class malignant alone"):
        split_into_four(rows, 0, test_share=0.0, holdout=0.3)
    own_test = replace(breasts_with_few_benign_ones(), is_test=np.arange(56) < 9)
    with pytest.raises(SplitError, match="units of class malignant alone"):
        split_into_four(own_test, 0)
    with pytest.raises(SplitError, match=r"units of class malignant alone.*a task whose parts hold"):
        split_into_four(rows, 0, like=split_into_four(replace(rows, units=None), 0))


def test_a_split_asked_for_by_unit_is_checked_on_units(tmp_path: Path) -> None:
    rows = malignant_breasts()
    images = np.random.default_rng(0).integers(0, 256, (56, 8, 8)).astype(np.uint8)
    stored = store_patch_set(RawPatches(images, rows.labels, "task", patients=rows.groups), tmp_path)
    request = {"task": "benign_malignant", "data": "x", "folds": 4}
    assert split_images(parse_request(request), stored, select_rows(stored, TASK)).folds == 4
    with pytest.raises(SplitError, match="units of class malignant alone"):
        split_images(parse_request({**request, "unit": "patient"}), stored, select_rows(stored, TASK))


def test_outer_folds_have_units_of_two_classes() -> None:
    rows = breasts_with_few_benign_ones()
    for seed in range(12):
        outer = cut_outer_folds(rows, split_into_four(rows, seed, test_share=0.0), TASK, folds=4)
        assert all(only_class_of_units(rows, outer == fold, TASK.classes) is None for fold in range(4))


def test_single_images_are_scored_as_they_always_were(tmp_path: Path) -> None:
    stored = store_patch_set(make_phantom(patients=12, size_px=32), tmp_path)
    rows = select_rows(stored, TASK)
    split = make_split(rows, fingerprint=stored.fingerprint, task=TASK.name, folds=2, test_share=0.2, seed=0)
    data = training_data_of(stored, TASK, split)
    scored = data.scored
    assert scored.labels is data.labels
    assert scored.folds is data.folds
    assert scored.groups is data.groups
    np.testing.assert_array_equal(scored.rows, data.rows)


def test_a_phantom_of_two_views_has_breasts_of_one_class_and_other_pixels(tmp_path: Path) -> None:
    raw = make_phantom(patients=3, lesions_per_patient=2, size_px=32, views=2)
    assert raw.columns is not None
    assert raw.columns["view"][::2].tolist() == ["CC", "MLO"] * 6
    lesions = np.arange(1, len(raw.labels), 2)
    assert (raw.labels[lesions][::2] == raw.labels[lesions][1::2]).all()
    assert not (raw.images[1] == raw.images[3]).all()
    stored, _ = load_patch_set(
        "phantom:patients=3,lesions_per_patient=2,size_px=32,views=2",
        task=TASK,
        label_codes=None,
        store=tmp_path,
    )
    assert stored.columns is not None
    assert sorted(set(stored.columns["exam"].tolist())) == [f"phantom-00{one}-1" for one in range(3)]


@pytest.mark.parametrize(
    "sides",
    [
        np.array(["L", "nan", "R", "None"]),
        np.array([b"L", b"NaN", b"R", b" "]),
        np.array(["L", "unknown", "R", "Unknown "]),
        np.array([1, np.nan, 2, np.nan]),
    ],
)
def test_a_side_that_an_npz_file_does_not_know_is_refused_and_makes_no_breast(
    tmp_path: Path, sides: np.ndarray
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16)).astype(np.uint8)
    arrays = {"images": images, "labels": np.array([0, 1, 0, 1]), "patient": np.array(["a", "a", "b", "b"])}
    np.savez(tmp_path / "films.npz", **arrays, side=sides)
    stored, _ = load_patch_set(str(tmp_path / "films.npz"), task=TASK, label_codes="task", store=tmp_path)
    assert stored.columns is not None
    assert (stored.columns["laterality"] == "").tolist() == [False, True, False, True]
    with pytest.raises(DataError, match=r"2 of 4 images of films\.npz have none, the first is row 1"):
        units_of(stored, select_rows(stored, TASK), "breast", TASK)


def test_an_npz_file_brings_side_view_and_exam_under_their_usual_names(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16)).astype(np.uint8)
    arrays = {"images": images, "labels": np.array([0, 1, 0, 1]), "patient": np.array(["a", "a", "b", "b"])}
    sides = {"side": np.array(["LEFT", "right", "L", "R"]), "view": np.array(["CC", "MLO", "CC", ""])}
    np.savez(tmp_path / "films.npz", **arrays, **sides, exam_id=np.array([7, 7, 8, 8]))
    stored, _ = load_patch_set(str(tmp_path / "films.npz"), task=TASK, label_codes="task", store=tmp_path)
    assert stored.columns is not None
    assert stored.columns["laterality"].tolist() == ["L", "R", "L", "R"]
    assert stored.columns["view"].tolist() == ["CC", "MLO", "CC", ""]
    assert stored.columns["exam"].tolist() == ["7", "7", "8", "8"]
    np.savez(tmp_path / "short.npz", **arrays, side=np.array(["L"]))
    with pytest.raises(DataError, match=r"side must hold one value an image, shape \(4,\)"):
        load_patch_set(str(tmp_path / "short.npz"), task=TASK, label_codes="task", store=tmp_path)
