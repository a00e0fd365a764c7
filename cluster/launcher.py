"""`ray up` and `ray down`, with what they leave out: who is searching there, and whether all have ended."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cluster.cluster_file import ClusterFile, marks
from cluster.errors import ClusterError, ClusterInUseError, RemoteError, RenderError
from cluster.probe import MachineFacts, Process, probe
from cluster.ssh import Login, logins
from trainables.common.text import command_text

_FIRST_AUTOSCALER: Final = "RAY_UP_enable_autoscaler_v2"
_STOP_SECONDS: Final = 90.0  # for searches to close their files, and for Ray to end
_POLL_SECONDS: Final = 0.5

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RayCommand:
    """A command of Ray, as it is run here.

    Attributes:
        words: Program and arguments.
        environment: Variables that it needs besides ours.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The command as it can be typed."""
        settings = " ".join(f"{name}={value}" for name, value in self.environment.items())
        return f"{settings} {command_text(*self.words)}".strip()

    def run(self) -> None:
        """Run it; what it prints goes to standard error.

        Raises:
            ClusterError: If it fails.
        """
        program = _program(self.words[0])
        done = subprocess.run(
            [program, *self.words[1:]],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if _has_descriptor() else subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterError(f"{self.text} ended with {done.returncode}; what it said stands above")

    def output(self) -> str:
        """Run it; return what it prints on standard output.

        Raises:
            ClusterError: If it fails.
        """
        done = subprocess.run(
            [_program(self.words[0]), *self.words[1:]],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
            raise ClusterError(f"{self.text} ended with {done.returncode}: {said[-1]}")
        return done.stdout


def head_of(file: ClusterFile) -> str:
    """Return the address of the head; for rented machines Ray is asked for it.

    Raises:
        ClusterError: If the machines are rented and do not run.
    """
    if file.head is not None:
        return file.head
    lines = RayCommand(("ray", "get-head-ip", str(file.path))).output().strip().splitlines()
    if not lines:
        raise ClusterError(f"{file.path} has no head yet; start it: orchestrate cluster up {file.path}")
    return lines[-1].strip()


def up_command(file: ClusterFile, *, may_restart: bool = True) -> RayCommand:
    """Return the command that starts a cluster.

    Args:
        file: The cluster file.
        may_restart: False to leave a Ray that runs there alone, and send code and files only.
    """
    words = (
        "ray",
        "up",
        "-y",
        "--disable-usage-stats",
        *(() if may_restart else ("--no-restart",)),
        str(file.path),
    )
    # Autoscaler version 2 counts the head among the workers, and one of them would never start.
    environment = {_FIRST_AUTOSCALER: "0"} if file.needs_first_autoscaler else {}
    return RayCommand(words, environment)


def up(file: ClusterFile, *, restart: bool | None, say: Say) -> None:
    """Start a cluster, unless a search runs there.

    Args:
        file: The cluster file.
        restart: True to start Ray anew though a search runs there, False to leave Ray alone and send code
            and files only; None to be asked.
        say: Told what is run.

    Raises:
        RenderError: If lines of the file are not filled in.
        ClusterInUseError: If a search runs there and `restart` is None.
        ClusterError: If `ray up` fails.
    """
    _refuse_examples(file)
    if restart is None and not file.is_rented:
        login = Login(file, head_of(file), head_of(file))
        running = probe(login, folder=file.remote_folder, ports=()).searches
        if running:
            raise ClusterInUseError(_in_use(file, running))
    command = up_command(file, may_restart=restart is not False)
    say(f"runs: {command.text}")
    command.run()


def down(file: ClusterFile, *, say: Say) -> None:
    """End searches as Ctrl-C does, then Ray on every machine, and make sure that nothing is left.

    Args:
        file: The cluster file.
        say: Told what is run, and what has ended.

    Raises:
        ClusterError: If something is left running.
    """
    head = head_of(file)
    machines = logins(file, head)
    end_searches(file, machines[0], say=say)
    command = RayCommand(("ray", "down", "-y", str(file.path)))
    say(f"runs: {command.text}")
    command.run()
    if file.is_rented:
        return
    for login in machines[1:]:
        # `ray down` ends Ray on the head only, and says that all are stopped.
        stop = f"{file.remote_folder}/venv/bin/ray stop"
        say(f"runs on {login.host}: {stop}")
        login.run(f"[ ! -x {file.remote_folder}/venv/bin/ray ] || {stop}", may_fail=True)
    left = _wait_until_ended(file, machines)
    if left:
        told = "; ".join(f"{host}: {process.pid} {process.command[:60]}" for host, process in left[:3])
        raise ClusterError(
            f"{len(left)} of Ray's processes are left: {told}. On that machine: "
            f"{file.remote_folder}/venv/bin/ray stop --force"
        )
    say(f"nothing of Ray is left on {', '.join(login.host for login in machines)}")


def end_searches(file: ClusterFile, login: Login, *, say: Say) -> None:
    """End the searches of a machine as Ctrl-C does, and wait until they have closed their files."""
    running = probe(login, folder=file.remote_folder, ports=()).searches
    if not running:
        return
    say(f"{_running(running)}: ended first, as by Ctrl-C; `orchestrate resume` goes on with it later")
    login.run(f"kill -TERM {' '.join(str(process.pid) for process in running)}", may_fail=True)
    deadline = time.monotonic() + _STOP_SECONDS
    while probe(login, folder=file.remote_folder, ports=()).searches and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def on_head(file: ClusterFile, login: Login, verb: str, *words: str) -> str:
    """Return the command of `cluster.on_head` for the head's shell."""
    python = f"{file.remote_folder}/venv/bin/python"
    return f"cd {file.remote_folder} && exec {python} -m cluster.on_head {command_text(verb, *words)}"


