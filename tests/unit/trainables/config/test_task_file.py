"""Own tasks from a YAML file; every error names the file, the task and the key."""

from pathlib import Path

import pytest

from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.task_file import read_tasks, task_in
from trainables.config.tasks import Task

EXAMPLES = Path(__file__).parents[4] / "docs" / "tasks"


def written(folder: Path, text: str) -> Path:
    path = folder / "tasks.yaml"
    path.write_text(text)
    return path


def test_the_examples_of_the_documentation_are_read() -> None:
    found = {name: task for file in EXAMPLES.glob("*.yaml") for name, task in read_tasks(file).items()}
    assert {name: len(task.classes) for name, task in found.items()} == {
        "bach": 4,
        "birads_density": 4,
        "breakhis_pathology": 2,
        "breakhis_types": 8,
    }
    assert [name for name, task in found.items() if task.is_ordinal] == ["birads_density"]
    assert found["breakhis_pathology"].positive == "malignant"


def test_every_key_reaches_the_task(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "birads:\n  classes: [1, 2, 3]\n  ordinal: true\n  question: How suspicious?\n  metric: log_loss\n"
        "  codes: {4: 1, 5: 2, 6: 3}\n  folders: {low: 1}\n  left_out: [0]\n  takes_table: false\n",
    )
    assert task_in(path, None) == Task(
        "birads",
        ("1", "2", "3"),
        is_ordinal=True,
        question="How suspicious?",
        metric="log_loss",
        codes={4: "1", 5: "2", 6: "3"},
        folders={"low": "1"},
        left_out=(0,),
    )


def test_a_key_without_a_value_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    path = written(tmp_path, "t:\n  classes: [a, b]\n  codes:\n")
    assert task_in(path, "t") == Task("t", ("a", "b"))


def test_one_of_several_tasks_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "one: {classes: [a, b]}\ntwo: {classes: [c, d]}\n")
    assert task_in(path, "two").classes == ("c", "d")
    with pytest.raises(ConfigError, match=r"tasks\.yaml defines one, two; say which: TASK --task"):
        task_in(path, None)
    with pytest.raises(UnknownNameError, match=r"unknown task in .*tasks\.yaml 'tow'; did you mean 'two'"):
        task_in(path, "tow")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", r"tasks\.yaml must hold names of tasks with their definitions"),
        ("", "must hold names of tasks"),
        ("a: [", r"tasks\.yaml is not valid YAML"),
        ("classes: [a, b]\n", "holds a definition without a name"),
        ("1: {classes: [a, b]}\n", "task 1: a task's name must be a text, found 1; put it in quotes"),
        ("t: [a, b]\n", r"task t must hold keys and values, .*; found \['a', 'b'\]"),
        ("t: {ordinal: true}\n", "task t: classes is missing"),
        ("t: {classes: a}\n", "task t: classes must be a list of names, .* found 'a'"),
        ("t: {classes: [no, yes]}\n", r"task t: classes holds False .*put them in quotes"),
        ("t: {classes: [a, [b]]}\n", r"task t: classes holds \['b'\] where a text or a number is needed"),
        ("t: {classes: [a, b], ordinal: maybe}\n", "task t: ordinal must be true or false, found 'maybe'"),
        ("t: {classes: [a, b], codes: [1, 2]}\n", "task t: codes must be labels with their classes"),
        ("t: {classes: [a, b], folders: x}\n", "task t: folders must be names of folders with their classes"),
        ("t: {classes: [a, b], left_out: 9}\n", "task t: left_out must be a list of labels"),
        ("t: {classes: [a, b], positive: [b]}\n", "task t: positive must be a text"),
        (
            "t: {classes: [a, b], positive: yes}\n",
            "task t: positive must be a text, found True; YAML reads yes",
        ),
        ("t: {classes: [a, b], positive: c}\n", r"tasks\.yaml: task t: positive: unknown class 'c'"),
        (
            "idc: {classes: [a, b]}\n",
            r"tasks\.yaml: task idc is built in; give a task of your own another name",
        ),
    ],
)
def test_a_definition_that_is_none_is_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_tasks(written(tmp_path, text))


def test_an_unknown_key_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, "t: {classes: [a, b], ordnal: true}\n")
    with pytest.raises(UnknownNameError, match=r"key in --task .*, task t: 'ordnal'; did you mean 'ordinal'"):
        read_tasks(path)


def test_a_missing_file_is_named_and_a_built_in_task_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read: No such file"):
        read_tasks(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="to search the built-in task, leave --task out: idc"):
        read_tasks(Path("idc"))
