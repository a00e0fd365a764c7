"""`orchestrate attach`."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from orchestrator.cli.remote import add_file, ask_head, open_cluster
from orchestrator.reporting.console import messages, print_message, print_next

HELP = "follow the output of what was submitted to a cluster"
EPILOG = """\
The last lines first, then new ones as they come, until the job ends. Ctrl-C
detaches: the job goes on. The exit code is that of the job.

examples:
  orchestrate attach cluster/dgx.yaml
  orchestrate attach cluster/dgx.yaml first
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file(parser)
    add_job(parser)


def add_job(parser: argparse.ArgumentParser) -> None:
    """Add RUN, the name of a run or the id of a job."""
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?",
        default="latest",
        help="name of the run, TASK/NAME, or id of the job (default: the latest job)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Follow; returns the exit code of the job, 0 after Ctrl-C."""
    from cluster.launcher import on_head
    from orchestrator.reporting.submitted import job_named
    from trainables.common.text import printable

    file, login = open_cluster(arguments.file)
    identity = str(job_named(arguments.run, ask_head(login, on_head(file, login, "jobs")))["id"])
    console = messages()
    print_message(console, f"job {printable(identity, keeps='')}; Ctrl-C detaches, and the job goes on")
    try:
        with login.streaming(on_head(file, login, "follow", identity)) as lines:
            for line in lines:
                sys.stdout.write(printable(line))
                sys.stdout.flush()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        print_message(console, "detached; the job goes on")
        print_next(console, "orchestrate", "attach", arguments.file, arguments.run)
        return 0
    job = job_named(identity, ask_head(login, on_head(file, login, "jobs")))
    print_message(console, f"job {printable(identity, keeps='')}: {str(job['status']).lower()}")
    return exit_code_of(job)


def exit_code_of(job: Mapping[str, Any]) -> int:
    """Return the exit code of a job that has ended; one that was stopped counts as interrupted."""
    from trainables.common.errors import INTERRUPTED

    if job["status"] == "SUCCEEDED":
        return 0
    if job["status"] == "STOPPED":
        return INTERRUPTED
    code = job.get("exit_code")
    return code if isinstance(code, int) and code != 0 else 1
