"""`orchestrate stop`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.common import add_runs
from orchestrator.cli.remote import add_file, open_cluster
from orchestrator.reporting.console import messages, print_message
from trainables.common.text import done_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.reporting.processes import RunningProcess
    from orchestrator.reporting.search_status import SearchStatus

HELP = "end a search, or another verb that was submitted, as Ctrl-C does"
EPILOG = """\
Trials that have ended stay; those that run are given up, and run again from
their last checkpoint by `orchestrate resume`. What was submitted is ended
through Ray's job server, any other search by a signal to its process. Where
the search of a run has ended, the run's name means another verb that was
submitted and runs, such as a refit.

examples:
  orchestrate stop first
  orchestrate stop cluster/dgx.yaml first
  orchestrate stop cluster/dgx.yaml latest --wait 300
"""
_POLL_SECONDS: Final = 0.5
_WAIT_SECONDS: Final = 120.0


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
    """End a search of this machine, or another verb that was submitted; return in a sentence what is left.

    Args:
        text: Name of the run, TASK/NAME, path of its folder, id of its job, or `latest`.
        runs: Folder of all runs.
        wait_seconds: Longest time to wait for its end.

    Raises:
        RunError: If nothing of the kind runs here, several have the bare name, or it has not ended in time.
    """
    import time

    from cluster.on_head import stop
    from orchestrator.reporting.submitted import RUNNING
    from results.errors import RunError

    search = _search_meant(text, runs)
    job, process, verb = _what_runs(text, search)
    if job is not None and job["status"] in RUNNING:
        stop(str(job["id"]))
    elif process is not None:
        _end(process)
    else:
        raise RunError(f"no search {text!r} runs on this machine; `orchestrate status` lists those that do")
    folder = Path(search.run) if search is not None and search.run else None
    deadline = time.monotonic() + wait_seconds
    while _still_runs(job, process, folder):
        if time.monotonic() > deadline:
            raise RunError(
                f"{text} was told to end, but has not within {wait_seconds:g} s; say --wait, or ask again"
            )
        time.sleep(_POLL_SECONDS)
    if verb not in ("search", "resume"):
        return _what_is_left_of(verb, text, folder)
    if folder is None and search is not None:  # it may have begun meanwhile
        folder = _folder_of(search, runs)
    return _what_is_left(text, folder)


def _search_meant(text: str, runs: Path) -> "SearchStatus | None":
    """The search with that name, folder or job; for `latest` the latest that runs. None without one."""
    from orchestrator.cli.status import jobs_here, searches_here
    from orchestrator.reporting.processes import lock_holders
    from orchestrator.reporting.search_status import search_named, status_of
    from orchestrator.reporting.submitted import RUNNING
    from results.run.run_folder import RunFolder

    if (Path(text) / "search.yaml").is_file():
        return status_of(RunFolder(Path(text)), holders=lock_holders(), jobs=jobs_here())
    searches = searches_here(runs)
    if text != "latest":
        return search_named(text, searches)
    running = [one for one in searches if one.is_running or (one.job or {}).get("status") in RUNNING]
    return max(running, key=lambda one: one.started_at, default=None)


def _what_runs(
    text: str, search: "SearchStatus | None"
) -> "tuple[Mapping[str, Any] | None, RunningProcess | None, str]":
    """Job and process of a search, or the running job of another verb about its run; and the verb."""
    from orchestrator.cli.status import jobs_here
    from orchestrator.reporting.processes import running_process
    from orchestrator.reporting.submitted import RUNNING, other_job_of_run, verb_of

    if search is None:
        other = _job_meant(text)
        return other, None, "search" if other is None else verb_of(other)
    own = search.job or {}
    has_ended = search.pid is None and own.get("status") not in RUNNING
    if search.run and has_ended and text != own.get("id"):
        other = other_job_of_run(Path(search.run), jobs_here())
        if other is not None:
            return other, None, verb_of(other)
    return search.job, None if search.pid is None else running_process(search.pid), search.verb


def _job_meant(text: str) -> "Mapping[str, Any] | None":
    """The job that runs another verb, or a search whose folder is not known; None without one."""
    from orchestrator.cli.status import jobs_here
    from orchestrator.reporting.submitted import RUNNING, job_named
    from trainables.common.errors import ConfigError, UnknownNameError

    try:
        return job_named(text, [job for job in jobs_here() if job["status"] in RUNNING])
    except (ConfigError, UnknownNameError):
        return None


def _end(process: "RunningProcess") -> None:
    import contextlib
    import os
    import signal

    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        os.kill(process.pid, signal.SIGTERM)  # which a verb takes as Ctrl-C, also one started with nohup


def _still_runs(
    job: "Mapping[str, Any] | None", process: "RunningProcess | None", folder: Path | None
) -> bool:
    from cluster.errors import ClusterError
    from cluster.on_head import jobs
    from cluster.verbs import SEARCHES
    from orchestrator.reporting.processes import lock_holders
    from orchestrator.reporting.submitted import RUNNING

    if job is not None and job["status"] in RUNNING:
        try:
            now = [one["status"] for one in jobs() if one["id"] == job["id"]]
        except ClusterError:  # a busy machine; it is asked again
            return True
        if any(status in RUNNING for status in now):
            return True
    # Reports, trackers and copies follow when the folder is free. A program of the user's own may go on.
    if process is not None and process.verb in SEARCHES and process.lives:
        return True
    return folder is not None and folder in lock_holders()


def _folder_of(search: "SearchStatus", runs: Path) -> Path | None:
    """The run folder of a search that had none when it was looked for."""
    from datetime import datetime

    from results.run.run_folder import RunFolder

    found = [path.parent for path in runs.glob(f"*/{search.name}/search.yaml")]
    if search.task != "?":
        return next((path for path in found if path.parent.name == search.task), None)
    submitted = datetime.fromisoformat(search.started_at)
    begun = [path for path in found if RunFolder(path).search().started_at >= submitted]
    return begun[0] if len(begun) == 1 else None


def _what_is_left_of(verb: str, text: str, folder: Path | None) -> str:
    """What is left of another verb than those of the search itself."""
    from cluster.verbs import WITHIN
    from results.run.run_folder import RunFolder

    if folder is None or verb not in WITHIN:
        return f"{text}: {verb} has ended"
    return f"{text}: {verb} has ended; what it finished is kept; go on: {RunFolder(folder).command(verb)}"


def _what_is_left(text: str, folder: Path | None) -> str:
    from results.run.run_folder import RunFolder

    if folder is None:
        return f"{text} has ended before its first trial; nothing is left of it"
    run = RunFolder(folder)
    ended = sum(run.record_file(number).is_file() for number in run.trial_numbers())
    search = run.search()
    asked = search.request.asked_trials
    verb = "is" if (ended, asked) == (1, None) else "are"
    kept = f"{text} has ended; {done_text(ended, asked, 'trial')} {verb} kept"
    return f"{kept}; {'no other is left' if search.has_no_more else f'go on: {run.resume_command}'}"
