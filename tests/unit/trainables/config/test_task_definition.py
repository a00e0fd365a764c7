"""The definition of a user's own task: what is given is brought into one form, or refused with the reason."""

import pickle
from typing import Any

import numpy as np
import pytest

from trainables.common.errors import ConfigError, DataError, OneClassError
from trainables.config.tasks import LEFT_OUT, TASKS, Task


def test_the_positive_class_of_two_comes_last() -> None:
    task = Task("grade", ("malignant", "benign"), positive="Malignant")
    assert (task.classes, task.positive) == (("benign", "malignant"), "malignant")
    assert task.question == "Is it malignant rather than benign?"


def test_numbers_keep_the_order_in_which_the_classes_were_listed() -> None:
    task = Task("grade", ("malignant", "benign"), positive="malignant")
    assert (task.codes["0"], task.codes["1"]) == ("malignant", "benign")


def test_without_a_positive_class_the_last_of_two_is_positive_and_nothing_of_more() -> None:
    assert Task("grade", ("low", "high")).positive == "high"
    assert Task("grade", ("low", "middle", "high")).positive is None


def test_codes_are_text_and_classes_are_spelt_as_they_are_listed() -> None:
    task = Task("density", ("A", "B"), codes={1: "a", "2.0": "B", " x ": "b"}, folders={"Dense-Breast": "b"})
    assert task.codes == {"1": "A", "2": "B", "x": "B"}
    assert task.folders == {"dense_breast": "B"}


def test_a_definition_that_is_made_again_from_its_own_fields_is_the_same() -> None:
    task = Task("grade", ("malignant", "benign"), positive="malignant", left_out=(9,))
    fields = {name: getattr(task, name) for name in Task.__dataclass_fields__}
    assert Task(**fields) == task
    assert pickle.loads(pickle.dumps(task)) == task


def test_only_a_task_that_is_not_built_in_is_an_own_one() -> None:
    assert Task("density", ("A", "B")).is_own
    assert not any(task.is_own for task in TASKS.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a/b"}, "a task's name is letters, digits, .* found 'a/b'"),
        ({"name": "--runs"}, "a task's name is letters"),
        ({"classes": ("a",)}, "task t: classes must be at least two names, found 1"),
        ({"classes": ("a", " ")}, "task t: classes must be names, and one of them is empty"),
        (
            {"classes": ("In Situ", "in-situ", "b")},
            "task t: classes In Situ and in-situ cannot be told apart",
        ),
        ({"classes": "ab"}, "definition of a task: classes: .* found 'ab'"),
        ({"classes": ("a", "b"), "is_ordinal": True}, "an ordinal task has at least 3 classes, found 2"),
        ({"positive": "c"}, "task t: positive is for two classes, found 3"),
        (
            {"classes": ("benign", "sick"), "positive": "bening"},
            "positive: unknown class 'bening'; did you mean benign",
        ),
        ({"codes": {1: "a", 2: "b", 3: "d"}}, "task t: codes: 3: unknown class 'd'"),
        ({"codes": {1: "a", 2: "b"}}, "task t: codes: no code stands for c; add one"),
        ({"codes": {1: "a", "1.0": "b", 2: "c"}}, "codes: 1.0 is given to both a and b; keep one"),
        ({"codes": {True: "a"}}, "definition of a task: codes"),
        ({"folders": {"x": "d"}}, "task t: folders: x: unknown class 'd'"),
        ({"folders": {"X y": "a", "x_y": "b"}}, "folders: x_y is given to both a and b"),
        ({"codes": {1: "a", 2: "b", 3: "c"}, "left_out": (3,)}, "left_out: 3 has a class, too"),
        ({"folders": {"x": "a"}, "left_out": ("X",)}, "left_out: X has a class, too"),
        ({"colour": "red"}, "definition of a task: colour: Unexpected keyword argument"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"name": "t", "classes": ("a", "b", "c")}
    with pytest.raises(ConfigError, match=message):
        Task(**(given | changes))


def test_labels_of_an_own_task_may_be_left_out() -> None:
    task = Task("density", ("A", "B", "C"))
    assert task.classify(np.array([0, LEFT_OUT, 2]), "own").tolist() == [0, LEFT_OUT, 2]
    with pytest.raises(OneClassError, match="needs at least two of A, B, C; the data hold only: B"):
        task.classify(np.array([1, LEFT_OUT]), "own")
    with pytest.raises(DataError, match=r"hold \[-1\]"):
        task.classify(np.array([0, LEFT_OUT, 2]), "task")


def test_finding_codes_do_not_answer_an_own_task() -> None:
    with pytest.raises(OneClassError, match="none of its classes"):
        Task("density", ("A", "B")).classify(np.arange(5), "pisa")
