"""`orchestrate export`."""

import argparse
from pathlib import Path

from orchestrator.cli.common import add_model, add_operation, add_run, operation_of
from orchestrator.reporting.console import messages, print_message, print_next
from results.export.allowed_change import (
    DISTIL_WEIGHT,
    MAX_AUC_LOSS,
    MAX_CHANGED_CALLS,
    PRECISIONS,
    STUDENT_AUC_LOSS,
    STUDENT_CHANGED_CALLS,
    ExportChanges,
)
from trainables.common.text import typed_path

HELP = "write the winning ensemble, or one trial, as one ONNX file with a model card"
EPILOG = """\
Raw pixels in, calibrated probability out: scaling, contrast, resizing,
normalisation, views and the whole ensemble lie inside the file. It is
compared with PyTorch before it is kept. If its trials compare pairs, it takes
a healthy baseline of each image too; if they use the type of the finding as
people gave it, it takes that as well.

--precision makes the networks in the file smaller, and mostly faster: fp16 for
GPUs, int8 for processors. --distil trains one trial of the run to answer as
the whole ensemble does, and exports it in its place. Both are compared with
what they take the place of, on images of the training part, and are refused
if AUC or calls change by more than --max-auc-loss and --max-changed-calls.

examples:
  orchestrate export latest --out bundle/
  orchestrate export latest --trial 7 --out bundle_of_trial_7/
  orchestrate export latest --refit --out bundle_of_refitted/
  orchestrate export latest --at sensitivity=0.95 --prevalence 0.006 \\
      --triage missed=0.02,alarms=0.1 --out bundle_for_screening/
  orchestrate export latest --precision int8 --out small_bundle/
  orchestrate export latest --distil --max-ms 20 --out student/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; must not hold anything yet")
    parser.add_argument(
        "--max-ms",
        type=float,
        metavar="MS",
        help="take the best model that needs at most this long for one image on one core of this machine; "
        "one that is named (--ensemble, --trial, --refit, a number after --distil) is refused if slower",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", *PRECISIONS),
        default="float32",
        help="number type of the networks in the file (default: float32)",
    )
    parser.add_argument(
        "--distil",
        nargs="?",
        const=True,
        default=False,
        type=int,
        metavar="TRIAL",
        help="train one trial's configuration on what the ensemble predicts and the labels, and export it; "
        "without a number, the best trial within --max-ms, or the fastest of those that may be the best",
    )
    parser.add_argument(
        "--distil-weight",
        type=float,
        metavar="SHARE",
        help="share of the ensemble's predictions in what a student learns; the labels have the rest "
        f"(default: {DISTIL_WEIGHT:g})",
    )
    parser.add_argument(
        "--max-auc-loss",
        type=float,
        metavar="LOSS",
        help="refuse a lower precision or a student whose AUC is lower by more "
        f"(default: {MAX_AUC_LOSS:g}; of a student {STUDENT_AUC_LOSS:g})",
    )
    parser.add_argument(
        "--max-changed-calls",
        type=float,
        metavar="SHARE",
        help="refuse it if a larger share of the images is called another class "
        f"(default: {MAX_CHANGED_CALLS:g}; of a student {STUDENT_CHANGED_CALLS:g})",
    )
    add_model(parser, refit="take the models that `orchestrate refit` trained on the whole training part")
    add_operation(parser, kept="as the model was built")


def run(arguments: argparse.Namespace) -> int:
    """Export; returns the exit code."""
    from orchestrator.cli.opened import open_result

    console = messages()
    report = open_result(arguments).export_report(
        arguments.out,
        ensemble=arguments.ensemble,
        trial=arguments.trial,
        refit=arguments.refit,
        max_ms=arguments.max_ms,
        operation=operation_of(arguments),
        changes=ExportChanges(
            precision=arguments.precision,
            distil=arguments.distil,
            distil_weight=arguments.distil_weight,
            max_auc_loss=arguments.max_auc_loss,
            max_changed_calls=arguments.max_changed_calls,
        ),
        say=lambda sentence: print_message(console, sentence),
    )
    for message in report.messages():
        print_message(console, message)
    print_next(console, *report.manifest.command(typed_path(arguments.out)))
    return 0
