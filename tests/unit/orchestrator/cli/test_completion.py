"""The completion scripts are accepted by their shells, and a real bash offers what can follow."""

import subprocess
from pathlib import Path

import pytest
from debian_packages import require

from orchestrator.cli.completion import script
from orchestrator.cli.main import VERBS, build_parser, main
from search_spaces.recipes import RECIPES
from trainables.config.tasks import TASKS


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "orchestrate.bash"
    path.write_text(script(build_parser(), "bash"))
    return path


def offered(bash_script: Path, folder: Path, *words: str) -> set[str]:
    """What bash offers when the tabulator is pressed behind the last word."""
    line = " ".join(f"'{word}'" for word in ("orchestrate", *words))
    typed = (
        f"source {bash_script}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; "
        "_shtab_orchestrate 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", typed], check=True, capture_output=True, text=True, cwd=folder
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(("shell", "check"), [("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"])])
def test_the_shell_accepts_the_script(shell: str, check: list[str], tmp_path: Path) -> None:
    require({shell: shell})  # it alone can tell whether it accepts the script
    path = tmp_path / "script"
    path.write_text(script(build_parser(), shell))
    done = subprocess.run([*check, str(path)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_the_verb_prints_the_script_alone(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert all(verb in printed.out for verb in VERBS)


def test_verbs_and_their_actions_are_offered(bash_script: Path, tmp_path: Path) -> None:
    assert offered(bash_script, tmp_path, "") >= set(VERBS)
    assert offered(bash_script, tmp_path, "lea") == {"leaderboard"}
    assert offered(bash_script, tmp_path, "prefix", "") >= {"list", "prune"}


def test_options_and_their_choices_are_offered(bash_script: Path, tmp_path: Path) -> None:
    assert offered(bash_script, tmp_path, "search", "--tri") == {"--trials", "--trial-minutes"}
    assert offered(bash_script, tmp_path, "leaderboard", "x", "--format", "") == {"table", "json", "csv"}
    assert "--quiet" in offered(bash_script, tmp_path, "prefix", "prune", "--")


def test_tasks_and_recipes_are_offered(bash_script: Path, tmp_path: Path) -> None:
    assert offered(bash_script, tmp_path, "search", "") >= set(TASKS)
    names = {recipe.name for recipe in RECIPES}
    assert offered(bash_script, tmp_path, "search", "idc", "--recipe", "") == names
    assert offered(bash_script, tmp_path, "recipes", "show", "E003-") == {
        name for name in names if name.startswith("E003-")
    }


def test_runs_are_looked_up_below_the_folder_that_was_typed(bash_script: Path, tmp_path: Path) -> None:
    for run in ("runs/idc/first", "other/idc/second"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "search.yaml").touch()
    (tmp_path / "runs/.store/data").mkdir(parents=True)

    assert offered(bash_script, tmp_path, "leaderboard", "") == {"latest", "idc/first", "runs", "other"}
    assert offered(bash_script, tmp_path, "leaderboard", "idc/") == {"idc/first"}
    assert offered(bash_script, tmp_path, "export", "--runs", "other", "idc/") == {"idc/second"}


def test_files_are_offered_where_a_path_is_wanted(bash_script: Path, tmp_path: Path) -> None:
    for name in ("patches.npz", "search.yaml"):
        (tmp_path / name).touch()
    assert offered(bash_script, tmp_path, "search", "idc", "--data", "pat") == {"patches.npz"}
    assert offered(bash_script, tmp_path, "search", "--config", "sea") == {"search.yaml"}