def orchestrate_on_head(file: ClusterFile, *words: str) -> str:
    """Return a command of orchestrate for the head's shell, in the folder that runs lie in."""
    python = f"{file.remote_folder}/venv/bin/python"
    return f"cd {file.remote_folder} && exec {python} -m orchestrator.cli.main {command_text(*words)}"


def _refuse_examples(file: ClusterFile) -> None:
    examples = [f"{mark.key} ({mark.value})" for mark in marks(file) if not mark.is_filled_in]
    if examples:
        raise RenderError(
            f"{file.path} is not filled in yet: {', '.join(examples)}; edit it, or say "
            f"python -m cluster.render {file.path} --set KEY=VALUE > my.yaml"
        )


def _in_use(file: ClusterFile, running: Sequence[Process]) -> str:
    return (
        f"{_running(running)} on this cluster ({_typed(running[0].command)}), and `ray up` starts Ray anew, "
        f"which kills it; --no-restart sends code and files and leaves it alone, --restart kills it (it can "
        f"be resumed), `orchestrate status {file.path}` shows it"
    )


def _typed(command: str) -> str:
    """Return the verb and the first options of a command line of orchestrate.

    >>> _typed("/venv/bin/python -m orchestrator.cli.main search idc --name first")
    'search idc --name first'
    """
    for program in ("orchestrator.cli.main ", "orchestrate "):
        if program in command:
            return command.partition(program)[2][:60]
    return command[:60]


def _running(running: Sequence[Process]) -> str:
    return "a search runs" if len(running) == 1 else f"{len(running)} searches run"


def _wait_until_ended(file: ClusterFile, machines: Sequence[Login]) -> list[tuple[str, Process]]:
    """Ray's processes that are left on the machines after a while."""
    deadline = time.monotonic() + _STOP_SECONDS
    while True:
        left = [(login.host, process) for login in machines for process in _facts(file, login).ray]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_POLL_SECONDS)


def _facts(file: ClusterFile, login: Login) -> MachineFacts:
    return probe(login, folder=file.remote_folder, ports=())


def _program(name: str) -> str:
    """The program of the environment that this Python belongs to, or the one on the path.

    Raises:
        RemoteError: If there is none.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise RemoteError(
            f"{name} is needed here, none was found; install ray[default], as `make setup` does"
        )
    return found


def _has_descriptor() -> bool:
    try:
        sys.stderr.fileno()
    except (OSError, ValueError):  # a test that reads what is printed
        return False
    return True
