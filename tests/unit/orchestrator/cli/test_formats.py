"""What prints a table prints it as JSON and CSV, too; --quiet leaves results, their warnings and errors."""

import argparse
import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import cv2
import numpy as np
import pytest
from finished_run import CONFIGS, make_run
from rich.console import Console

from orchestrator import SearchResult
from orchestrator.cli.closing import CommandDisplay, close_search
from orchestrator.cli.main import VERBS, build_parser, main
from orchestrator.reporting.console import (
    SYNTHETIC_WARNING,
    leave_out_messages,
    messages,
    print_message,
    print_next,
    print_warning,
)
from orchestrator.reporting.terminal import SearchProgress
from results.errors import ExportError
from results.run.run_folder import RunFolder

pytestmark = pytest.mark.slow

# They print sentences, or a script, and no table.
WITHOUT_TABLE = {
    *("refit", "export", "recalibrate", "prefix prune", "completion", "data prepare", "data join"),
    *("cluster up", "cluster down", "submit", "attach", "stop", "fetch"),
}
# They ask machines elsewhere; test_verbs_of_a_cluster.py reads their three formats.
ELSEWHERE = {"cluster check", "cluster status"}
# They need Ray; `close_search`, and the verb on a nested run, print what they print and are tried elsewhere.
SEARCHES = {"search", "resume", "nest", "repeat"}
PRINTING = {
    "plan": "plan benign_malignant --data phantom:patients=24 --trials 2 --offline --runs {runs} "
    "--set model.backbone=intensity",
    "data audit": "data audit phantom:patients=24 --task benign_malignant --runs {runs}",
    "data describe": "data describe phantom:patients=24 --task benign_malignant --runs {runs}",
    "leaderboard": "leaderboard {run}",
    "overtuning": "overtuning {run}",
    "ensemble": "ensemble {run} --methods average",
    "thresholds": "thresholds {run} --trial 0",
    "strata": "strata {run} --trial 0",
    "calibration": "calibration {run} --trial 0",
    "benefit": "benefit {run} --trial 0",
    "compare": "compare {run}:0 {run}:best_single",
    "evaluate": "evaluate {run} --trial 0",
    "explain": "explain {run} --trial 0 --worst 1 --masks 8",
    "report": "report {run} --checklist metrics",
    "predict": "predict {bundle} {image}",
    "prefix list": "prefix list --store {store}",
    "recipes list": "recipes list --task idc",
    "recipes show": "recipes show E003-5",
    "doctor": "doctor --runs {runs}",
    "status": "status --runs {searched}",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("formats")
    run = make_run(folder / "runs", {0: CONFIGS[0]})
    assert main(["ensemble", str(run.path), "--no-costs", "--quiet"]) == 0
    assert main(["export", str(run.path), "--trial", "0", "--out", str(folder / "bundle"), "--quiet"]) == 0
    pixels = np.random.default_rng(0).integers(0, 255, (48, 48)).astype(np.uint8)
    cv2.imwrite(str(folder / "image.png"), pixels)
    return folder


@pytest.fixture
def places(finished: Path, tmp_path: Path) -> dict[str, str]:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    (run,) = (path.parent for path in copy.rglob("search.yaml"))
    store = tmp_path / "store"
    store.mkdir()
    found = {
        "run": run,
        "searched": run.parents[1],
        "runs": copy / "runs",
        "bundle": copy / "bundle",
        "store": store,
    }
    return {name: str(path) for name, path in found.items()} | {"image": str(copy / "image.png")}


def leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield name, parser
    for group in groups:
        for word, verb in group.choices.items():
            yield from leaves(verb, f"{name} {word}".strip())


def strict_json(text: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_verb_that_prints_a_table_has_the_three_formats_and_every_verb_can_be_quiet() -> None:
    found = dict(leaves(build_parser()))
    assert len(found) >= len(VERBS)
    options = {
        name: {word: action for action in one._actions for word in action.option_strings}
        for name, one in found.items()
    }
    assert {name for name in found if "--format" not in options[name]} == WITHOUT_TABLE
    assert {name for name in found if "--format" in options[name]} == SEARCHES | ELSEWHERE | set(PRINTING)
    for name in SEARCHES | ELSEWHERE | set(PRINTING):
        assert tuple(options[name]["--format"].choices or ()) == ("table", "json", "csv"), name
    assert [name for name in found if "--quiet" not in options[name]] == []


@pytest.mark.parametrize("verb", PRINTING)
def test_json_is_valid_and_csv_has_a_header(
    verb: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.format(**places) for word in PRINTING[verb].split()]
    assert main([*words, "--format", "json"]) == 0
    assert isinstance(strict_json(capsys.readouterr().out), list | dict)
    assert main([*words, "--format", "csv"]) == 0
    header, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert len(header) == len(set(header)) > 1
    assert all(name and not name[0].isdigit() for name in header)
    assert {len(row) for row in rows} <= {len(header)}
    assert rows or verb == "prefix list"  # the store is empty


def result_of(run: RunFolder) -> SearchResult:
    return SearchResult(run, is_interrupted=False)


def test_a_search_ends_with_one_json_object(
    places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = io.StringIO()
    said = Console(file=text, width=200)
    assert close_search(result_of(RunFolder(Path(places["run"]))), said, finish=True, form="json") == 0
    steps = [line for line in text.getvalue().splitlines() if line.endswith(" ...")]
    assert [line.partition(" ")[0] for line in steps] == ["opening", "predicting", "writing", "comparing"]
    assert max(map(len, steps)) <= 80
    found = strict_json(capsys.readouterr().out)
    assert found["run"] == places["run"]
    assert found["best"]["trial"] == 0
    assert found["trials"] == {"complete": 1}
    assert found["leaderboard"][0]["trial"] == 0
    assert found["ensembles"]
    assert (Path(found["run"]) / "bundle").is_dir()


def test_a_search_that_is_finished_again_keeps_the_earlier_bundle(places: dict[str, str]) -> None:
    text, run = io.StringIO(), RunFolder(Path(places["run"]))
    (run.bundle / "earlier").mkdir(parents=True)
    assert close_search(result_of(run), Console(file=text, width=200), finish=True, form="json") == 0
    assert "the earlier bundle is kept as bundle.outdated" in text.getvalue()
    assert (run.path / "bundle.outdated" / "earlier").is_dir()
    assert (run.bundle / "manifest.json").is_file()


def test_a_search_that_goes_on_is_finished_if_that_is_asked_for(
    places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, finished = RunFolder(Path(places["run"])), []

    def close(result: SearchResult, console: Console, *, finish: bool, **_: Any) -> int:
        finished.append(finish)
        return 0

    monkeypatch.setattr("orchestrator.api.search.resume_search", lambda run, **_: result_of(run))
    monkeypatch.setattr("orchestrator.cli.closing.close_search", close)
    assert main(["resume", str(run.path), "--finish"]) == 0
    assert main(["resume", str(run.path)]) == 0
    assert finished == [True, False]


def test_a_search_that_is_finished_prints_csv_tables_one_after_another(
    places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = Console(file=io.StringIO(), width=200)
    close_search(result_of(RunFolder(Path(places["run"]))), said, finish=True, form="csv")
    first, second = capsys.readouterr().out.split("\n\n")
    assert first.startswith("rank,")
    assert "method" in second.splitlines()[0]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ExportError("the file disagrees with PyTorch"), "the file disagrees with PyTorch"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_a_finish_that_fails_prints_what_it_has_computed(
    error: BaseException,
    said: str,
    places: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(SearchResult, "export_report", fails)
    result, console = result_of(RunFolder(Path(places["run"]))), Console(file=io.StringIO(), width=200)
    with pytest.raises(type(error)):
        close_search(result, console, finish=True, form="json")
    found = strict_json(capsys.readouterr().out)
    assert (found["run"], found["error"]) == (places["run"], said)
    assert found["leaderboard"]
    assert found["ensembles"]
    with pytest.raises(type(error)):
        close_search(result, console, finish=True, form="csv")
    assert len(capsys.readouterr().out.split("\n\n")) == 2


_SECOND_LOOK = r"this test part was opened \d+ times? before, over all runs; this is not a first look"


@pytest.mark.parametrize("verb", ["leaderboard", "ensemble", "evaluate"])
def test_a_quiet_verb_prints_its_result_and_that_the_images_are_synthetic(
    verb: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.format(**places) for word in PRINTING[verb].split()]
    assert main([*words, "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip()
    is_synthetic = RunFolder(Path(places["run"])).search().is_synthetic
    said = " ".join(printed.err.split())
    assert (SYNTHETIC_WARNING in said) is is_synthetic
    assert "next:" not in said
    rest = re.sub(rf"{SYNTHETIC_WARNING}|{_SECOND_LOOK}", "", said)
    assert rest.replace("WARNING:", "").strip() == ""


def test_a_quiet_verb_still_says_why_it_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", "nothing", "--runs", str(tmp_path), "--quiet"]) == 2
    assert capsys.readouterr().err.startswith("orchestrate leaderboard: ")


def test_messages_are_left_out_and_warnings_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    with leave_out_messages():
        print_message(messages(), "split: 192 images")
        print_next(messages(), "orchestrate", "ensemble", "latest")
        print_message(messages(), "WARNING: the test part holds only 3 malignant patients")
        print_warning(messages(), "a record is damaged")
    print_message(messages(), "heard again")
    assert capsys.readouterr().err.splitlines() == [
        "WARNING: the test part holds only 3 malignant patients",
        "a record is damaged",
        "heard again",
    ]


def test_a_quiet_search_prints_its_summary_without_commands(
    places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with leave_out_messages():
        console = messages()
        view = SearchProgress(
            task="idc",
            name="n",
            data="d",
            trials=1,
            minutes=None,
            workers=1,
            is_synthetic=False,
            console=console,
        )
        with view:
            view.finished(0, "failed", "nan", None, "vgg16")
            view.note("first points: frozen-lite0")
        assert capsys.readouterr().err == ""
        result = result_of(RunFolder(Path(places["run"])))
        CommandDisplay(console).ended(result)
        close_search(result, console, finish=False)
    said = capsys.readouterr().err
    assert "best      trial 0" in said
    assert "kept in" in said
    assert "next" not in said
