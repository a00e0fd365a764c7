"""`orchestrate stop`."""

import argparse
from pathlib import Path
from typing import Any, Final

from orchestrator.cli.common import add_runs
from orchestrator.cli.remote import add_file, open_cluster
from orchestrator.reporting.console import messages, print_message

HELP = "end a search as Ctrl-C does, here or on a cluster; it can be resumed"
EPILOG = """\
Trials that have ended stay; those that run are given up, and run again from
their last checkpoint by `orchestrate resume`. A search that was submitted is
ended through Ray's job server, any other by a signal to its process.

examples:
  orchestrate stop first
  orchestrate stop cluster/dgx.yaml first
  orchestrate stop cluster/dgx.yaml latest --wait 300
"""
_POLL_SECONDS: Final = 0.5
_WAIT_SECONDS: Final = 120.0
_RUNNING: Final = ("PENDING", "RUNNING")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file(parser, is_optional=True)
    parser.add_argument("run", metavar="RUN", help="name of the run, TASK/NAME, id of its job, or latest")
    add_runs(parser)
    parser.add_argument(
        "--wait",
        type=float,
        default=_WAIT_SECONDS,
        metavar="SECONDS",
        help=f"longest time to wait for its end (default: {_WAIT_SECONDS:g})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Stop; returns the exit code."""
    from trainables.common.errors import ConfigError

    if not 0 <= arguments.wait < float("inf"):
        raise ConfigError(f"--wait must be a number from 0 up, found {arguments.wait}")
    if arguments.file is None:
        print(stop_here(arguments.run, arguments.runs, wait_seconds=arguments.wait))
        return 0
    from cluster.launcher import orchestrate_on_head

    file, login = open_cluster(arguments.file)
    words = ("stop", arguments.run, "--runs", str(arguments.runs), "--wait", f"{arguments.wait:g}")
    command = orchestrate_on_head(file, *words)
    print_message(messages(), f"runs on {login.host}: orchestrate {' '.join(words)}")
    print(login.run(command, timeout_seconds=arguments.wait + 120).strip())
    return 0


def stop_here(text: str, runs: Path, *, wait_seconds: float) -> str:
    """End a search of this machine; return what became of it, in one sentence.

    Args:
        text: Name of the run, TASK/NAME, path of its folder, id of its job, or `latest`.
        runs: Folder of all runs.
        wait_seconds: Longest time to wait for its end.

    Raises:
        RunError: If no such search runs here, or it has not ended in time.
    """
    import os
    import signal
    import time

    from cluster.on_head import stop
    from results.errors import RunError

    job, folder = _job_of(text), _folder_of(text, runs)
    if job is None and folder is not None:
        job = _job_of(folder.name)
    pid = None if folder is None else _pid(folder)
    if job is not None and job["status"] in _RUNNING:
        stop(str(job["id"]))
    elif pid is not None:
        os.kill(pid, signal.SIGTERM)  # which a verb takes as Ctrl-C, also one that was started with nohup
    else:
        raise RunError(f"no search {text!r} runs on this machine; `orchestrate status` lists those that do")
    deadline = time.monotonic() + wait_seconds
    while _still_runs(job, folder):
        if time.monotonic() > deadline:
            raise RunError(
                f"{text} was told to end, but has not within {wait_seconds:g} s; say --wait, or ask again"
            )
        time.sleep(_POLL_SECONDS)
    return _what_is_left(text, folder if folder is not None else _folder_of(_name(job, text), runs))


def _still_runs(job: Any, folder: Path | None) -> bool:
    from cluster.errors import ClusterError
    from cluster.on_head import jobs

    if job is not None and job["status"] in _RUNNING:
        try:
            now = [one["status"] for one in jobs() if one["id"] == job["id"]]
        except ClusterError:  # a busy machine; it is asked again
            return True
        if any(status in _RUNNING for status in now):
            return True
    return folder is not None and _pid(folder) is not None


def _job_of(text: str) -> Any:
    """The latest job of this machine's cluster with that id or name; None without one."""
    from orchestrator.cli.attach import job_named
    from orchestrator.cli.status import jobs_here
    from trainables.common.errors import OrchestrateError

    try:
        return job_named(text, [job for job in jobs_here() if text != "latest" or job["status"] in _RUNNING])
    except OrchestrateError:
        return None


def _name(job: Any, text: str) -> str:
    return str(job["metadata"].get("name") or text) if job is not None else text


def _folder_of(text: str, runs: Path) -> Path | None:
    from results.errors import RunError
    from results.run.finding import find_run

    try:
        return find_run(text, runs).path.resolve()
    except RunError:
        return None


def _pid(folder: Path) -> int | None:
    from orchestrator.reporting.search_status import lock_holders

    return lock_holders().get(folder)


def _what_is_left(text: str, folder: Path | None) -> str:
    from results.run.run_folder import RunFolder

    if folder is None:
        return f"{text} has ended before its first trial; nothing is left of it"
    run = RunFolder(folder)
    ended = sum(run.record_file(number).is_file() for number in run.trial_numbers())
    asked = run.search().request.trials
    return f"{text} has ended; {ended} of {asked} trials are kept; go on: {run.resume_command}"
