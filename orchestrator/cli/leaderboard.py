"""`orchestrate leaderboard`."""

import argparse

from orchestrator.cli.common import add_format, add_run, open_run
from orchestrator.reporting.console import show, warn_if_synthetic

HELP = "rank the trials of a run, with intervals"
EPILOG = """\
The first column is the metric that the search optimises, out of fold, with
its 95 % interval over patients and training parts. AUC is the mean over
folds; decisions (F2, accuracy, recall) use, in each fold, a threshold chosen
on the other folds. Trials marked = may be the best, those marked < are
worse; rank 1 was selected by its score, and what that is worth without the
luck is said below the table. With several metrics * marks the front: no
other trial is better in all of them. ! marks what misses a requirement.

examples:
  orchestrate leaderboard latest
  orchestrate leaderboard benign_malignant/first --top 50 \\
      --format csv > trials.csv
  orchestrate leaderboard latest --format json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument("--top", type=int, default=20, help="trials that are shown (default: 20)")
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the leaderboard; returns the exit code."""
    from results.scores.leaderboard import leaderboard, leaderboard_table, rows_as_csv, rows_as_json
    from results.scores.ranking import objectives_of
    from trainables.common.files import write_atomically

    folder = open_run(arguments)
    rows, search = leaderboard(folder), folder.search()
    write_atomically(folder.leaderboard_file, rows_as_csv(rows))
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: leaderboard_table(
            rows, limit=arguments.top, objectives=objectives_of(search), unit=search.request.unit
        ),
        rows=lambda: rows_as_json(rows),
        csv=lambda: rows_as_csv(rows),
    )
    return 0
