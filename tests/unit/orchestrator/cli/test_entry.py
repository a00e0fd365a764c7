"""The command answers Ctrl-C from its first moment on."""

import runpy
import subprocess
import sys

import pytest

from orchestrator.cli import entry


class Interrupted:
    """Stands for Ctrl-C while a module is imported."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "orchestrator.cli.main":
            raise KeyboardInterrupt


def test_ctrl_c_while_modules_are_imported_is_one_line_and_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "orchestrator.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert entry.main() == 130
    assert capsys.readouterr().err == "\norchestrate: interrupted\n"


def test_ctrl_c_is_answered_in_the_same_way_where_the_module_itself_is_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "orchestrator.cli.main", raising=False)
    monkeypatch.setattr(entry, "main", lambda: 130)
    with pytest.raises(SystemExit) as left:
        runpy.run_module("orchestrator.cli.main", run_name="__main__")
    assert left.value.code == 130
    assert "orchestrator.cli.main" not in sys.modules, "nothing that it imports was asked for before"


def test_python_runs_the_package_as_the_command_runs() -> None:
    words = [sys.executable, "-m", "orchestrator", "recipes", ""]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("orchestrate recipes: argument 1 of recipes is empty")
    package = runpy.run_module("orchestrator.__main__", run_name="orchestrator.__main__")
    assert package["main"] is entry.main


def test_else_it_is_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["orchestrate", "recipes", ""])
    assert entry.main() == 2
    assert "argument 1 of recipes is empty" in capsys.readouterr().err
