"""`orchestrate export`."""

import argparse
from pathlib import Path

from orchestrator.cli.common import add_model, add_operation, add_run, open_run, operation_of
from orchestrator.reporting.console import messages, print_message, print_next
from trainables.common.text import typed_path

HELP = "write the winning ensemble, or one trial, as one ONNX file with a model card"
EPILOG = """\
Raw pixels in, calibrated probability out: scaling, contrast, resizing,
normalisation, views and the whole ensemble lie inside the file. It is
compared with PyTorch before it is kept. If its trials compare pairs, it takes
a healthy baseline of each image too; if they use the type of the finding as
people gave it, it takes that as well.

examples:
  orchestrate export latest --out bundle/
  orchestrate export latest --trial 7 --out bundle_of_trial_7/
  orchestrate export latest --refit --out bundle_of_refitted/
  orchestrate export latest --at sensitivity=0.95 --prevalence 0.006 \\
      --triage missed=0.02,alarms=0.1 --out bundle_for_screening/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; must not hold anything yet")
    parser.add_argument(
        "--max-ms",
        type=float,
        metavar="MS",
        help="refuse a file that takes longer for one image on one core of this machine, in milliseconds",
    )
    add_model(parser, refit="take the models that `orchestrate refit` trained on the whole training part")
    add_operation(parser)


def run(arguments: argparse.Namespace) -> int:
    """Export; returns the exit code."""
    from results.export.bundle import export_bundle

    report = export_bundle(
        open_run(arguments),
        arguments.out,
        ensemble=arguments.ensemble,
        trial=arguments.trial,
        refit=arguments.refit,
        max_ms=arguments.max_ms,
        operation=operation_of(arguments),
    )
    console = messages()
    for message in report.messages():
        print_message(console, message)
    print_next(console, *report.manifest.command(typed_path(arguments.out)))
    return 0
