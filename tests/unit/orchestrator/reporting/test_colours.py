"""Colours and cursor movements on a terminal, none where they are unwanted: each case in a real pty."""

import os
import pty
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

_ESCAPE = re.compile(rb"\x1b\[([0-9;?]*)([a-zA-Z])")
_LIVE = """
import time
from orchestrator.reporting.console import messages, print_warning, results
from orchestrator.reporting.terminal import SearchProgress
print_warning(messages(), "a warning")
progress = SearchProgress(
    task="idc", name="n", data="d", trials=2, minutes=None, workers=1, is_synthetic=True
)
with progress:
    progress.started(0, "vgg16")
    time.sleep(0.4)
    progress.finished(0, "failed", "nan", None, "vgg16")
"""
_SETTINGS = ("NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


def run(script: str, *, on_terminal: bool, **settings: str) -> bytes:
    """What a script writes to standard error, on a terminal or into a pipe."""
    environment = {name: value for name, value in os.environ.items() if name not in _SETTINGS} | settings
    command = [sys.executable, "-c", script]
    if not on_terminal:
        return subprocess.run(command, check=True, capture_output=True, env=environment).stderr
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            written += piece
    os.close(ours)
    assert process.returncode == 0, written
    return written


def kinds(written: bytes) -> set[bytes]:
    """The last letters of all escape sequences: `m` is a style, the others move or hide the cursor."""
    found = {letter for _, letter in _ESCAPE.findall(written)}
    assert written.count(b"\x1b") == len(_ESCAPE.findall(written))
    return found


def test_a_terminal_gets_colours_and_a_panel() -> None:
    written = run(_LIVE, on_terminal=True, TERM="xterm-256color")
    assert b"m" in kinds(written)
    assert "╭".encode() in written


def test_no_color_leaves_the_movements_of_the_live_view_only() -> None:
    found = kinds(run(_LIVE, on_terminal=True, TERM="xterm-256color", NO_COLOR="1"))
    assert found
    assert b"m" not in found


def test_a_dumb_terminal_gets_plain_lines() -> None:
    written = run(_LIVE, on_terminal=True, TERM="dumb")
    assert b"\x1b" not in written
    assert b"trial 0 failed (nan)" in written


@pytest.mark.parametrize("settings", [{}, {"NO_COLOR": "1"}, {"TERM": "xterm-256color"}])
def test_a_pipe_gets_plain_lines(settings: dict[str, str]) -> None:
    assert b"\x1b" not in run(_LIVE, on_terminal=False, **settings)


def test_colours_that_are_asked_for_go_into_a_pipe() -> None:
    script = (
        "from orchestrator.reporting.console import messages, print_warning; print_warning(messages(), 'a')"
    )
    settings = {"TERM": "xterm-256color", "FORCE_COLOR": "1"}
    assert kinds(run(script, on_terminal=False, **settings)) == {b"m"}
    assert kinds(run(_LIVE, on_terminal=False, **settings)) == {b"m"}  # and no panel
