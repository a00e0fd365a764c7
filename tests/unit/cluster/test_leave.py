"""A machine that is about to be taken away: what is announced, and how long trials are waited for."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import leave
from cluster.errors import ClusterError


@pytest.fixture
def ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `ray` that notes its arguments; its exit code stands in a file."""
    program = tmp_path / "ray"
    program.write_text(
        f'#!/bin/sh\necho "$*" > {tmp_path}/said\necho no such cluster >&2\nexit $(cat {tmp_path}/code)\n'
    )
    program.chmod(0o755)
    (tmp_path / "code").write_text("0")
    monkeypatch.setattr(leave.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(leave, "_POLL_SECONDS", 0.0)
    return tmp_path


def test_the_command_is_one_that_ray_understands() -> None:
    from ray.scripts.scripts import drain_node

    words = leave.drain_command("spot: terminate", 80)
    parsed = drain_node.make_context("drain-node", list(words[2:])).params
    assert words[1] == "drain-node"
    assert parsed["reason"] == "DRAIN_NODE_REASON_PREEMPTION"
    assert (parsed["reason_message"], parsed["deadline_remaining_seconds"]) == ("spot: terminate", 80)
    assert parsed["node_id"] is None, "it is about the machine that it is typed on"


def test_the_machine_is_drained_and_its_trials_are_waited_for(ray: Path) -> None:
    busy: Iterator[bool] = iter([True, True, False])
    assert leave.leave("stopped", seconds=30, is_busy=lambda: next(busy))
    assert list(busy) == []
    assert (ray / "said").read_text().split()[:3] == [
        "drain-node",
        "--reason",
        "DRAIN_NODE_REASON_PREEMPTION",
    ]


def test_trials_that_do_not_leave_are_waited_for_no_longer_than_was_said(
    ray: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leave, "has_trials", lambda: True)
    assert leave.main(["--seconds", "1"]) == 1
    assert "trials still run here after 1 s" in capsys.readouterr().err


def test_an_announcement_that_fails_is_an_error(ray: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ray / "code").write_text("3")
    with pytest.raises(ClusterError, match="`ray drain-node` ended with 3: no such cluster"):
        leave.leave("stopped")
    assert leave.main([]) == 1
    (ray / "ray").write_text("#!/bin/sh\nexec sleep 5\n")
    with pytest.raises(ClusterError, match=r"`ray drain-node` is needed, but .*timed out after 1 seconds"):
        leave.leave("stopped", seconds=1)


@pytest.mark.parametrize(
    ("commands", "is_busy"),
    [
        (["/v/ray/core/src/ray/raylet/raylet --a", "ray::ResourceTrainable.train"], True),
        (["/v/ray/core/src/ray/raylet/raylet --a", "ray::IDLE", "ray::DashboardAgent"], False),
        (
            ["ray::ResourceTrainable.train"],
            False,
        ),  # Ray's own process has ended, and so does what it has started
        ([], False),
    ],
)
def test_trials_are_known_by_what_ray_calls_their_processes(
    commands: list[str], is_busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leave, "_commands", lambda: commands)
    assert leave.has_trials() is is_busy


def test_processes_of_this_user_are_seen() -> None:
    waits = [sys.executable, "-c", "print(flush=True); input()", "a mark"]
    with subprocess.Popen(waits, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # before that it is a copy of this process, under its name
            assert any("a mark" in command for command in leave._commands())
        finally:
            process.communicate(b"\n")
