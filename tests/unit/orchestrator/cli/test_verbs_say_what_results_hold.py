"""For one run, what a verb prints as JSON is what `SearchResult` returns from Python."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from finished_run import CONFIGS, make_run
from space_context import NARROW

from orchestrator import SearchResult, open_run
from orchestrator.cli.main import main
from results.ensembles.tables import ensembles_as_json
from results.export.manifest import Manifest
from results.predictors.test_evaluation import evaluation_as_json
from results.run.run_folder import RunFolder
from results.scores.leaderboard_table import rows_as_json
from results.scores.operating_point import Operation

SMALL = {0: CONFIGS[0], 1: {**CONFIGS[0], "optimizer.lr": 0.01}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("made"), SMALL, backbones=("scratch4",))


@pytest.fixture
def result(made: RunFolder, tmp_path: Path) -> SearchResult:
    """The run in a folder and with a store of its own, without ensembles."""
    shutil.copytree(made.path.parents[2], tmp_path, dirs_exist_ok=True)
    run = RunFolder(tmp_path / made.path.relative_to(made.path.parents[2]))
    facts = {"store": str(tmp_path / "store"), "space_context": NARROW.model_dump(mode="json")}
    run.write_search(run.search().model_copy(update=facts))
    return open_run(run.path)


def said(capsys: pytest.CaptureFixture[str], verb: str, result: SearchResult, *options: str) -> Any:
    capsys.readouterr()
    assert main([verb, str(result.path), *options, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def as_printed(rows: Any) -> Any:
    return json.loads(json.dumps(rows))


def test_leaderboard(result: SearchResult, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "leaderboard", result) == as_printed(rows_as_json(result.ranking()))


def test_the_best_trials_are_those_of_every_format(
    result: SearchResult, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = as_printed(rows_as_json(result.ranking()))
    best = [row for row in rows if row["trial"] is None or row["rank"] == 1]
    assert len(best) < len(rows)
    assert said(capsys, "leaderboard", result, "--top", "1") == best
    assert main(["leaderboard", str(result.path), "--top", "1", "--format", "csv"]) == 0
    printed = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [line["rank"] for line in printed] == [str(row["rank"] or "") for row in best]


def test_ensemble(result: SearchResult, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--no-costs", "--members", "2", "--at", "sensitivity=0.8")
    built = result.build_ensembles(max_members=2, operation=Operation.of(at="sensitivity=0.8"))
    assert said(capsys, "ensemble", result, *options) == as_printed(ensembles_as_json(built))
    assert result.ensembles().equals(open_run(result.path).ensembles())


def test_evaluate_builds_the_ensembles_that_it_needs_and_says_so(
    result: SearchResult, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(result.path), "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert "no ensembles of this run were built yet" in " ".join(printed.err.split())
    first, second = json.loads(printed.out), as_printed(evaluation_as_json(result.evaluate()))
    for known in ({"opening", "when", "at", "by"} & first.keys()) & second.keys():
        del first[known], second[known]
    assert first == second


def test_evaluate_on_other_data(result: SearchResult, capsys: pytest.CaptureFixture[str]) -> None:
    other = "phantom:patients=12,size_px=64"
    first = said(capsys, "evaluate", result, "--trial", "1", "--data", other)
    again = result.evaluate_on(other, trial=1).model_dump(mode="json")
    assert (first.pop("look"), again.pop("look")) == (1, 2)
    assert first == again


@pytest.mark.long
def test_export(result: SearchResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(result.path), "--trial", "1", "--out", str(tmp_path / "verb")]) == 0
    result.export(tmp_path / "python", trial=1)
    found = [
        Manifest.model_validate_json((tmp_path / one / "manifest.json").read_bytes())
        for one in ("verb", "python")
    ]
    first, second = (one.model_dump(mode="json") for one in found)
    differs = {name for name in first if first[name] != second[name]}
    assert differs <= {"created_at", "cost"}


def test_refit(result: SearchResult, capsys: pytest.CaptureFixture[str]) -> None:
    file = result.run.trial(1) / "record.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"best_epoch": 1}))
    assert main(["refit", str(result.path), "--trial", "1", "--seeds", "2"]) == 0
    kept = result.refit(trial=1, seeds=2)
    assert kept["trial"].tolist() == [1]
    assert not kept["is_new"].any()  # it is the verb's
    assert f"{kept['images'][0]} images" in " ".join(capsys.readouterr().err.split())
