"""Every command that is printed can be pasted: it parses, and its paths are there."""

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from finished_run import CONFIGS, make_run

from orchestrator.cli.closing import _next_commands, _nothing_complete
from orchestrator.cli.common import model_options, short_path
from orchestrator.cli.main import build_parser, main
from orchestrator.cli.plan import _search_of
from results.errors import EnsembleError, RunError
from results.run.finding import find_run
from results.run.run_folder import RunFolder

pytestmark = pytest.mark.slow

PLACES = ["büsi [original] x", "it's $HOME; [/b]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("finished"), {0: CONFIGS[0]})


@pytest.fixture(params=PLACES)
def odd_run(run: RunFolder, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunFolder]:
    folder = tmp_path / request.param / "benign_malignant" / "small"
    shutil.copytree(run.path, folder)
    before = Path.cwd()
    os.chdir(tmp_path)
    yield RunFolder(folder)
    os.chdir(before)


def commands(text: str) -> list[list[str]]:
    """Words of the commands behind `next:` or `with:`, as a shell splits them."""
    return [shlex.split(line) for line in re.findall(r"(?:next: +|with: |first: )(.+)", text)]


def paste(words: list[str]) -> None:
    """Parse a command as its program does, and look for its run."""
    program, *rest = words
    if program == "tensorboard":
        assert rest[0] == "--logdir"
        assert Path(rest[1]).is_dir()
        return
    assert program == "orchestrate"
    chosen = build_parser().parse_args(rest)
    if "run" in vars(chosen):
        find_run(chosen.run, chosen.runs)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ([], []),
        (["--ensemble", "best"], []),
        (["--ensemble", "average"], ["--ensemble", "average"]),
        (["--trial", "0"], ["--trial", "0"]),
    ],
)
def test_the_next_command_names_the_model_only_if_it_is_not_the_default(
    typed: list[str], words: list[str]
) -> None:
    assert model_options(build_parser().parse_args(["evaluate", "latest", *typed])) == words


