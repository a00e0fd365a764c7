"""`ray up` and `ray down`, with what they leave out: who is searching there, and whether all have ended."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cluster.at_once import on_all_machines
from cluster.cluster_file import ClusterFile, marks
from cluster.errors import ClusterError, ClusterInUseError, RemoteError, RenderError
from cluster.probe import MachineFacts, Process, probe
from cluster.ssh import Login, logins
from cluster.tokens import check_tokens
from cluster.verbs import MODULE, SEARCHES, STOP_SECONDS, typed_part
from trainables.common.notify import Notify
from trainables.common.text import command_text

_FIRST_AUTOSCALER: Final = "RAY_UP_enable_autoscaler_v2"
_STOP_SECONDS: Final = float(STOP_SECONDS)  # for searches to end
_RAY_SECONDS: Final = 90.0  # for Ray to end
_POLL_SECONDS: Final = 0.5


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


def up(file: ClusterFile, *, restart: bool | None, say: Notify) -> None:
    """Start a cluster, unless a search runs on one of its machines.

    Args:
        file: The cluster file.
        restart: True to start Ray anew though a search runs there, False to leave Ray alone and send code
            and files only; None to be asked.
        say: Told what is run.

    Raises:
        RenderError: If lines of the file are not filled in, or a Ray that it starts would ask for no token.
        ClusterInUseError: If a search runs there and `restart` is None.
        RemoteError: If `restart` is None and the head cannot be asked; another machine that cannot is told.
        ClusterError: If `ray up` fails.
    """
    _refuse_examples(file)
    _refuse_open_rays(file)
    if restart is None:
        running = _searches(file, _machines_that_run(file), say=say)
        if running:
            raise ClusterInUseError(_in_use(file, running))
    command = up_command(file, may_restart=restart is not False)
    say(f"runs: {command.text}")
    command.run()


def down(file: ClusterFile, *, say: Notify) -> None:
    """End searches as Ctrl-C does, then Ray on every machine, and make sure that nothing is left.

    Args:
        file: The cluster file.
        say: Told what is run, and what has ended.

    Raises:
        RemoteError: If the head cannot be logged in to.
        ClusterError: If something is left running, or another machine cannot be asked.
    """
    head = head_of(file)
    machines = logins(file, head)
    end_searches(file, machines, say=say)
    command = RayCommand(("ray", "down", "-y", str(file.path)))
    say(f"runs: {command.text}")
    command.run()
    if file.is_rented:
        return
    silent: dict[str, str] = {}
    for login in machines[1:]:
        # `ray down` ends Ray on the head only, and says that all are stopped.
        stop = f"{file.remote_folder}/venv/bin/ray stop"
        say(f"runs on {login.host}: {stop}")
        try:
            login.run(f"[ ! -x {file.remote_folder}/venv/bin/ray ] || {stop}", may_fail=True)
        except RemoteError as error:  # the machines behind it are to be ended all the same
            silent[login.host] = str(error)
    left = _wait_until_ended(file, [login for login in machines if login.host not in silent])
    if left:
        told = "; ".join(f"{host}: {process.pid} {process.command[:60]}" for host, process in left[:3])
        raise ClusterError(
            f"{len(left)} of Ray's processes are left: {told}. On that machine: "
            f"{file.remote_folder}/venv/bin/ray stop --force"
        )
    say(f"nothing of Ray is left on {', '.join(one.host for one in machines if one.host not in silent)}")
    if silent:
        raise ClusterError(
            f"Ray may still run on {', '.join(silent)}: {next(iter(silent.values()))}. Once it answers: "
            f"orchestrate cluster down {file.path}"
        )


def end_searches(file: ClusterFile, machines: Sequence[Login], *, say: Notify) -> None:
    """End the searches of all machines as Ctrl-C does, and wait until they have ended.

    A search that has not within ten minutes is told, with its machine, and waited for no longer.

    Raises:
        RemoteError: If the head cannot be asked; another machine that cannot is told.
    """
    running = _searches(file, machines, say=say)
    if not running:
        return
    told, later = _running([process for _, process in running])
    say(f"{told}: ended first, as by Ctrl-C; {later}")
    searched = [login for login in machines if login.host in {host for host, _ in running}]
    for login in searched:
        pids = " ".join(str(process.pid) for host, process in running if host == login.host)
        try:
            login.run(f"kill -TERM {pids}", may_fail=True)
        except RemoteError as error:
            say(f"the search on {login.host} could not be ended: {error}")
    deadline = time.monotonic() + _STOP_SECONDS
    while left := _searches(file, searched, say=lambda message: None):
        if time.monotonic() > deadline:
            named = ", ".join(
                f"{typed_part(process.command)[:60]} (process {process.pid} on {host})"
                for host, process in left
            )
            say(f"not ended within {_STOP_SECONDS:g} s, and ended with Ray now: {named}; {later}")
            return
        time.sleep(_POLL_SECONDS)


def on_head(file: ClusterFile, login: Login, verb: str, *words: str) -> str:
    """Return the command of `cluster.on_head` for the head's shell."""
    python = f"{file.remote_folder}/venv/bin/python"
    return f"cd {file.remote_folder} && exec {python} -m cluster.on_head {command_text(verb, *words)}"


