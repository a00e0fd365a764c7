"""`orchestrate ensemble`."""

import argparse
import functools

from orchestrator.cli.common import (
    add_format,
    add_operation,
    add_run,
    open_run,
    operation_of,
    short_path,
    warn_of_baseline,
)
from orchestrator.reporting.console import messages, print_message, print_next, show, warn_if_synthetic
from results.ensembles.limits import DEFAULT_MEMBERS

HELP = "build ensembles from the best trials of a run"
EPILOG = """\
Members are the best trial of each kind, then the second of each, among the
better half of the trials, 40 at most. A kind is the nets whose features a
model sees, and its head.
Weights and stackers are fitted on out-of-fold predictions and scored by a
second cross-validation over patients, which repeats the choice of members,
too. The simplest method that may be the best is kept as `best`, unless it does
no better than the best trial on colour and intensity only, which is kept then.

What an image costs is measured on the graph that an export would write, in
which members that share a backbone share its pass: seconds for each structure
that this machine has not measured yet.

examples:
  orchestrate ensemble latest
  orchestrate ensemble latest --members 12 --methods average greedy
  orchestrate ensemble latest --max-ms 40
  orchestrate ensemble latest --at specificity=0.9
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument(
        "--members",
        type=int,
        default=DEFAULT_MEMBERS,
        help="members of an ensemble at most (default: %(default)s)",
    )
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="default: all that fit the task")
    parser.add_argument(
        "--max-ms",
        type=float,
        metavar="MS",
        help="only members and ensembles that take at most this long for an image on one core here",
    )
    parser.add_argument(
        "--no-costs", action="store_true", help="do not measure what the ensembles cost to use"
    )
    add_operation(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Build and print the ensembles; returns the exit code."""
    from orchestrator.api.ranked import RankedTrials
    from results.ensembles.methods import METHODS, methods_for
    from results.ensembles.tables import ensemble_table, ensembles_as_csv, ensembles_as_json
    from results.scores.ranking import objectives_of
    from trainables.common.errors import ConfigError

    if arguments.no_costs and arguments.max_ms is not None:
        raise ConfigError("--max-ms goes by what ensembles cost to use: leave --no-costs out")
    folder = open_run(arguments)
    classes = len(folder.search().classes)
    without = [name for name in METHODS if name not in methods_for(classes)]
    if without and not arguments.methods:
        print_message(
            messages(), f"left out, since they are for two classes and not {classes}: {', '.join(without)}"
        )
    result = RankedTrials(folder)
    found = result.build_ensembles(
        max_members=arguments.members,
        methods=arguments.methods,
        measure=not arguments.no_costs,
        max_ms=arguments.max_ms,
        operation=operation_of(arguments),
        say=functools.partial(print_message, messages()),
    )
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: ensemble_table(found, objectives_of(folder.search())),
        rows=lambda: ensembles_as_json(found),
        csv=lambda: ensembles_as_csv(found),
    )
    warn_of_baseline(result, messages())
    further = ("evaluate",) if folder.has_sealed_part else ("export", "--out", "bundle/")
    print_next(messages(), "orchestrate", further[0], short_path(folder.path), *further[1:])
    return 0
