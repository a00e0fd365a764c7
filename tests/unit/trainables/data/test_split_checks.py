"""Warnings about a split: uneven parts, and few patients of a class."""

from typing import Any

import numpy as np
import pytest

from trainables.data.patches import TaskRows
from trainables.data.split_checks import split_warnings
from trainables.data.splits import make_split

CLASSES = ("benign", "malignant")


def warnings_of(
    groups: list[str], labels: list[int], *, is_test: list[bool] | None = None, **protocol: Any
) -> list[str]:
    rows = TaskRows(
        rows=np.arange(len(labels), dtype=np.int64),
        labels=np.array(labels, dtype=np.int64),
        groups=np.array(groups),
        is_test=None if is_test is None else np.array(is_test),
        is_grouped=True,
    )
    asked = {"folds": 4, "test_share": 0.2, "seed": 0} | protocol
    split = make_split(rows, fingerprint="f" * 64, task="benign_malignant", **asked)
    return split_warnings(rows, split, CLASSES)


def test_a_large_even_set_has_no_warning() -> None:
    groups = [f"p{number // 2}" for number in range(400)]
    assert warnings_of(groups, [number // 2 % 2 for number in range(400)]) == []


def test_one_dominating_patient_is_named() -> None:
    groups = ["big"] * 400 + [f"p{number // 2}" for number in range(400)]
    (text,) = warnings_of(groups, [number // 2 % 2 for number in range(800)])
    assert text.startswith("WARNING: the ")
    assert "the folds are uneven" in text or "of the images where 20% was asked for" in text
    assert text.endswith(", since patient big alone has 400 of 800")


@pytest.mark.parametrize("seed", range(5))
def test_thirty_patients_of_whom_a_fifth_is_malignant_are_too_few_to_test(seed: int) -> None:
    groups = [f"p{number // 2}" for number in range(60)]
    labels = [int(number // 2 % 5 == 0) for number in range(60)]
    found = warnings_of(groups, labels, seed=seed)
    assert any("malignant patient" in text and "so its scores say next to nothing" in text for text in found)
    assert any("the training part holds only" in text and "malignant patients" in text for text in found)


def test_fewer_than_ten_patients_of_a_class_in_the_test_part_are_said() -> None:
    groups = [f"p{number}" for number in range(400)]
    labels = [int(number % 14 == 0) for number in range(400)]
    (text,) = warnings_of(groups, labels)
    assert text.startswith("WARNING: the test part holds only")
    assert text.endswith("malignant patients, fewer than 10, so its intervals are wide")


def test_a_test_part_of_the_datas_own_may_have_any_share() -> None:
    groups = [f"p{number}" for number in range(200)]
    labels = [number % 2 for number in range(200)]
    assert warnings_of(groups, labels, is_test=[number < 120 for number in range(200)]) == []


def test_an_uneven_hold_out_is_said() -> None:
    groups = ["big"] * 300 + [f"p{number}" for number in range(100)]
    (text, *_) = warnings_of(groups, [number % 2 for number in range(400)], holdout=0.3, test_share=0.0)
    assert "the validation part holds" in text
    assert "where 30% was asked for" in text


def test_images_count_for_themselves_in_a_naive_split() -> None:
    groups = ["big"] * 300 + [f"p{number}" for number in range(100)]
    assert warnings_of(groups, [number % 2 for number in range(400)], is_naive=True) == []


def test_four_images_a_class_can_be_split() -> None:
    found = warnings_of([f"p{number}" for number in range(8)], [number % 2 for number in range(8)], folds=2)
    assert any("the test part holds only 1 benign patient and 1 malignant patient" in text for text in found)
