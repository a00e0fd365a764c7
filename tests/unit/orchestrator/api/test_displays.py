"""Where a search from Python is shown: nowhere, on the terminal, or in a notebook."""

import io
import sys
import types

import pytest
from rich.console import Console

from orchestrator.api.displays import Display, NotebookDisplay, TerminalDisplay, display_of


def test_nothing_is_shown_outside_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    display = display_of(None)
    display.note("a sentence")
    assert type(display) is type(display_of(False)) is Display
    assert display.notes == ["a sentence"]
    assert capsys.readouterr() == ("", "")


def test_the_terminal_is_asked_for() -> None:
    assert isinstance(display_of(True), TerminalDisplay)


def test_a_display_of_the_callers_own_is_taken() -> None:
    text = io.StringIO()
    display = TerminalDisplay(Console(file=text))
    assert display_of(display) is display
    display.note("a sentence")
    assert text.getvalue() == "a sentence\n"
    assert display.notes == ["a sentence"]


def test_the_kernel_of_a_notebook_shows_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_shell(shell: object) -> None:
        monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))

    in_shell(types.SimpleNamespace(kernel=object()))
    assert isinstance(display_of(None), NotebookDisplay)
    assert isinstance(display_of(True), NotebookDisplay)
    assert type(display_of(False)) is Display
    in_shell(types.SimpleNamespace())  # IPython on a terminal
    assert type(display_of(None)) is Display
    in_shell(None)
    assert type(display_of(None)) is Display
