"""`orchestrate strata`."""

import argparse

from orchestrator.cli.common import (
    add_format,
    add_model,
    add_operation,
    add_run,
    open_run,
    operation_of,
)
from orchestrator.reporting.console import show, warn_if_synthetic

HELP = "say for whom a model fails: scores by every column of the data"
EPILOG = """\
Every column of the data (density, age in decades, vendor, site, view, size of
the finding) makes strata, which are scored on out-of-fold predictions. Each is
compared with the others of its column by AUC, recall and specificity, and all
comparisons are corrected for their number: `*` marks what the data show. Where
a column names sites, the AUC within a site stands beside that of all pairs.
The sealed test part is not read. An ensemble decides as it was built to
(`ensemble --at`), unless --at, --prevalence or --triage ask for something else.

examples:
  orchestrate strata latest
  orchestrate strata latest --trial 7 --least-patients 20
  orchestrate strata latest --format csv > strata.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    add_model(parser)
    parser.add_argument(
        "--least-patients",
        type=int,
        default=10,
        metavar="N",
        help="patients of a class that a score which counts that class needs (default: 10)",
    )
    add_operation(parser, kept="as the model was built")
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Score the strata and print; returns the exit code."""
    from results.ensembles.judged import judged_model
    from results.scores.strata_table import strata_as_csv, strata_table
    from trainables.common.errors import ConfigError

    if arguments.least_patients < 2:
        raise ConfigError(f"--least-patients is at least 2, found {arguments.least_patients}")
    folder = open_run(arguments)
    model = judged_model(
        folder, ensemble=arguments.ensemble, trial=arguments.trial, operation=operation_of(arguments)
    )
    decided = f", {model.operation}" if model.operation.is_asked else ""
    scores = model.strata(least_patients=arguments.least_patients)
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: strata_table(scores, title=f"{model.name}{decided}, out of fold", split=model.split),
        rows=lambda: {"model": model.name, "split": model.split, **scores.model_dump(mode="json")},
        csv=lambda: strata_as_csv(scores, split=model.split),
    )
    return 0
