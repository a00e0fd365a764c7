"""A few processes at once do what all of them are about to do."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trainables.common.turns import in_turn

_HOLDER = """
import time
from trainables.common.turns import in_turn
with in_turn("test", at_once=1, seconds=0.0):
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def seconds_to_enter(*, at_once: int, longest: float) -> float:
    began = time.monotonic()
    with in_turn("test", at_once=at_once, seconds=longest):
        return time.monotonic() - began


def test_one_waits_for_its_turn_and_no_longer_than_it_is_told_to() -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "in\n"
        assert seconds_to_enter(at_once=1, longest=0.3) >= 0.3
        assert seconds_to_enter(at_once=2, longest=30.0) < 5.0  # the second place is free
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert seconds_to_enter(at_once=1, longest=30.0) < 5.0  # so is that of one that was killed


def test_a_place_is_given_back_at_the_end_and_private(own_folder: Path) -> None:
    assert seconds_to_enter(at_once=1, longest=30.0) < 5.0
    assert seconds_to_enter(at_once=1, longest=30.0) < 5.0
    (place,) = own_folder.iterdir()
    assert place.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("makes", [Path.mkdir, lambda path: path.symlink_to("/dev/null")])
def test_nobody_waits_where_there_is_no_place_to_lock(
    own_folder: Path, makes: Callable[[Path], None]
) -> None:
    makes(own_folder / f"orchestrate-{os.getuid()}-test-0")
    assert seconds_to_enter(at_once=1, longest=30.0) < 5.0