def orchestrate_on_head(file: ClusterFile, *words: str) -> str:
    """Return a command of orchestrate for the head's shell, in the folder that runs lie in."""
    python = f"{file.remote_folder}/venv/bin/python"
    return f"cd {file.remote_folder} && exec {python} {MODULE} {command_text(*words)}"


def _machines_that_run(file: ClusterFile) -> tuple[Login, ...]:
    """The machines of a cluster whose addresses are known; of rented ones the head, if it runs."""
    try:
        return logins(file, head_of(file))
    except ClusterError:
        if file.is_rented:
            return ()
        raise


def _searches(file: ClusterFile, machines: Sequence[Login], *, say: Notify) -> list[tuple[str, Process]]:
    """Searches of all machines, asked at once, each with the address of its machine."""

    def ask(login: Login) -> list[tuple[str, Process]] | RemoteError:
        try:
            return [(login.host, process) for process in _facts(file, login).searches]
        except RemoteError as error:
            if login.host == login.head:
                raise
            return error

    found: list[tuple[str, Process]] = []
    for login, answer in zip(machines, on_all_machines(ask, machines), strict=True):
        if isinstance(answer, RemoteError):
            say(f"whether a search runs on {login.host} is not known: {answer}")
        else:
            found += answer
    return found


def _refuse_examples(file: ClusterFile) -> None:
    examples = [f"{mark.key} ({mark.value})" for mark in marks(file) if not mark.is_filled_in]
    if examples:
        raise RenderError(
            f"{file.path} is not filled in yet: {', '.join(examples)}; edit it, or say "
            f"python -m cluster.render {file.path} --set KEY=VALUE > my.yaml"
        )


def _refuse_open_rays(file: ClusterFile) -> None:
    broken = [one.detail for one in check_tokens(file) if one.state == "broken"]
    if broken:
        raise RenderError(f"{file.path} is not started: {'; '.join(broken)}")


def _in_use(file: ClusterFile, running: Sequence[tuple[str, Process]]) -> str:
    host, first = running[0]
    told, later = _running([process for _, process in running])
    return (
        f"{told} on this cluster (on {host}: {typed_part(first.command)[:60]}), and `ray up` starts Ray "
        "anew, which kills what runs; --no-restart sends code and files and leaves it alone, --restart kills "
        f"it ({later}), `orchestrate status {file.path}` lists searches"
    )


def _running(running: Sequence[Process]) -> tuple[str, str]:
    """What runs, and what becomes of it once it is ended."""
    verbs = [typed_part(process.command).partition(" ")[0] for process in running]
    is_search = all(verb in SEARCHES for verb in verbs)
    one, many = ("search", "searches") if is_search else ("command", "commands")
    told = f"a {one} runs" if len(running) == 1 else f"{len(running)} {many} run"
    return told, "it can be resumed" if is_search else "a search can be resumed, the rest begins anew"


def _wait_until_ended(file: ClusterFile, machines: Sequence[Login]) -> list[tuple[str, Process]]:
    """Ray's processes that are left on the machines after a while."""
    deadline = time.monotonic() + _RAY_SECONDS
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
