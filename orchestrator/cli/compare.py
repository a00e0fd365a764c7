"""`orchestrate compare`."""

import argparse

from orchestrator.cli.common import add_format, add_runs
from orchestrator.reporting.console import show, warn_if_synthetic

HELP = "say which of several models is better on the same patients, and how surely"
EPILOG = """\
A model is RUN for its best ensemble, RUN:average for another one, RUN:7 for a
trial. The first is compared with each of the others, on out-of-fold
predictions of the images that all predicted. Differences are paired by
patient and cover other training parts; p-values and intervals hold for all
comparisons of the table together. Comparisons that the search was asked for
before it started (search --compare) carry a mark. The sealed test part is not
read.

examples:
  orchestrate compare first second
  orchestrate compare first:7 first:12 first:average --all-pairs
  orchestrate compare latest latest:best_single --metric recall --format json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "models", nargs="+", metavar="RUN[:MODEL]", help="a run, and behind a colon an ensemble or a trial"
    )
    add_runs(parser)
    parser.add_argument("--metric", metavar="NAME", help="default: what the first search optimised")
    parser.add_argument(
        "--all-pairs", action="store_true", help="compare each with each, not only with the first"
    )
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print; returns the exit code."""
    from orchestrator.postprocessing.comparing import compare, parse_model
    from results.scores.model_comparison_table import comparison_table, comparisons_as_csv

    models = [parse_model(text, arguments.runs) for text in arguments.models]
    warn_if_synthetic(models[0][0])
    found = compare(models, metric=arguments.metric, has_all_pairs=arguments.all_pairs)
    show(
        arguments.format,
        table=lambda: comparison_table(found),
        rows=lambda: found.model_dump(mode="json"),
        csv=lambda: comparisons_as_csv(found),
    )
    return 0
