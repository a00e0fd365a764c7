"""The log of what the workers of a search did with their time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from results.run.run_folder import RunFolder
from results.run.sessions import SessionTime, add_session, read_sessions

START = datetime(2026, 1, 1, tzinfo=UTC)


def session(training: float) -> SessionTime:
    return SessionTime(
        started_at=START,
        ended_at=START + timedelta(minutes=1),
        workers=2,
        features=10.0,
        training=training,
        waiting=20.0,
    )


def test_sessions_are_read_in_the_order_in_which_they_ran(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for one in (session(90.0), session(30.0)):
        add_session(run, one)
    assert read_sessions(run) == [session(90.0), session(30.0)]


def test_a_run_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    assert read_sessions(RunFolder(tmp_path)) == []


def test_a_line_that_is_half_written_is_left_out(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    add_session(run, session(90.0))
    with run.sessions_file.open("a") as file:
        file.write('{"started_at": "2026-01-01T00:')
    assert read_sessions(run) == [session(90.0)]


def test_a_session_after_a_line_that_is_half_written_is_kept(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.sessions_file.open("w") as file:
        file.write('{"started_at": "2026-01-01T00:')
    add_session(run, session(30.0))
    assert read_sessions(run) == [session(30.0)]


def test_seconds_are_not_negative() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        session(-1.0)


@pytest.mark.parametrize("line", [b"\xff\xfe\x00", pytest.param(b"[" * 100_000, id="deep")])
def test_a_line_that_a_disk_has_spoilt_is_left_out(tmp_path: Path, line: bytes) -> None:
    run = RunFolder(tmp_path)
    run.sessions_file.write_bytes(line + b"\n")
    add_session(run, session(30.0))
    assert read_sessions(run) == [session(30.0)]
