"""`orchestrate cluster up`."""

import argparse

from orchestrator.cli.remote import add_file
from orchestrator.reporting.console import messages, print_message, print_next

HELP = "install on the machines of a cluster and start Ray there, unless a search runs"
EPILOG = """\
Runs `ray up -y FILE`, and says so. A second `ray up` starts Ray anew, which
kills running searches: so every machine of the file is asked, of rented ones
the head alone, and it is refused while one runs there. --no-restart sends
changed code and files and leaves Ray and searches alone; --restart kills
them, and what was killed can be resumed. A file of which a Ray would ask for
no token is refused: `orchestrate cluster check FILE` says what it lacks.

examples:
  orchestrate cluster up cluster/dgx.yaml
  orchestrate cluster up cluster/dgx.yaml --no-restart
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--no-restart", action="store_true", help="leave Ray alone; send code and files only")
    how.add_argument("--restart", action="store_true", help="start Ray anew even if that kills a search")


def run(arguments: argparse.Namespace) -> int:
    """Start the cluster; returns the exit code."""
    from cluster.cluster_file import read_cluster_file
    from cluster.launcher import up

    console = messages()
    restart = True if arguments.restart else False if arguments.no_restart else None
    up(
        read_cluster_file(arguments.file),
        restart=restart,
        say=lambda text: print_message(console, text),
    )
    print_next(console, "orchestrate", "cluster", "status", arguments.file)
    return 0
