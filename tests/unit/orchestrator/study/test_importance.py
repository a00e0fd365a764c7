"""Importance of parameters, and the study as Optuna's dashboard opens it while a search writes."""

import json
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from simulated_run import search_record

from orchestrator.study.importance import FEWEST_TRIALS, parameter_importances
from orchestrator.study.study import MissingStudyError, open_study
from results.run.run_folder import RunFolder


def make_study(run: RunFolder, trials: int) -> optuna.Study:
    """A study in the run folder whose value follows one parameter, and hardly the other one."""
    run.write_search(search_record())
    study = open_study(storage=None, journal=run.study_file, name="benign_malignant/first", is_new=True)
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    for _ in range(trials):
        trial = study.ask()
        lr = trial.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
        idle = trial.suggest_float("model.head.dropout", 0.0, 0.5)
        if trial.suggest_categorical("model.backbone", ["a", "b"]) == "b":
            trial.suggest_int("model.cut", 1, 3)
        study.tell(trial, 0.9 - abs(lr - 0.01) + 1e-4 * idle)
    return study


def test_the_parameter_that_the_value_follows_comes_first(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "first")
    make_study(run, 60)
    found = parameter_importances(run)
    assert next(iter(found)) == "optimizer.lr"
    assert set(found) == {"optimizer.lr", "model.head.dropout", "model.backbone", "model.cut"}
    assert sum(found.values()) == pytest.approx(1.0)
    assert found["optimizer.lr"] > 0.5


def test_few_trials_tell_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "first")
    make_study(run, FEWEST_TRIALS - 1)
    assert parameter_importances(run) == {}


def test_a_study_that_is_gone_or_damaged_is_named(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "first")
    run.write_search(search_record())
    with pytest.raises(MissingStudyError, match="is not there"):
        parameter_importances(run)
    run.study_file.write_text('{"op_code": 99}\n')
    with pytest.raises(MissingStudyError, match="cannot be read"):
        parameter_importances(run)


def test_reading_leaves_the_journal_of_a_running_search_as_it_is(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "first")
    make_study(run, 12)
    half = run.study_file.read_bytes() + b'{"op_code": 5, "worker_id"'  # a line that is being written
    run.study_file.write_bytes(half)
    assert parameter_importances(run)
    assert run.study_file.read_bytes() == half
    assert [path.name for path in run.path.iterdir()] in (
        ["search.yaml", "study.log"],
        ["study.log", "search.yaml"],
    )


def test_the_dashboard_opens_the_study_while_the_search_writes(tmp_path: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard", reason="the dashboard is a tool of its own")
    from optuna_dashboard._storage_url import get_storage

    run = RunFolder(tmp_path / "first")
    study = make_study(run, 5)
    app = dashboard.wsgi(get_storage(str(run.study_file)))
    assert [one["study_name"] for one in asked(app, "/api/studies")["study_summaries"]] == [
        "benign_malignant/first"
    ]
    running = study.ask()  # the search goes on, and is neither locked out nor mended
    running.suggest_float("optimizer.lr", 1e-4, 1e-1, log=True)
    found = asked(app, "/api/studies/0?after=0")
    assert len(found["trials"]) == 6
    study.tell(running, 0.5)
    assert not list(run.path.glob("*.lock"))
    assert study.trials[-1].value == 0.5


def asked(app: Any, path: str) -> dict[str, Any]:
    """What a web application answers, without a server."""
    answered: list[str] = []
    name, _, query = path.partition("?")
    environ: dict[str, Any] = {"PATH_INFO": name, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    body = b"".join(app(environ, lambda status, _headers, _error=None: answered.append(status)))
    assert answered[0].startswith("200"), (answered, body[:300])
    found: dict[str, Any] = json.loads(body)
    return found


def test_the_storage_that_a_run_from_elsewhere_names_is_not_asked(tmp_path: Path) -> None:
    run, record = RunFolder(tmp_path / "handed_over"), search_record()
    url = f"sqlite:///{tmp_path}/foreign.db"
    asked = {"study_storage": url, "runs": tmp_path / "runs"}
    run.write_search(record.model_copy(update={"request": record.request.model_copy(update=asked)}))
    with pytest.raises(
        MissingStudyError, match=r"was made elsewhere, and a storage .* is not asked; make the"
    ):
        parameter_importances(run)
    assert not (tmp_path / "foreign.db").exists()
