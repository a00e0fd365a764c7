"""`orchestrate thresholds`."""

import argparse

from orchestrator.cli.common import add_format, add_model, add_run, open_run
from orchestrator.reporting.console import show, warn_if_synthetic

HELP = "say what an ensemble, or a trial, would call at each threshold"
EPILOG = """\
Thresholds go from 0.05 to 0.95 over calibrated out-of-fold probabilities: the
model and the calibration that score an image were fitted without its patient.
The sealed test part is not read, so that a threshold may be chosen here and
tested later. The model's own threshold carries a star.

examples:
  orchestrate thresholds latest
  orchestrate thresholds latest --trial 7
  orchestrate thresholds latest --ensemble average \\
      --format csv > thresholds.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    add_model(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the sweep; returns the exit code."""
    from results.predictors.threshold_sweep import sweep_as_csv, sweep_as_json, sweep_of, sweep_table

    folder = open_run(arguments)
    swept = sweep_of(folder, ensemble=arguments.ensemble, trial=arguments.trial)
    warn_if_synthetic(folder)
    show(
        arguments.format,
        table=lambda: sweep_table(swept),
        rows=lambda: sweep_as_json(swept),
        csv=lambda: sweep_as_csv(swept),
    )
    return 0
