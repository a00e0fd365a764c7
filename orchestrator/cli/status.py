"""`orchestrate status`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.common import add_format, add_runs
from orchestrator.cli.remote import add_file, ask_head, open_cluster
from orchestrator.reporting.console import Sections, messages, print_warning

if TYPE_CHECKING:
    from cluster.cluster_file import ClusterFile
    from cluster.ssh import Login
    from orchestrator.reporting.search_status import SearchStatus

HELP = "list searches, here or on a cluster, and how far they are"
EPILOG = """\
A search that runs is one whose process holds its run folder, however it was
started. On a cluster, runs lie below ~/orchestrate/runs. Jobs that have no
run folder yet, because they still look at data and devices, are listed too.

examples:
  orchestrate status
  orchestrate status cluster/dgx.yaml
  orchestrate status cluster/dgx.yaml --last 50 --format json
"""
_COLUMNS: Final = (
    *("run", "task", "name", "is_running", "pid", "ended", "asked", "complete", "pruned", "failed"),
    *("metric", "best", "best_trial", "started_at", "minutes", "job", "job_status"),
)
_SHOWN: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file(parser, is_optional=True)
    add_runs(parser)
    parser.add_argument(
        "--last",
        type=int,
        default=_SHOWN,
        metavar="N",
        help=f"searches that are listed (default: {_SHOWN})",
    )
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """List; returns the exit code."""
    from trainables.common.errors import ConfigError

    if arguments.last < 1:
        raise ConfigError(f"--last must be at least 1, it is {arguments.last}")
    if arguments.file is None:
        found = searches_here(arguments.runs)[: arguments.last]
    else:
        file, login = open_cluster(arguments.file)
        found = searches_on_head(file, login, runs=arguments.runs, last=arguments.last)
    with Sections(arguments.format) as output:
        print_searches(output, found)
    return 0


def searches_here(runs: Path) -> "list[SearchStatus]":
    """Return the searches of this machine, with the jobs of the cluster that runs on it."""
    from orchestrator.reporting.search_status import searches_below, waiting_jobs

    jobs = jobs_here()
    found = searches_below(runs, jobs)
    return [*waiting_jobs(jobs, found), *found]


def searches_on_head(
    file: "ClusterFile", login: "Login", *, runs: Path = Path("runs"), last: int = _SHOWN
) -> "list[SearchStatus]":
    """Return the searches of a cluster.

    Raises:
        RemoteError: If the head cannot be logged in to, or does not answer as expected.
    """
    from cluster.errors import RemoteError
    from cluster.launcher import orchestrate_on_head
    from orchestrator.reporting.search_status import SearchStatus

    words = ("status", "--runs", str(runs), "--last", str(last), "--format", "json")
    answer = ask_head(login, orchestrate_on_head(file, *words))
    try:
        return [SearchStatus.of_json(values) for values in answer["searches"]]
    except (KeyError, TypeError) as error:
        raise RemoteError(
            f"{login.host} lists its searches in another way than this version expects; send it this one: "
            f"orchestrate cluster up {file.path} --no-restart"
        ) from error


def print_searches(output: Sections, searches: "Sequence[SearchStatus]") -> None:
    """Add a list of searches to what a verb prints."""
    from datetime import UTC, datetime

    from orchestrator.reporting.search_status import status_table
    from results.tables import csv_text

    output.add(
        "searches",
        table=lambda: status_table(searches, now=datetime.now(UTC)),
        rows=lambda: [one.as_json() for one in searches],
        csv=lambda: csv_text([_row(one) for one in searches], _COLUMNS),
    )


def _row(search: "SearchStatus") -> dict[str, Any]:
    values = search.as_json()
    job = search.job or {}
    states = {state: search.trials.get(state, 0) for state in ("complete", "pruned", "failed")}
    values |= states | {"job": job.get("id"), "job_status": job.get("status")}
    return {name: values[name] for name in _COLUMNS}


def jobs_here() -> list[dict[str, Any]]:
    """Return the jobs of this machine's cluster; none, with a warning, where it does not say."""
    from cluster.control_service import probe
    from cluster.errors import ClusterError
    from cluster.on_head import jobs
    from cluster.target import recorded_address, split_address

    address = recorded_address()
    try:
        if address is None or probe(*split_address(address)) is not None:
            return []
        return jobs()
    except ClusterError as error:
        print_warning(messages(), str(error))
        return []
