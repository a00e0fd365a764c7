"""`orchestrate leaderboard`."""

import argparse
import functools
from typing import Final

from orchestrator.cli.common import add_format, add_run, at_least_one, open_run
from orchestrator.reporting.console import (
    messages,
    print_message,
    print_warning,
    show,
    warn_if_synthetic,
)

HELP = "rank the trials of a run, with intervals"
EPILOG = """\
The first column is the metric that the search optimises, out of fold, with
its 95 % interval over patients and training parts. AUC is the mean over
folds; decisions (F2, accuracy, recall) use, in each fold, a threshold chosen
on the other folds. Trials marked = may be the best, those marked < are
worse; rank 1 was selected by its score, and what that is worth without the
luck is said below the table. With several metrics * marks the front: no
other trial is better in all of them. ! marks what misses a requirement. Of
more than 1,000 complete trials the best 1,000 are compared; those behind them
have a rank and a value, and neither mark nor interval.

ms/image and MB are those of the graph that an export would write, on one core;
GPU ms is the time on the GPU of the machine that measured it. A search
measures its best trials at its end, for a tenth of its time at most; --costs
measures all trials that are shown, seconds for each new structure.

examples:
  orchestrate leaderboard latest
  orchestrate leaderboard benign_malignant/first --top 50 \\
      --format csv > trials.csv
  orchestrate leaderboard latest --format json
  orchestrate leaderboard latest --top 5 --costs
"""
_IN_A_TABLE: Final = 20  # trials that are shown, and measured, where --top does not say it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument(
        "--top",
        type=at_least_one,
        metavar="N",
        help="trials that are shown, in every format (default: 20 in a table, all as JSON and CSV)",
    )
    parser.add_argument(
        "--costs",
        action="store_true",
        help="measure what the shown trials cost to use, where that is not known",
    )
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the leaderboard; returns the exit code."""
    from orchestrator.api.ranked import RankedTrials
    from results.scores.leaderboard_table import best_rows, leaderboard_table, rows_as_csv, rows_as_json
    from results.scores.outer_result import readable_outer
    from results.scores.outer_table import with_nested_score
    from results.scores.ranking import objectives_of

    folder = open_run(arguments)
    limit = arguments.top or _IN_A_TABLE
    result, search = RankedTrials(folder), folder.search()
    if arguments.costs:
        result.measure_best(limit, say=functools.partial(print_message, messages()))
    rows = result.keep_ranking(say=functools.partial(print_warning, messages()))
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: with_nested_score(
            leaderboard_table(
                rows,
                limit=limit,
                objectives=objectives_of(search),
                unit=search.request.unit,
                classes=len(search.classes),
            ),
            readable_outer(folder),
        ),
        rows=lambda: rows_as_json(best_rows(rows, arguments.top)),
        csv=lambda: rows_as_csv(best_rows(rows, arguments.top)),
    )
    return 0
