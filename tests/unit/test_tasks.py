import numpy as np
import pytest

from trainables.errors import DataError, OneClassError, UnknownNameError
from trainables.tasks import FINDINGS, TASKS, task_named


def test_pisa_and_003_codes_of_the_same_finding_agree() -> None:
    pisa = np.arange(5)
    of_003 = np.array([0, 2, 4, 1, 3])  # the same findings in 003's numbers
    for task in TASKS.values():
        np.testing.assert_array_equal(task.classify(pisa, "pisa"), task.classify(of_003, "003"))


def test_the_positive_class_is_the_finding() -> None:
    assert [task.positive for task in TASKS.values()] == ["malignant", "calcification", "abnormal"]
    assert FINDINGS[0] == "normal"


def test_a_code_outside_the_book_is_named() -> None:
    with pytest.raises(DataError, match=r"codes 'task' of task benign_malignant are 0 to 1, .* hold \[2\]"):
        TASKS["benign_malignant"].classify(np.array([0, 1, 2]), "task")


def test_one_class_is_refused() -> None:
    with pytest.raises(
        OneClassError, match="needs at least two of benign, malignant; the data hold only: benign"
    ):
        TASKS["benign_malignant"].classify(np.array([0, 1, 3]), "pisa")


def test_an_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'benign_malignant'"):
        task_named("benign_malignat")
