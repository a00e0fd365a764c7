"""`orchestrate nest`."""

import argparse
import sys

from orchestrator.cli.common import add_code, add_format, add_run
from orchestrator.reporting.console import print_next, show, warn_if_synthetic

HELP = "score a whole search on patients that no part of it has seen"
EPILOG = """\
The search runs once more without each of K outer folds, with the same space,
points, sampler, pruner and number of trials; what it ships then predicts the
fold that it did not see. Outer folds are parts of the training patients: the
sealed test part stays sealed. Features of frozen layers do not depend on
folds, so they are read from the store, never computed again.

What is finished is kept: an interrupted nested search goes on where it was.
Where all is there, the result is printed and nothing runs. What --results of
the search has copied is copied again at the end, with all of this.

examples:
  orchestrate nest latest
  orchestrate nest benign_malignant/first --outer 4
  orchestrate nest latest --format json > outer.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument(
        "--outer",
        type=int,
        metavar="K",
        help="number of outer folds (default: those that the search asked for, or that are there, else 5)",
    )
    parser.add_argument("--address", help="a Ray cluster: HOST:PORT, auto, or local to start one here")
    add_code(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Nest a search and print its score; returns the exit code."""
    from orchestrator.cli.common import open_run

    folder = open_run(arguments)  # before what takes seconds to import
    from orchestrator.api.copies import copied_at_end
    from orchestrator.api.nesting import nest_search
    from orchestrator.cli.closing import CommandDisplay
    from orchestrator.cli.common import given_again, short_path
    from orchestrator.request import typed_command
    from orchestrator.tuning.reopen import ResumeOptions
    from results.scores.outer_table import outer_as_csv, outer_as_json, outer_table
    from trainables.common.errors import INTERRUPTED

    display = CommandDisplay()
    with copied_at_end(folder, display):
        result = nest_search(
            folder,
            outer=arguments.outer,
            address=arguments.address,
            progress=display,
            by=typed_command(sys.argv[1:]),
            options=ResumeOptions(space=arguments.space, sampler=arguments.sampler, pruner=arguments.pruner),
        )
    if result is None:
        again = given_again(arguments, "outer", "space", "sampler", "pruner")
        print_next(display.console, "orchestrate", "nest", short_path(folder.path), *again)
        return INTERRUPTED
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: outer_table(result),
        rows=lambda: outer_as_json(result),
        csv=lambda: outer_as_csv(result),
    )
    return 0
