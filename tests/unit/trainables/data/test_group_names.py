"""What a group of images is: a patient, or without patients an image or several that belong together."""

import numpy as np
import pytest

from trainables.config.tasks import task_named
from trainables.data.group_names import group_unit, named_by_rows
from trainables.data.patches import RawPatches, select_rows, store_patch_set
from trainables.data.splits import make_split
from trainables.data.training_data import training_data_of

TASK = "benign_malignant"


def raw_patches(*, patients: bool) -> RawPatches:
    random = np.random.default_rng(0)
    names = np.array([f"P{row // 2}" for row in range(40)]) if patients else None
    images = random.integers(0, 255, (40, 8, 8)).astype(np.uint8)
    return RawPatches(images, np.arange(40) // 2 % 2, "task", patients=names, source="noise")


@pytest.mark.parametrize("is_naive", [False, True])
@pytest.mark.parametrize(("patients", "noun"), [(True, "patient"), (False, "image")])
def test_predictions_are_of_patients_where_these_are_known_however_the_set_is_split(
    tmp_path, patients, noun, is_naive
):
    patch_set, task = store_patch_set(raw_patches(patients=patients), tmp_path), task_named(TASK)
    split = make_split(
        select_rows(patch_set, task),
        fingerprint=patch_set.fingerprint,
        task=TASK,
        folds=2,
        test_share=0.0,
        seed=0,
        is_naive=is_naive,
    )
    assert group_unit(training_data_of(patch_set, task, split).groups) == noun


def test_images_that_stay_together_without_a_patient_are_a_group():
    assert group_unit(named_by_rows([0, 0, 2])) == "image group"
    assert group_unit(named_by_rows([0, 1, 2])) == "image"


@pytest.mark.parametrize("names", [["row-1", "P7"], ["row-1", "row-x"], ["1", "2"], []])
def test_any_other_names_are_those_of_patients(names):
    assert group_unit(np.array(names)) == "patient"
