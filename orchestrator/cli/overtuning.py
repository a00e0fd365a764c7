"""`orchestrate overtuning`."""

import argparse

from orchestrator.cli.common import add_format, add_run, open_run
from orchestrator.reporting.console import show, warn_if_synthetic

HELP = "say how much of a search's result is luck, and whether searching longer pays"
EPILOG = """\
The best of many trials owes a part of its score to luck, the more the longer
a search is. The curve shows, trial by trial, the best so far as the
leaderboard has it, and what choosing it is worth on patients that did not
choose it (BBC-CV). Beside it stand the first trial, the nested scores, and the
sealed part once it was opened. Nothing runs, and no sealed patient is read.

examples:
  orchestrate overtuning latest
  orchestrate overtuning benign_malignant/first --format csv > curve.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the overtuning of a run; returns the exit code."""
    folder = open_run(arguments)
    from orchestrator.api.overtuning import overtuning_of_run
    from results.scores.overtuning_table import overtuning_as_csv, overtuning_as_json, overtuning_table

    found = overtuning_of_run(folder)
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: overtuning_table(found),
        rows=lambda: overtuning_as_json(found),
        csv=lambda: overtuning_as_csv(found),
    )
    return 0
