"""A line is appended whole, or the file is as it was before."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainables.common.appending import append_line


@contextmanager
def room_for(number: int, path: Path) -> Iterator[None]:
    """A real full disk: no file may grow beyond some bytes more than this one has."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + number, limits[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_line(path, "first")
    with room_for(10, path), pytest.raises(OSError, match="File too large"):
        append_line(path, "x" * 1000)
    append_line(path, "second")
    assert path.read_text() == "first\nsecond\n"


def test_half_a_line_that_a_power_failure_left_is_not_glued_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("first\nsec")
    append_line(path, "third")
    assert path.read_text() == "first\nsec\nthird\n"
