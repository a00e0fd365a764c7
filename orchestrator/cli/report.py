"""`orchestrate report`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.common import add_format, add_run, open_run, short_path
from orchestrator.reporting.console import (
    messages,
    print_message,
    print_warning,
    show,
    warn_if_synthetic,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from orchestrator.report.checklist import Checklist
    from orchestrator.report.written import WrittenReport

HELP = "write one page about a search that can be handed on"
EPILOG = """\
The page is one HTML file: it needs no network and no script, is light and
dark, and can be printed. It holds small copies of images of patients, unless
--no-pictures leaves them out: hand it on as you would the data. Nothing is
trained or opened for it; the sealed test part stays closed.

--checklist fills each item of a reporting guideline from the run, with the
file that the answer comes from, and says what is missing and what is yours
to write. It stands in the page and is printed; --format json and csv are for
programs. --figures writes each figure as SVG, and its numbers as CSV.

examples:
  orchestrate report latest
  orchestrate report first --out first.html --pdf --figures figures/
  orchestrate report first --checklist claim --checklist tripod-ai
  orchestrate report first --checklist stard-ai --format json > stard.json
"""
_CHECKLISTS = ("claim", "tripod-ai", "stard-ai", "metrics")  # not imported: help starts without pydantic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the HTML file (default: report.html in the run folder)"
    )
    parser.add_argument(
        "--pdf", action="store_true", help="print it to a PDF beside it, too; needs Chromium or Chrome"
    )
    parser.add_argument(
        "--figures", type=Path, metavar="FOLDER", help="write the figures as SVG and CSV to this folder"
    )
    parser.add_argument(
        "--checklist",
        action="append",
        choices=_CHECKLISTS,
        default=[],
        help="fill this checklist; may be repeated",
    )
    parser.add_argument("--no-pictures", action="store_true", help="show no image of the data")
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the report, and print where it is and the checklists; returns the exit code."""
    from orchestrator.report.checklist import checklists_as_csv
    from orchestrator.report.facts import unreadable_results
    from orchestrator.report.written import write_report

    folder, console = open_run(arguments), messages()
    warn_if_synthetic(folder)
    for damage in unreadable_results(folder):
        print_warning(console, f"the report goes without: {damage}")
    written = write_report(
        folder,
        arguments.out,
        checklists=tuple(dict.fromkeys(arguments.checklist)),
        figures=arguments.figures,
        with_pdf=arguments.pdf,
        with_pictures=not arguments.no_pictures,
    )
    checklists = written.report.checklists
    if checklists or arguments.format != "table":
        show(
            arguments.format,
            table=lambda: checklist_tables(checklists),
            rows=lambda: _as_json(written),
            csv=lambda: checklists_as_csv(checklists),
        )
    for path in (written.page, written.pdf, written.figures):
        if path is not None:
            print_message(console, f"written: {short_path(path)}")
    return 0


def checklist_tables(checklists: "Sequence[Checklist]") -> "RenderableType":
    """Return the checklists as tables that fit 80 columns."""
    from rich.console import Group
    from rich.text import Text

    from results.tables import result_table

    parts: list[RenderableType] = []
    for checklist in checklists:
        counts = ", ".join(f"{number} {status}" for status, number in checklist.counts.items())
        table = result_table(title=f"{checklist.title}: {counts}", title_justify="left")
        table.add_column("item", no_wrap=True)
        table.add_column("topic", max_width=18)
        table.add_column("status", no_wrap=True)
        table.add_column("what the run says, and what is missing", ratio=1)
        for one in checklist.items:
            said = Text(one.text)
            if one.files:
                said.append(f" ({one.files})", "dim")
            if one.missing:
                said.append(f"{' ' if one.text else ''}Missing: {one.missing}.", "yellow")
            table.add_row(one.item.number, one.item.topic, one.status, said)
        table.caption = f"Items are paraphrased from {checklist.source} {checklist.checked}"
        parts += [table, ""]
    return Group(*parts)


def _as_json(written: "WrittenReport") -> dict[str, Any]:
    return {
        "page": str(written.page),
        "pdf": None if written.pdf is None else str(written.pdf),
        "figures": [] if written.figures is None else sorted(path.name for path in written.figures.iterdir()),
        "score": written.report.claim,
        "checklists": {one.name: one.as_json() for one in written.report.checklists},
    }
