"""`orchestrate data audit`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.common import add_format
from orchestrator.cli.options import add_options, given_options
from orchestrator.reporting.console import messages, print_message, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from results.run.audit_record import AuditRecord

HELP = "look for copies, patients in two parts, doubtful labels, and labels that need no look at the tissue"
EPILOG = """\
Every search does this once for a set and prints five lines; here, all that was
found is named, and all images of a large set are looked at. Near copies are
found though they were saved again, brightened, turned, or cut by 3 %.
Warnings leave the exit code 0; with --strict it is 2.

examples:
  orchestrate data audit patches.npz --task benign_malignant
  orchestrate data audit idc/ --task idc --format json > audit.json
  orchestrate data audit images/ --task tasks.yaml --strict
"""
READING: Final = ("source", "label_codes", "max_value", "upper_folders")
_SPLITTING: Final = ("folds", "holdout", "naive_split", "test_share", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser, _SPLITTING)
    parser.add_argument("--strict", action="store_true", help="end with exit code 2 if there are warnings")
    add_format(parser)


def add_data(parser: argparse.ArgumentParser, further: Sequence[str] = ()) -> None:
    """Declare DATA, --task and what a search takes to read data.

    Args:
        parser: Parser of the action.
        further: Names of further options of a search.
    """
    parser.add_argument("data", metavar="DATA", help="data as --data of a search takes them, or phantom")
    parser.add_argument(
        "--task",
        required=True,
        metavar="NAME|FILE",
        help="the task, or a YAML file that defines one of your own",
    )
    add_options(parser, (*READING, *further, "store"))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")


def run(arguments: argparse.Namespace) -> int:
    """Audit and print; returns the exit code."""
    from orchestrator.api.data import audit_data

    console = messages()
    record = audit_data(
        arguments.data,
        arguments.task,
        is_whole=True,
        notify=lambda text: print_message(console, text),
        **options_of(arguments),
    )
    show(
        arguments.format,
        table=lambda: audit_table(record),
        rows=lambda: record.model_dump(mode="json"),
        csv=lambda: _csv(record),
    )
    return 2 if arguments.strict and record.warnings else 0


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Options of a search that were typed, by name."""
    return given_options(arguments, (*READING, *_SPLITTING, "store", "runs"))


def audit_table(record: "AuditRecord") -> "RenderableType":
    """The audit as lines and tables that fit 80 columns."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head, *_ = record.lines()
    parts: list[RenderableType] = [Text(head, "bold"), ""]
    for finding in record.findings:
        mark = "WARNING" if finding.is_warning else "remark"
        parts.append(Text(f"{mark}, {finding.check}: {finding.text}", "yellow" if finding.is_warning else ""))
        parts += [Text(f"    {example}") for example in finding.examples]
    if not record.findings:
        parts.append(Text("nothing was found"))
    if record.lacks:
        parts.append(Text(f"not known, so not looked at: {', '.join(record.lacks)}"))
    parts.append("")
    if not record.shortcuts:
        parts.append(Text(f"shortcuts were not scored: {record.unscored}"))
        return Group(*parts)
    with_sites = any(shortcut.within_sites is not None for shortcut in record.shortcuts)
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.title = f"What tells the label without the tissue, on {record.scored} training images"
    table.add_column("Sees")
    for title in ("AUC", "95 % interval", *(["within sites"] if with_sites else [])):
        table.add_column(title, justify="right", no_wrap=True)
    for one in record.shortcuts:
        within = "" if one.within_sites is None else f"{one.within_sites:.2f}"
        cells = [
            one.sees,
            f"{one.auc:.2f}",
            f"{one.low:.2f} to {one.high:.2f}",
            *([within] if with_sites else []),
        ]
        table.add_row(*cells)
    return Group(*parts, table)


def _csv(record: "AuditRecord") -> str:
    """One row a finding, then one row a shortcut."""
    from results.tables import csv_text

    findings = [
        {"check": one.check, "is_warning": one.is_warning, "what": one.text, "count": one.count}
        | {"examples": "; ".join(one.examples)}
        for one in record.findings
    ]
    scores = [
        {"check": "shortcut score", "what": one.sees, "auc": one.auc, "low": one.low, "high": one.high}
        | {"auc_within_sites": one.within_sites}
        for one in record.shortcuts
    ]
    columns = ("check", "is_warning", "what", "count", "examples", "auc", "low", "high", "auc_within_sites")
    return csv_text([*findings, *scores], columns)
