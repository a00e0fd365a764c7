"""What a machine is asked, and what its answer means."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.errors import RemoteError
from cluster.probe import SCRIPT, facts_of
from cluster.verbs import MODULE, SEARCHES

ANSWER = """\
clock\t1000.5
user\tme
home\t/home/me
system\tLinux x86_64
addresses\t10.0.0.1 fd00::1
program\trsync
python\tpython3.11 3.11.2 no
python\tpython3 3.9.1 yes
environment\tpython=3.11.7 ray=2.60.0 torch=2.15.0
disk\t1048576
temporary\t1024
shared\t2048
cpus\t8
memory\t16777216
gpu\tNVIDIA A100, 81920 MiB, 580.1
gpu\tNVIDIA A100, 81920 MiB, 580.1
taken\t6379
ray\t77 ray::IDLE
search\t78 /venv/bin/python -m orchestrator.cli.main search idc --name a b
end\tend
"""


def run_script(folder: str, ports: str = "", **environment: str) -> str:
    done = subprocess.run(
        ["sh", "-s", "--", folder, ports],
        input=SCRIPT,
        env={"PATH": "/usr/bin:/bin", "HOME": "/", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_an_answer_becomes_facts() -> None:
    facts = facts_of("10.0.0.1", ANSWER, asked=1000.0, answered=1001.0)
    assert (facts.user, facts.home, facts.cpus, facts.read_only) == ("me", "/home/me", 8, "")
    assert facts.addresses == ("10.0.0.1", "fd00::1")
    assert facts.environment == {"python": "3.11.7", "ray": "2.60.0", "torch": "2.15.0"}
    assert (facts.disk_bytes, facts.shared_memory_bytes) == (2**30, 2**21)
    assert len(facts.gpus) == 2
    assert facts.taken_ports == (6379,)
    assert [process.pid for process in (*facts.ray, *facts.searches)] == [77, 78]
    assert facts.searches[0].command.endswith("search idc --name a b")
    assert facts.python is not None
    assert (facts.python.program, facts.python.version, facts.python.has_venv) == (
        "python3.11",
        (3, 11, 2),
        False,
    )
    assert facts.clock_offset_seconds == 0.0


@pytest.mark.parametrize(("asked", "answered", "offset"), [(990.0, 991.0, 9.5), (1003.0, 1004.0, -2.5)])
def test_a_clock_is_off_by_what_the_time_of_the_answer_does_not_explain(
    asked: float, answered: float, offset: float
) -> None:
    facts = facts_of("a", ANSWER, asked=asked, answered=answered)
    assert facts.clock_offset_seconds == pytest.approx(offset)


def test_a_machine_without_a_clock_with_fractions_counts_as_right() -> None:
    facts = facts_of("a", ANSWER.replace("1000.5", "1000.N"), asked=5.0, answered=6.0)
    assert facts.clock_offset_seconds == 0.0


def test_half_an_answer_is_refused() -> None:
    with pytest.raises(RemoteError, match="a does not answer as a shell of Unix does: 'This account is"):
        facts_of("a", "This account is disabled.", asked=0.0, answered=1.0)


def test_the_script_finds_what_is_here(tmp_path: Path) -> None:
    asked = time.time()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        answer = run_script(str(tmp_path / "new"), f"{port} 1", HOME=str(tmp_path))
    facts = facts_of("here", answer, asked=asked, answered=time.time())
    assert facts.home == str(tmp_path)
    assert facts.taken_ports == (port,)
    assert facts.disk_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
    assert facts.environment == {}
    assert facts.cpus >= 1
    assert facts.clock_offset_seconds == 0.0


def test_the_script_asks_the_environment_that_is_installed_there(tmp_path: Path) -> None:
    python = tmp_path / "orchestrate/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    answer = run_script("~/orchestrate", HOME=str(tmp_path))
    facts = facts_of("here", answer, asked=0.0, answered=time.time())
    assert facts.environment["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"ray", "torch", "optuna"} <= set(facts.environment)


def test_the_script_finds_what_ends_with_ray_and_not_what_only_speaks_of_it(tmp_path: Path) -> None:
    program = tmp_path / "orchestrate"
    program.write_text("import sys\nprint('up', flush=True)\nsys.stdin.read()\n")
    for name in ("orchestrator/__init__.py", "orchestrator/cli/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("orchestrator/__main__.py", "orchestrator/cli/main.py"):
        (tmp_path / name).write_text(program.read_text())
    submitted, typed = [sys.executable, *MODULE.split()], [sys.executable, "-m", "orchestrator"]
    ends_with_ray = [
        *([sys.executable, str(program), verb, "first"] for verb in SEARCHES),
        [*typed, "search", "idc"],
        [*submitted, "repeat", "first"],
        [*submitted, "refit", "first"],
    ]
    goes_on = [
        [sys.executable, str(program), "leaderboard", "latest"],
        [*submitted, "stop", "first"],
        [*typed, "export", "first"],
        ["sh", "-c", "echo up; read line", "orchestrate search idc "],
    ]
    environment = {**os.environ, "PYTHONPATH": ""}
    running = [
        subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
        )
        for words in (*ends_with_ray, *goes_on)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        facts = facts_of("here", run_script("~"), asked=0.0, answered=time.time())
    finally:
        for process in running:
            process.communicate("\n")
    found = {process.pid for process in facts.searches}
    started = [process.pid for process in running]
    assert found & set(started) == set(started[: len(ends_with_ray)])
