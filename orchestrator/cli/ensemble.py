"""`orchestrate ensemble`."""

import argparse

from orchestrator.cli.common import add_format, add_run, open_run, short_path
from orchestrator.reporting.console import messages, print_message, print_next, show, warn_if_synthetic

HELP = "build ensembles from the best trials of a run"
EPILOG = """\
Weights and stackers are fitted on out-of-fold predictions and scored by a
second cross-validation over patients, which repeats the choice of members,
too. The simplest method that may be the best is kept as `best`.

examples:
  orchestrate ensemble latest
  orchestrate ensemble latest --members 6 --methods average greedy
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument("--members", type=int, default=4, help="members of an ensemble at most (default: 4)")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="default: all that fit the task")
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Build and print the ensembles; returns the exit code."""
    from results.ensembles.build import build_ensembles
    from results.ensembles.methods import METHODS, methods_for
    from results.ensembles.tables import ensemble_table, ensembles_as_csv, ensembles_as_json

    folder = open_run(arguments)
    classes = len(folder.search().classes)
    without = [name for name in METHODS if name not in methods_for(classes)]
    if without and not arguments.methods:
        print_message(
            messages(), f"left out, since they are for two classes and not {classes}: {', '.join(without)}"
        )
    found = build_ensembles(
        folder,
        max_members=arguments.members,
        methods=arguments.methods,
        seed=folder.search().request.seed,
    )
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: ensemble_table(found),
        rows=lambda: ensembles_as_json(found),
        csv=lambda: ensembles_as_csv(found),
    )
    print_next(messages(), "orchestrate", "evaluate", short_path(folder.path))
    return 0
