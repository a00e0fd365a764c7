"""`orchestrate cluster check`."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.common import add_format
from orchestrator.cli.remote import add_file
from orchestrator.reporting.console import show

if TYPE_CHECKING:
    from cluster.check import Finding

HELP = "find out what would go wrong with a cluster before it is started"
EPILOG = """\
Looks at the file (Ray's schema, what is filled in, what each line would do,
the token of every `ray start`) and, over SSH, at every machine that it names:
login, Python, disk, GPUs, clock, ports, home folder, what runs there already,
and versions, beside those of this machine. Several machines try whether they
reach each other, with listeners of seconds. It changes nothing. Exit code 1
if something is broken.

examples:
  orchestrate cluster check cluster/dgx.yaml
  orchestrate cluster check cluster/local.yaml --format json
"""
_COLUMNS: Final = ("where", "what", "state", "detail")
_STYLES: Final = {"broken": "red", "note": "yellow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check and print; returns 1 if something is broken, else 0."""
    from dataclasses import asdict

    from cluster.check import check_cluster
    from cluster.cluster_file import read_cluster_file
    from cluster.launcher import head_of
    from results.tables import csv_text
    from trainables.common.errors import OrchestrateError

    file = read_cluster_file(arguments.file)
    try:
        head = head_of(file)
    except OrchestrateError:  # rented machines that do not run yet
        head = None
    findings = check_cluster(file, head)
    show(
        arguments.format,
        table=lambda: _table(findings),
        rows=lambda: [asdict(one) for one in findings],
        csv=lambda: csv_text([asdict(one) for one in findings], _COLUMNS),
    )
    return 1 if any(one.state == "broken" for one in findings) else 0


def _table(findings: "Sequence[Finding]") -> Any:
    from rich.text import Text

    from results.tables import result_table
    from trainables.common.text import printable

    table = result_table()
    for header in ("where", "what", "state", "detail"):
        table.add_column(header, overflow="fold")
    before = ""
    for one in findings:
        shown = "" if one.where == before else one.where
        before = one.where
        state = Text(one.state, _STYLES.get(one.state, "green"))
        what = one.what.rpartition(".")[2]
        table.add_row(printable(shown, keeps=""), what, state, printable(one.detail, keeps=""))
    broken = sum(one.state == "broken" for one in findings)
    table.caption = f"{broken} to be mended" if broken else "nothing is broken"
    return table
