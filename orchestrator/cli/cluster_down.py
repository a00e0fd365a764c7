"""`orchestrate cluster down`."""

import argparse

from orchestrator.cli.remote import add_file
from orchestrator.reporting.console import messages, print_message

HELP = "end the searches of a cluster, then Ray on all of its machines"
EPILOG = """\
Searches that run there are ended as Ctrl-C ends them, so that they can be
resumed; they have ten minutes, and those that take longer are named. Then
`ray down -y FILE` is run, which ends Ray on the first machine only, and
`ray stop` on each of the others; at last every machine is asked whether
something of Ray is left. Files stay: environment, project, runs and data.
Rented machines are given back, with what is on them, and not asked.

examples:
  orchestrate cluster down cluster/dgx.yaml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file(parser)


def run(arguments: argparse.Namespace) -> int:
    """End the cluster; returns the exit code."""
    from cluster.cluster_file import read_cluster_file
    from cluster.launcher import down

    console = messages()
    down(read_cluster_file(arguments.file), say=lambda text: print_message(console, text))
    return 0
