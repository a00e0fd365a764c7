"""`orchestrate recalibrate`."""

import argparse
import sys
from pathlib import Path
from typing import Final

from orchestrator.cli.common import add_operation, operation_of, short_path
from orchestrator.cli.data_audit import READING
from orchestrator.cli.options import add_options, given_options
from orchestrator.reporting.console import messages, print_message, print_next, print_warning

_RUNS: Final = Path("runs")
HELP = "fit calibration and threshold of a bundle on a small local set"
EPILOG = """\
The weights stay as they are. A closed test takes the simplest change of the
calibration that the local patients do not speak against: none, the intercept,
or slope and intercept. The threshold is that of the bundle's operating point,
or of --at, on the local data; --triage is exact there, since the model never
saw these patients. What --at, --prevalence and --triage leave open is kept as
the bundle has it. The new bundle says what it was fitted on.

examples:
  orchestrate recalibrate bundle/ --data local.npz --out local_bundle/
  orchestrate recalibrate bundle/ --data local.npz --at sensitivity=0.95 \\
      --prevalence 0.006 --out screening_bundle/
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that export wrote")
    parser.add_argument(
        "--data", required=True, metavar="PATH", help="local labelled data, as --data of a search takes them"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write; must not hold anything yet")
    parser.add_argument("--task", metavar="FILE", help="the YAML file of a bundle's task that is your own")
    add_operation(parser, kept="as the bundle has it")
    add_options(parser, (*READING, "store"))
    parser.add_argument("--runs", type=Path, default=_RUNS, help=f"folder of all runs (default: {_RUNS})")


def run(arguments: argparse.Namespace) -> int:
    """Recalibrate and say what was done; returns the exit code."""
    from orchestrator.postprocessing.outside_set import LabelledData
    from orchestrator.postprocessing.recalibrating import recalibrate
    from orchestrator.request import typed_command

    console = messages()
    asked = LabelledData(
        arguments.data,
        typed_command(sys.argv[1:]),
        lambda text: print_message(console, text),
        given_options(arguments, (*READING, "store", "runs")),
    )
    report = recalibrate(
        arguments.bundle, arguments.out, asked, task=arguments.task, operation=operation_of(arguments)
    )
    for note in report.notes:
        print_warning(console, note)
    for message in report.messages():
        print_message(console, message)
    words = ("--data", "OTHER", *_where(arguments))
    print_next(console, "orchestrate", "evaluate", short_path(arguments.out), *words)
    return 0


def _where(arguments: argparse.Namespace) -> list[str]:
    """The options that say what the task is and where the store is, word by word; looks are counted there."""
    given = {
        "--task": arguments.task,
        "--store": given_options(arguments, ("store",)).get("store"),
        "--runs": None if arguments.runs == _RUNS else arguments.runs,
    }
    return [word for name, value in given.items() if value is not None for word in (name, str(value))]
