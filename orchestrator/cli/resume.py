"""`orchestrate resume`."""

import argparse

from orchestrator.cli.common import add_run, messages, open_run

HELP = "go on with a search that was interrupted or killed"
EPILOG = """\
Finished trials stay as they are; those that were running are run again under their own numbers, from their
last checkpoint where they had one.

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
    from orchestrator.tuning.session import resume_search

    return resume_search(
        open_run(arguments),
        address=arguments.address,
        minutes=arguments.minutes,
        trials=arguments.trials,
        console=messages(),
    )
