"""`orchestrate repeat`."""

import argparse

from orchestrator.cli.common import add_code, add_format, add_run, at_least_one
from orchestrator.reporting.console import print_next, show, warn_if_synthetic

HELP = "train the best trials again with other seeds and folds"
EPILOG = """\
A search ranks its trials on one cut into folds with one seed, and its winner
owes a part of its score to both. The finalists are trained again, each repeat
with a seed and folds of its own; the sealed test part stays sealed, and no
feature is computed again. `orchestrate compare` then takes the repeats for
trials that have them.

What is finished is kept: interrupted repeats go on where they were, and
finalists that were lost to their machine are tried again. What --results of
the search has copied is copied again at the end, with all of this.

examples:
  orchestrate repeat latest
  orchestrate repeat benign_malignant/first --repeats 5 --finalists 2
  orchestrate repeat latest --format json > repeats.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument(
        "--repeats",
        type=at_least_one,
        metavar="N",
        help="number of repeats (default: that of the repeats that are there, else what the search asked "
        "for, else 3)",
    )
    parser.add_argument(
        "--finalists",
        type=at_least_one,
        metavar="N",
        help="number of best trials (default: that of the repeats that are there, else 3)",
    )
    parser.add_argument("--address", help="a Ray cluster: HOST:PORT, auto, or local to start one here")
    add_code(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Repeat the finalists and print their scores; returns the exit code."""
    from orchestrator.cli.common import open_run

    folder = open_run(arguments)  # before what takes seconds to import
    from orchestrator.api.copies import copied_at_end
    from orchestrator.api.repeating import repeat_search
    from orchestrator.cli.closing import CommandDisplay
    from orchestrator.cli.common import given_again, short_path
    from orchestrator.tuning.reopen import ResumeOptions
    from results.scores.repeats_table import repeats_as_csv, repeats_as_json, repeats_table
    from trainables.common.errors import INTERRUPTED

    display = CommandDisplay()
    with copied_at_end(folder, display):
        found = repeat_search(
            folder,
            repeats=arguments.repeats,
            finalists=arguments.finalists,
            address=arguments.address,
            progress=display,
            options=ResumeOptions(space=arguments.space, sampler=arguments.sampler, pruner=arguments.pruner),
        )
    if found is None:
        again = given_again(arguments, "repeats", "finalists", "space", "sampler", "pruner")
        print_next(display.console, "orchestrate", "repeat", short_path(folder.path), *again)
        return INTERRUPTED
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: repeats_table(found),
        rows=lambda: repeats_as_json(found),
        csv=lambda: repeats_as_csv(found),
    )
    return 0
