"""`orchestrate data describe`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.common import add_format
from orchestrator.cli.data_audit import READING, add_data
from orchestrator.cli.options import given_options
from orchestrator.reporting.console import messages, print_message, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.description.set_description import SetDescription

HELP = "say what a data set holds: counts, histograms, sizes, samples and odd images"
EPILOG = """\
--out writes one HTML page that needs no network. It holds small copies of
images: keep it where the data are kept.

examples:
  orchestrate data describe patches.npz --task benign_malignant --out set.html
  orchestrate data describe idc/ --task idc --format json > set.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_data(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write an HTML page with pictures")
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Describe, print and write the page; returns the exit code."""
    from orchestrator.api.data import describe_data

    console = messages()
    description = describe_data(
        arguments.data,
        arguments.task,
        arguments.out,
        notify=lambda text: print_message(console, text),
        **given_options(arguments, (*READING, "store", "runs")),
    )
    show(
        arguments.format,
        table=lambda: description_table(description),
        rows=lambda: description.model_dump(mode="json"),
        csv=lambda: _csv(description),
    )
    if arguments.out is not None:
        print_message(console, f"written: {arguments.out}")
    return 0


def description_table(description: "SetDescription") -> "RenderableType":
    """The counts and the odd images as tables that fit 80 columns."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    patients = "" if description.patients is None else f" of {description.patients} patients"
    shape = "x".join(map(str, description.shape))
    title = f"{description.source}: {description.images} images{patients}, {shape} {description.dtype}"
    parts: list[RenderableType] = [Text(title, "bold")]
    for name, counts in description.counts.items():
        table = Table(box=None, pad_edge=False)
        table.add_column(name, min_width=20, overflow="fold")
        for column in (*description.classes, "patients"):
            table.add_column(column, justify="right")
        for count in counts:
            shown = "" if count.patients is None else str(count.patients)
            table.add_row(count.value.strip(), *map(str, count.images), shown)
        parts += ["", table]
    if description.odd:
        parts.append("")
    for odd in description.odd:
        first = f", such as {odd.names[0]}" if odd.names else ""
        parts.append(Text(f"odd, {odd.reason}: {odd.count} of {description.looked_at} images{first}"))
    if description.lacks:
        parts += ["", Text(f"not known of these images: {', '.join(description.lacks)}")]
    return Group(*parts)


def _csv(description: "SetDescription") -> str:
    """One row a column and value; JSON has the rest of the description."""
    from results.tables import csv_text

    rows: list[dict[str, Any]] = [
        {"column": name, "value": count.value.strip(), "patients": count.patients}
        | dict(zip(description.classes, count.images, strict=True))
        for name, counts in description.counts.items()
        for count in counts
    ]
    return csv_text(rows, ["column", "value", *description.classes, "patients"])