@pytest.mark.parametrize(
    "verb",
    [("ensemble",), ("evaluate", "--trial", "0"), ("export", "--trial", "0", "--out", "my [bundle] /b")],
)
def test_what_a_verb_says_to_type_next_can_be_pasted(
    odd_run: RunFolder, verb: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = verb
    assert main([name, str(odd_run.path), *options]) == 0
    found = commands(capsys.readouterr().err)
    assert len(found) == 1
    paste(found[0])
    if name == "export":
        assert Path(found[0][2]).is_dir()


def test_what_a_search_says_to_type_next_can_be_pasted(odd_run: RunFolder) -> None:
    found = _next_commands(odd_run, has_results=True, may_resume=True)
    assert len(found) == 4
    for command in found:
        paste(shlex.split(command))


def test_commands_within_errors_can_be_pasted(odd_run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strata", str(odd_run.path)]) == 2
    runs = str(odd_run.path.parents[1])
    assert main(["search", "benign_malignant", "--runs", runs, "--name", "small"]) == 2
    assert main(["evaluate", str(odd_run.path), "--trial", "0", "--refit"]) == 2
    found = commands(capsys.readouterr().err)
    assert [words[1] for words in found] == ["ensemble", "resume", "refit"]
    for words in found:
        paste(words)


def test_an_empty_runs_folder_says_how_to_start_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no run in .* yet; start one with: orchestrate search") as error:
        find_run("latest", tmp_path / "my runs")
    (words,) = commands(str(error.value))
    assert words[-2:] == ["--runs", str(tmp_path / "my runs")]
    paste(words)


def test_a_folder_that_begins_with_a_dash_is_not_taken_for_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "-runs" / "a") == "./-runs/a"
    assert short_path(Path("/elsewhere/a")) == "/elsewhere/a"


def test_a_search_without_results_names_its_folder_as_it_is(odd_run: RunFolder) -> None:
    assert odd_run.path.name in _nothing_complete(short_path(odd_run.path), ())


def test_the_command_after_a_plan_is_that_of_the_search() -> None:
    words = _search_of(["plan", "idc", "--data", "a plan b.npz", "--form", "table", "--set", "a=b"])
    assert words == ["orchestrate", "search", "idc", "--data", "a plan b.npz", "--set", "a=b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "benign_malignant", "--name", ""], "--name needs a value, found an empty one"),
        (["search", "benign_malignant", "--name="], "--name needs a value, found an empty one"),
        (["search", "benign_malignant", "--data", ""], "--data needs a value"),
        (["search", "benign_malignant", "--data", "  "], "--data needs a value"),
        (["search", "benign_malignant", "--runs", ""], "--runs needs a value"),
        (["search", "benign_malignant", "--store="], "--store needs a value"),
        (["search", "benign_malignant", "--recipe", ""], "--recipe needs a value"),
        (["search", "benign_malignant", "--set", "optimizer.name="], "--set 'optimizer.name=' needs a value"),
        (["search", "benign_malignant", "--config", ""], "--config needs a value"),
        (["search", "benign_malignant", "--address", ""], "--address needs a value"),
        (["search", ""], "argument 1 of search is empty"),
        (["export", "latest", "--out", ""], "--out needs a value"),
        (["predict", "bundle", ""], "argument 2 of predict is empty"),
        (["predict", "bundle", "a.png", "--baseline", "b.png", ""], "argument 5 of predict is empty"),
        (["leaderboard", ""], "argument 1 of leaderboard is empty"),
        (["refit", "latest", "--ensemble", ""], "--ensemble needs a value"),
        (["doctor", "--weights-dir", ""], "--weights-dir needs a value"),
        (["prefix", "prune", "--store", ""], "--store needs a value"),
        ([""], "the verb is empty"),
    ],
)
def test_an_empty_value_is_refused_before_anything_is_done(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["name: ''", "data: '  '", "recipes: ['']", "runs: ''"])
def test_an_empty_value_in_a_file_is_refused(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"task: benign_malignant\n{line}\n")
    assert main(["search", "--config", str(file)]) == 2
    assert "needs a value, found an empty one; leave it out" in capsys.readouterr().err


def test_an_unexpected_error_of_a_library_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("n_splits=4 cannot\nbe [/x] \x1b[2J")

    monkeypatch.setattr("orchestrator.cli.leaderboard.open_run", fail)
    assert main(["leaderboard", "latest"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(r"should not have happened: ValueError: n_splits=4 cannot be \[/x\] \\x1b\[2J \(", said)
    assert "test_printed_commands.py, line" in said
    monkeypatch.setenv("ORCHESTRATE_TRACEBACK", "1")
    with pytest.raises(ValueError, match="n_splits"):
        main(["leaderboard", "latest"])


def test_too_little_memory_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("9 TiB")

    monkeypatch.setattr("orchestrator.cli.leaderboard.open_run", fail)
    assert main(["leaderboard", "latest"]) == 1
    assert "the memory of this machine is too small: 9 TiB" in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_no_name_of_a_file_ends_a_verb_on_a_stream_that_cannot_print_it(encoding: str, form: str) -> None:
    script = (
        "import sys\n"
        "from orchestrator.cli import doctor\n"
        "from orchestrator.cli.main import main\n"
        "odd = doctor._finding('b\\u00fcsi \\u65e5 \\udcff.png', 'ok', 'a')\n"
        "doctor._packages = doctor._devices = lambda: []\n"
        "doctor._weights = lambda _: [odd]\n"
        f"sys.exit(main(['doctor', '--format', '{form}']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=False,
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b".png" in io.BytesIO(done.stdout).read()


def test_a_missing_ensemble_says_how_to_build_it(run: RunFolder) -> None:
    from results.ensembles.ensemble import read_ensemble

    with pytest.raises(EnsembleError, match="build it first with: orchestrate ensemble"):
        read_ensemble(run, "best")
