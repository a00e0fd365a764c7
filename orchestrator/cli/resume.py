"""`orchestrate resume`."""

import argparse

from orchestrator.cli.common import add_run, open_run
from orchestrator.reporting.console import messages

HELP = "go on with a search that was interrupted or killed"
EPILOG = """\
Finished trials stay as they are; those that were running are run again under
their own numbers, from their last checkpoint where they had one.

examples:
  orchestrate resume latest
  orchestrate resume benign_malignant/first --minutes 30
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument("--address", help="a Ray cluster: HOST:PORT, auto, or local to start one here")
    parser.add_argument(
        "--minutes", type=float, help="stop after this time (default: the search's own budget)"
    )
    parser.add_argument(
        "--trials", type=int, help="number of trials in all (default: as the search was asked)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Resume; returns the exit code."""
    folder, console = open_run(arguments), messages()
    from orchestrator.cli.closing import close_search, notify_on, terminal_view
    from orchestrator.tuning.session import resume_search

    outcome = resume_search(
        folder,
        address=arguments.address,
        minutes=arguments.minutes,
        trials=arguments.trials,
        notify=notify_on(console),
        open_view=terminal_view(console),
    )
    return close_search(outcome, console, finish=False)
