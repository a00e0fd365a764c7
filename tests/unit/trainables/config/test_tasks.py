import numpy as np
import pytest

from trainables.common.errors import DataError, OneClassError, UnknownNameError
from trainables.config.tasks import FINDINGS, LEFT_OUT, TASKS, Task, task_named


def test_pisa_and_003_codes_of_the_same_finding_agree() -> None:
    pisa = np.arange(5)
    of_003 = np.array([0, 2, 4, 1, 3])  # the same findings in 003's numbers
    of_findings = [task for task in TASKS.values() if LEFT_OUT not in task.class_of_finding[1:]]
    assert len(of_findings) == 6
    for task in of_findings:
        np.testing.assert_array_equal(task.classify(pisa, "pisa"), task.classify(of_003, "003"))


def test_the_positive_class_is_the_finding() -> None:
    assert {name: task.positive for name, task in TASKS.items() if len(task.classes) == 2} == {
        "benign_malignant": "malignant",
        "mass_calcification": "calcification",
        "normal_abnormal": "abnormal",
        "idc": "idc",
        "healthy_sick": "sick",
        "wisconsin": "malignant",
    }
    assert FINDINGS[0] == "normal"


@pytest.mark.parametrize("name", ["idc", "healthy_sick", "wisconsin"])
def test_finding_codes_do_not_answer_a_question_that_is_not_about_findings(name: str) -> None:
    with pytest.raises(OneClassError, match="none of its classes"):
        TASKS[name].classify(np.arange(5), "pisa")


def test_five_classes_keep_the_codes_of_the_two_sources_apart() -> None:
    codes = np.arange(5)
    assert TASKS["five_class"].classify(codes, "pisa").tolist() == [0, 1, 2, 3, 4]
    assert TASKS["five_class"].classify(codes, "003").tolist() == [0, 3, 1, 4, 2]


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


def test_only_classes_that_say_so_are_free_of_lesions() -> None:
    assert {name: task.lesion_free for name, task in TASKS.items()} == {
        "benign_malignant": None,
        "mass_calcification": None,
        "normal_abnormal": "normal",
        "five_class": "normal",
        "finding_type": "normal",
        "finding_pathology": "normal",
        "idc": "no_idc",
        "healthy_sick": None,  # its healthy films are BI-RADS 1 to 3
        "wisconsin": None,
    }


@pytest.mark.parametrize(
    ("classes", "free"),
    [
        (("Normal", "Benign", "InSitu", "Invasive"), "Normal"),
        (("A", "B", "C", "D"), None),
        (("sick", "healthy"), "healthy"),
        (("No Finding", "finding"), "No Finding"),
        (("adenosis", "fibroadenoma"), None),
    ],
)
def test_an_own_task_may_name_a_class_that_is_free_of_lesions(
    classes: tuple[str, ...], free: str | None
) -> None:
    assert Task("own", classes).lesion_free == free
