"""Searches of own tasks: from the command line, from a file and from Python, recorded whole, reopened."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from source_files import noise, write

from cluster.background import KnownConnection
from orchestrator.cli.main import build_parser
from orchestrator.cli.search import request_of
from orchestrator.preflight.run_data import open_run_data
from orchestrator.preflight.this_machine import this_machine
from orchestrator.request import SearchRequest, check_request
from orchestrator.tuning.reopen import ResumeOptions, reopen_search
from orchestrator.tuning.setup import prepare_search
from results.errors import RunError
from results.run.request_options import parse_request
from results.run.run_folder import RunFolder
from search_spaces.registry import space_for
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.tasks import TASKS, Task, task_named
from trainables.runtime.devices import choose_device

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[3] / "docs" / "tasks"
GRADES = Task("grades", ("low", "middle", "high"), is_ordinal=True, metric="log_loss", folders={"g1": "low"})


def asked(*arguments: str | Path) -> SearchRequest:
    return request_of(build_parser().parse_args(["search", *map(str, arguments)]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.yaml"
    path.write_text("one: {classes: [a, b, c]}\ntwo: {classes: [d, e]}\n")
    return path


def test_the_only_task_of_a_file_needs_no_name() -> None:
    request = asked("--task", EXAMPLES / "bach.yaml", "--data", "images")
    assert request.task == request.task_definition.name == "bach"
    assert request.task_definition.classes == ("Normal", "Benign", "InSitu", "Invasive")


def test_one_of_several_tasks_is_named(file: Path) -> None:
    assert asked("two", "--task", file, "--data", "images").task_definition.classes == ("d", "e")
    with pytest.raises(ConfigError, match="defines one, two; say which"):
        asked("--task", file, "--data", "images")
    with pytest.raises(UnknownNameError, match=r"unknown task in .* 'idc'"):
        asked("idc", "--task", file)


def test_an_own_task_needs_data(file: Path) -> None:
    with pytest.raises(ConfigError, match="task one is your own, so it needs data of yours"):
        asked("one", "--task", file)


def test_a_configuration_holds_the_file_or_a_definition_as_it_was_recorded(
    file: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"task": "two", "own_task": str(file), "data": "images"}))
    assert asked("--config", config).task_definition.classes == ("d", "e")
    assert asked("one", "--config", config).task_definition.classes == ("a", "b", "c")
    config.write_text(yaml.safe_dump({"own_task": {"name": "mine", "classes": ["x", "y"]}, "data": "images"}))
    assert asked("--config", config).task_definition == Task("mine", ("x", "y"))
    assert asked("idc", "--config", config).task_definition == task_named("idc")
    assert asked("--task", EXAMPLES / "bach.yaml", "--config", config).task == "bach"


def test_python_gives_the_task_itself() -> None:
    request = parse_request({"task": GRADES, "data": "images"})
    assert (request.task, request.task_definition) == ("grades", GRADES)
    assert parse_request({"own_task": GRADES}) == parse_request({"task": GRADES})
    assert parse_request({"task": TASKS["idc"]}) == parse_request({"task": "idc"})


def test_a_definition_of_another_name_or_of_a_built_in_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="--task defines grades, but the search is of idc: name one task"):
        parse_request({"task": "idc", "own_task": GRADES})
    with pytest.raises(ConfigError, match="task idc is built in"):
        parse_request({"own_task": Task("idc", ("a", "b"))})
    with pytest.raises(ConfigError, match=r"definition of a task: Input should be a dictionary .* found 3"):
        parse_request({"task": "grades", "own_task": 3})


def test_the_metric_of_a_task_must_exist() -> None:
    request = parse_request({"task": Task("t", ("a", "b"), metric="auk"), "data": "images"})
    with pytest.raises(UnknownNameError, match="unknown metric 'auk'; did you mean 'auc'"):
        check_request(request)


def test_the_space_of_an_own_task_is_that_of_its_kind_of_data_and_has_no_recipes() -> None:
    space = space_for(GRADES, None)
    assert (space.name, space.recipes) == ("search_spaces.image_classifier:image_classifier", ())
    table = space_for(Task("t", ("a", "b"), takes_table=True), None)
    assert table.name == "search_spaces.classical_models:table_classifier"
    assert space_for(task_named("idc"), None).recipes


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for place, name in enumerate(("g1", "middle", "high")):
        for number in range(12):
            write(
                root / f"P{place}-{number // 2}" / name / f"{number}.png",
                noise(100 * place + number, side=32),
            )
    return root


def search_of(images: Path, tmp_path: Path) -> SearchRequest:
    options = {"task": GRADES, "data": str(images), "runs": tmp_path / "runs", "name": "first"}
    fixed = {"model.backbone": "efficientnet_lite0", "model.trained_stages": 0}
    return parse_request(
        {**options, "upper_folders": "patients", "folds": 2, "trials": 3, "epochs": 2, "may_download": False}
        | {"fixed_params": fixed, "store": tmp_path / "store", "minutes": 5.0}
    )


def test_a_search_keeps_the_definition_and_needs_no_file_afterwards(images: Path, tmp_path: Path) -> None:
    prepared = prepare_search(search_of(images, tmp_path), KnownConnection(this_machine()), lambda said: None)
    run = RunFolder(tmp_path / "runs" / "grades" / "first")
    record = run.search()
    assert record.task_definition == GRADES
    assert (record.classes, record.label_codes) == (GRADES.classes, "own")
    assert record.metrics == ("log_loss",)
    assert prepared.study.ask() is not None
    training_data, _ = open_run_data(run, record, choose_device(0.0))
    assert training_data.classes == 3
    assert set(training_data.labels.tolist()) == {0, 1, 2}
    assert record.with_options(trials=5).task_definition == GRADES
    again = asked("--config", run.search_file)
    assert again == record.request.model_copy(update={"name": None})


def test_a_search_is_reopened_and_its_data_are_read_again_by_the_definition(
    images: Path, tmp_path: Path
) -> None:
    prepare_search(search_of(images, tmp_path), KnownConnection(this_machine()), lambda said: None)
    run = RunFolder(tmp_path / "runs" / "grades" / "first")
    stored = tmp_path / "store" / "data" / run.search().fingerprint
    labels = np.load(stored / "labels.npy")
    for path in stored.iterdir():
        path.unlink()
    said: list[str] = []
    prepared = reopen_search(run, KnownConnection(this_machine()), said.append, ResumeOptions())
    assert prepared.has_more
    assert np.array_equal(np.load(stored / "labels.npy"), labels)
    assert any(sentence.startswith("the stored copy of the data is gone") for sentence in said)


def test_a_definition_that_was_edited_by_hand_is_named(images: Path, tmp_path: Path) -> None:
    prepare_search(search_of(images, tmp_path), KnownConnection(this_machine()), lambda said: None)
    run = RunFolder(tmp_path / "runs" / "grades" / "first")
    run.search_file.write_text(run.search_file.read_text().replace("g1: low", "g1: lowest"))
    with pytest.raises(
        RunError, match=r"search\.yaml cannot be read: task grades: folders: g1: unknown class"
    ):
        run.search()
