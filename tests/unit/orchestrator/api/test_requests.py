"""Requests from Python: options by name, requests, arrays in memory and functions as spaces."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestrator import SearchRequest, Task, plan_search, run_search
from orchestrator.api.arrays import check_arrays, store_arrays
from orchestrator.api.requests import Arrays, arrays_of, request_of
from search_spaces.enqueue import InitialPoint
from search_spaces.image_classifier import image_classifier
from search_spaces.recipes import recipes_of
from search_spaces.registry import name_of_function, space_named
from trainables.common.errors import ConfigError, DataError, OneClassError, UnknownNameError
from trainables.common.registered import forget, registered
from trainables.config.tasks import task_named
from trainables.data.sources import load_patch_set

BENIGN_MALIGNANT = task_named("benign_malignant")


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    yield
    for name in list(registered("space")):
        forget("space", name)


def small(images: int = 12) -> Arrays:
    pixels = np.arange(images * 32 * 32, dtype=np.uint16).reshape(images, 32, 32)
    return Arrays(pixels, np.arange(images) % 2, [f"p{row // 2}" for row in range(images)])


@pytest.mark.parametrize("options", [{}, {"recipes": "E004-VGG_BM_BEST"}, {"epochs": 5}])
def test_held_epochs_are_those_of_every_trial_the_recipes_too(options: dict[str, object]) -> None:
    request = request_of("benign_malignant", options={"fixed_params": ["training.epochs=100"], **options})
    (recipe,) = (own for own in recipes_of("benign_malignant") if own.name == "E004-VGG_BM_BEST")
    point = InitialPoint(recipe.name, recipe.points[0])

    assert request.epochs == 100
    assert point.configure(request.fixed_params, epochs=request.epochs).training.epochs == 100
    # Where a limit is below what is held, the recipe's own numbers are cut and those that are held are not.
    phased = InitialPoint("own", {**point.settings, "training.first_phase_epochs": 20})
    cut = phased.configure({"training.first_phase_epochs": 15}, epochs=9).training
    assert (cut.epochs, cut.first_phase_epochs) == (9, 15)


def test_a_task_with_options_is_a_request() -> None:
    request = request_of("idc", options={"trials": 3, "fixed_params": {"optimizer": {"lr": 0.1}}})
    assert (request.task, request.trials, request.data) == ("idc", 3, "phantom")
    assert request.fixed_params == {"optimizer.lr": 0.1}


def test_settings_are_held_as_they_are_typed_too() -> None:
    renamed = request_of("idc", options={"fixed_params": {"training": {"share": 0.5}}})
    assert renamed.fixed_params == {"training.train_fraction": 0.5}
    assert request_of("idc", options={"fixed_params": ["optimizer.lr=0.1"]}).fixed_params == {
        "optimizer.lr": 0.1
    }


def test_options_win_over_those_of_a_request() -> None:
    given = SearchRequest(task="idc", trials=3, folds=5, seed=2)
    request = request_of(given, "patches.npz", options={"trials": 7, "holdout": 0.3})
    assert (request.trials, request.holdout, request.folds) == (7, 0.3, None)
    assert (request.seed, request.data) == (2, "patches.npz")


def test_a_path_is_as_good_as_a_text(tmp_path: Path) -> None:
    request = request_of("idc", tmp_path / "a.npz", options={"runs": tmp_path, "store": str(tmp_path)})
    assert request.data == str(tmp_path / "a.npz")
    assert request.runs == request.store == tmp_path


def test_a_recipe_brings_its_protocol() -> None:
    request = request_of("benign_malignant", options={"recipes": "E004-VGG_BM_BEST"})
    assert request.recipes == ("E004-VGG_BM_BEST",)
    assert request.trials == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"trails": 3}, UnknownNameError, "unknown option 'trails'; did you mean 'trials'"),
        ({"trials": 0}, ConfigError, "--trials must be at least 1, found 0"),
        ({"fixed_params": {"optimizer.rate": 1}}, UnknownNameError, "optimizer.rate"),
        ({"recipes": ["nothing"]}, UnknownNameError, "nothing"),
        ({"name": " "}, ConfigError, "--name needs a value"),
    ],
)
def test_what_is_not_possible_is_refused(
    options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        request_of("benign_malignant", options=options)


def test_something_else_than_a_task_or_request_is_refused() -> None:
    with pytest.raises(ConfigError, match="a SearchRequest, a Task or the name of one is needed, found 3"):
        request_of(3, options={})  # type: ignore[arg-type]  # the wrong type is what is tested
    with pytest.raises(UnknownNameError, match="benign_malignant"):
        run_search("benign_malignat")


@pytest.mark.parametrize(("missing", "given"), [("labels", "images"), ("images", "labels")])
def test_arrays_come_together(missing: str, given: str) -> None:
    with pytest.raises(ConfigError, match=f"{missing} missing"):
        run_search("benign_malignant", **{given: np.zeros((2, 8, 8))})  # type: ignore[arg-type]  # name varies
    assert arrays_of(None, None, None) is None


def test_arrays_and_a_path_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"data patches\.npz and arrays are both given"):
        request_of("benign_malignant", "patches.npz", arrays=small(), options={})


def test_arrays_are_kept_once_and_read_by_the_ordinary_source(tmp_path: Path) -> None:
    first, again = (
        request_of("benign_malignant", arrays=small(), options={"store": tmp_path}) for _ in range(2)
    )
    other = request_of("benign_malignant", arrays=small(14), options={"store": tmp_path})
    assert first.data == again.data != other.data
    assert len(list(tmp_path.glob("arrays/*"))) == 2
    patch_set, _ = load_patch_set(str(first.data), task=BENIGN_MALIGNANT, label_codes=None, store=tmp_path)
    np.testing.assert_array_equal(patch_set.images, small().images)
    assert patch_set.patients is not None
    assert list(patch_set.patients) == small().patient


def test_labels_may_be_names_of_classes(tmp_path: Path) -> None:
    named = dataclasses.replace(small(), labels=["malignant", "benign"] * 6)
    request = request_of("benign_malignant", arrays=named, options={"store": tmp_path})
    assert request.label_codes == "task"
    with np.load(str(request.data)) as stored:
        assert list(stored["labels"]) == [1, 0] * 6


@pytest.mark.parametrize("kind", ["object", "string", "category"])
def test_labels_and_patients_may_be_series_of_pandas(kind: str, tmp_path: Path) -> None:
    arrays, names = small(), ["malignant", "benign"] * 6
    patient = pd.Series(list(arrays.patient), dtype=kind)
    named = check_arrays(arrays.images, pd.Series(names, dtype=kind), patient, BENIGN_MALIGNANT)
    assert named.labels.tolist() == [1, 0] * 6
    assert named.patient is not None
    assert named.patient.tolist() == list(arrays.patient)
    counted = check_arrays(arrays.images, pd.Series([1, 0] * 6, dtype="Int64"), patient, BENIGN_MALIGNANT)
    assert (counted.labels.dtype.kind, counted.is_by_name) == ("i", False)
    own = Task("grade", ("benign", "malignant"), positive="malignant")
    as_given = check_arrays(arrays.images, pd.Series(names, dtype=kind), patient, own)
    with np.load(store_arrays(as_given, tmp_path)) as stored:
        assert stored["labels"].tolist() == names


@pytest.mark.parametrize("hole", [None, float("nan"), pd.NA, pd.NaT], ids=str)
def test_a_missing_label_or_patient_is_refused_and_is_no_class_or_patient_of_its_own(hole: object) -> None:
    arrays = small()
    patient, names = [*arrays.patient[:-2], hole, hole], [*["malignant", "benign"] * 5, "benign", hole]
    with pytest.raises(DataError, match=r"patient must hold .* 2 of 12 are missing .*, at 10, 11; fill"):
        check_arrays(arrays.images, arrays.labels, patient, BENIGN_MALIGNANT)
    with pytest.raises(DataError, match=r"labels must hold .* 1 of 12 are missing .*, at 11; fill them in"):
        check_arrays(arrays.images, pd.Series(names, dtype=object), None, BENIGN_MALIGNANT)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 1]}, r"labels must hold one value an image, shape \(12,\), but has shape \(2,\)"),
        ({"patient": [["a"]] * 12}, "patient must hold one value an image"),
        ({"images": np.zeros((12, 8, 8, 4))}, r"found shape \(12, 8, 8, 4\) of float64"),
        ({"images": np.zeros((12, 8))}, "images must be one array of numbers"),
        ({"images": np.full((12, 8, 8), "a")}, "images must be one array of numbers"),
        ({"labels": ["malignant", "bening"] * 6}, "labels must be classes of benign_malignant.*found bening"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(changes: dict[str, object], message: str) -> None:
    arrays = dataclasses.replace(small(), **changes)  # type: ignore[arg-type]  # fields vary by case
    with pytest.raises(DataError, match=message):
        check_arrays(arrays.images, arrays.labels, arrays.patient, BENIGN_MALIGNANT)


def test_arrays_pass_the_checks_of_files(tmp_path: Path) -> None:
    alike = dataclasses.replace(small(), labels=np.zeros(12, dtype=int))
    options = {"store": tmp_path, "runs": tmp_path / "runs"}
    with pytest.raises(OneClassError):
        plan_search(
            "benign_malignant", images=alike.images, labels=alike.labels, patient=alike.patient, **options
        )
    assert not (tmp_path / "runs").exists()


def test_a_store_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arrays = small()
    checked = check_arrays(arrays.images, arrays.labels, arrays.patient, BENIGN_MALIGNANT)
    with pytest.raises(ConfigError, match="the arrays cannot be kept"):
        store_arrays(checked, tmp_path / "file")


def test_a_function_that_can_be_imported_is_named_after_its_module() -> None:
    name = name_of_function(image_classifier)
    assert name == "search_spaces.image_classifier:image_classifier"
    assert space_named(name).function is image_classifier
    assert name not in registered("space")


def test_a_function_of_this_program_is_found_by_its_name_while_it_lives() -> None:
    def own(trial: object, context: object) -> dict[str, object]:
        return {}

    request = request_of("idc", space=own, options={})  # type: ignore[arg-type]  # it is never called
    assert space_named(request.space_name).function is own
    forget("space", request.space_name)
    with pytest.raises(ConfigError, match=r"go on with it there: orchestrator\.resume_search\(RUN, space="):
        space_named(request.space_name)


def test_what_is_no_function_is_no_space() -> None:
    with pytest.raises(ConfigError, match="space must be a function"):
        request_of("idc", space=3, options={})  # type: ignore[arg-type]  # the wrong type is what is tested


def test_the_public_task_is_that_of_the_registry() -> None:
    assert isinstance(BENIGN_MALIGNANT, Task)
