"""`orchestrate doctor`."""

import argparse
from pathlib import Path
from typing import Any

from orchestrator.cli.common import add_format, add_runs
from orchestrator.reporting.console import show
from trainables.common.disk_room import FOR_RUNS_GIB

HELP = "check installation, devices, weights and disk"
EPILOG = """\
examples:
  orchestrate doctor
  orchestrate doctor --weights-dir weights/ --format json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--weights-dir", type=Path, help="folder of state dicts named after their backbones")
    add_runs(parser)
    add_format(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check; returns 0 when a search can run here, else 1."""
    from results.tables import csv_text

    findings = [*_packages(), *_devices(), *_weights(arguments.weights_dir), _disk(arguments.runs)]
    show(
        arguments.format,
        table=lambda: _table(findings),
        rows=lambda: findings,
        csv=lambda: csv_text(findings, ["what", "state", "detail"]),
    )
    return 1 if any(finding["state"] == "broken" for finding in findings) else 0


Finding = dict[str, Any]


def _finding(what: str, state: str, detail: str) -> Finding:
    return {"what": what, "state": state, "detail": detail}


def _packages() -> list[Finding]:
    import importlib
    import importlib.metadata

    from results.run.versions import PACKAGES

    modules = {"scikit-learn": "sklearn"}
    found = []
    for name in PACKAGES[1:]:  # the first is this project
        try:
            importlib.import_module(modules.get(name, name))
            found.append(_finding(name, "ok", importlib.metadata.version(name)))
        except Exception as error:
            found.append(_finding(name, "broken", f"cannot be imported: {error}"))
    return found


def _devices() -> list[Finding]:
    from trainables.runtime.devices import describe_devices

    return [_finding(name, "ok", detail) for name, detail in describe_devices()]


def _weights(weights_dir: Path | None) -> list[Finding]:
    from trainables.models.registry import default_backbones
    from trainables.models.weights import take_inventory, weights_text
    from trainables.models.weights_folder import with_nets_of_folder

    missing = []
    if weights_dir is not None and not weights_dir.is_dir():
        missing = [_finding(f"weights in {weights_dir}", "broken", "it is not a folder")]
    inventory = take_inventory(default_backbones(), weights_dir=weights_dir, may_download=False)
    inventory = with_nets_of_folder(inventory, weights_dir)
    found = []
    for name, file in inventory.usable.items():
        which = "" if file is None else f": {file.path.name}"
        found.append(_finding(name, "ok", weights_text(name, file) + which))
    return (
        missing
        + found
        + [_finding(name, "no weights", reason) for name, reason in inventory.left_out.items()]
    )


def _disk(runs: Path) -> Finding:
    import shutil

    place = next(folder for folder in (runs.resolve(), *runs.resolve().parents) if folder.exists())
    free = shutil.disk_usage(place).free / 2**30
    state = "ok" if free >= FOR_RUNS_GIB else "low"
    return _finding(f"disk for {runs}", state, f"{free:.0f} GiB free")


def _table(findings: list[Finding]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("What", "State", "Detail"):
        table.add_column(title, overflow="fold")
    colours = {"ok": "green", "broken": "red"}
    for finding in findings:
        colour = colours.get(finding["state"], "yellow")
        table.add_row(finding["what"], Text(finding["state"], colour), finding["detail"])
    return table
