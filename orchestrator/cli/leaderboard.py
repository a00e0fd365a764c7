"""`orchestrate leaderboard`."""

import argparse

from orchestrator.cli.common import add_format, add_run, open_run
from orchestrator.reporting.console import show, warn_if_synthetic

HELP = "rank the trials of a run, with intervals"
EPILOG = """\
AUC is the mean over folds of out-of-fold predictions; its 95 % interval is
over patients and training parts. Decisions (F2, F1, accuracy, recall,
precision) use, in each fold, a threshold chosen on the other folds. Trials
marked = may be the best, those marked < are worse; rank 1 was selected by
its score, and what that is worth without the luck is said below the table.

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
    from trainables.common.files import write_atomically

    folder = open_run(arguments)
    rows = leaderboard(folder)
    write_atomically(folder.leaderboard_file, rows_as_csv(rows))
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: leaderboard_table(rows, limit=arguments.top),
        rows=lambda: rows_as_json(rows),
        csv=lambda: rows_as_csv(rows),
    )
    return 0
