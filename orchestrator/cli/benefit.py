"""`orchestrate benefit`."""

import argparse

from orchestrator.cli.common import add_format, add_model, add_run, open_run
from orchestrator.reporting.console import show, warn_if_synthetic

HELP = "say what acting on a model is worth at each threshold (decision curve)"
EPILOG = """\
Who acts from a probability of 5 % on takes nineteen false alarms for one that
is found. At each threshold the model is compared with acting on all images and
on none, on calibrated out-of-fold predictions, with intervals over patients.
--prevalence weighs the images as they occur where the model will be used. The
sealed test part is not read.

examples:
  orchestrate benefit latest
  orchestrate benefit latest --prevalence 0.006 --thresholds 0.01 0.02 0.03
  orchestrate benefit latest --trial 7 --format csv > curve.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    add_model(parser)
    parser.add_argument(
        "--prevalence",
        type=float,
        metavar="SHARE",
        help="share of positives where the model will be used (default: that of the data)",
    )
    parser.add_argument(
        "--thresholds",
        type=float,
        nargs="+",
        metavar="P",
        help="probabilities from which one acts (default: 13 from 0.01 to 0.9)",
    )
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compute the curve and print; returns the exit code."""
    from results.ensembles.judged import judged_model
    from results.scores.decision_curve import THRESHOLDS
    from results.scores.decision_curve_table import decision_curve_as_csv, decision_curve_table

    folder = open_run(arguments)
    model = judged_model(folder, ensemble=arguments.ensemble, trial=arguments.trial)
    thresholds = THRESHOLDS if arguments.thresholds is None else arguments.thresholds
    curve = model.decision_curve(thresholds=thresholds, prevalence=arguments.prevalence)
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: decision_curve_table(curve, split=model.split),
        rows=lambda: {"split": model.split, **curve.model_dump(mode="json")},
        csv=lambda: decision_curve_as_csv(curve, split=model.split),
    )
    return 0
