"""The share of a fold's patients that a point of a learning curve trains on."""

import numpy as np
import pytest

from trainables.training.folds import training_positions

PATIENTS, FOLDS = 200, 4
PATIENT = np.repeat(np.arange(PATIENTS), 3)
GROUPS = np.array([f"P{number:03}" for number in PATIENT])
HELD_OUT = PATIENT % FOLDS
RARE = PATIENT % 25 == 1  # eight patients
LABELS = np.where(RARE & (np.arange(len(PATIENT)) % 3 == 0), 1, 0)  # one image of each has the class


@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("fold", range(FOLDS))
def test_a_share_keeps_the_rare_class_in_its_proportion(share: float, fold: int) -> None:
    kept = training_positions(HELD_OUT, LABELS, GROUPS, fold, share=share)
    of_all = training_positions(HELD_OUT, LABELS, GROUPS, fold)
    assert fold not in HELD_OUT[kept]
    rare, everyone = len(set(GROUPS[kept][LABELS[kept] == 1])), len(set(GROUPS[of_all][LABELS[of_all] == 1]))
    assert 1 <= rare <= max(1, np.ceil(share * everyone))
    assert rare >= np.floor(share * everyone)
    assert len(set(GROUPS[kept])) == max(2, round(share * len(set(GROUPS[of_all]))))


def test_a_smaller_share_is_part_of_a_larger_one_and_patients_stay_whole() -> None:
    small, large = (
        training_positions(HELD_OUT, LABELS, GROUPS, 0, share=share).tolist() for share in (0.05, 0.3)
    )
    assert set(small) < set(large)
    assert len(large) == 3 * len(set(GROUPS[large]))
