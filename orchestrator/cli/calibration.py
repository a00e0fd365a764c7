"""`orchestrate calibration`."""

import argparse

from orchestrator.cli.common import add_format, add_model, add_run, open_run
from orchestrator.reporting.console import show, warn_if_synthetic

HELP = "compare ways to calibrate a model, and say how far to believe it"
EPILOG = """\
Platt's scaling, which calibrates every model, is compared with temperature,
beta and isotonic calibration and a Venn-Abers predictor by log loss on parts
that they were not fitted on. Slope, intercept, the smooth calibration error
and, in JSON, the reliability curve with its bands say how far probabilities
can be believed. The sealed test part is not read.

examples:
  orchestrate calibration latest
  orchestrate calibration latest --trial 7 --format json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    add_model(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print; returns the exit code."""
    from results.ensembles.judged import judged_model
    from results.scores.calibration_table import calibration_table, calibrations_as_csv

    folder = open_run(arguments)
    model = judged_model(folder, ensemble=arguments.ensemble, trial=arguments.trial)
    found = model.calibrations()
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: calibration_table(found, split=model.split),
        rows=lambda: {"split": model.split, **found.model_dump(mode="json")},
        csv=lambda: calibrations_as_csv(found, split=model.split),
    )
    return 0
