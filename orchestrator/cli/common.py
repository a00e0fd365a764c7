"""What several verbs share: naming a run, choosing a format, printing."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from results.run.run_folder import RunFolder


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add RUN and --runs."""
    parser.add_argument("run", metavar="RUN", help="a run folder, TASK/NAME or NAME below --runs, or latest")
    add_runs(parser)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add --runs."""
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add --format."""
    parser.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="how to print (default: table)"
    )


def open_run(arguments: argparse.Namespace) -> "RunFolder":
    """The run folder that the user named."""
    from results.run.run_folder import find_run

    return find_run(arguments.run, arguments.runs)


def messages() -> "Console":
    """Where sentences for the user go: standard error, so that standard output holds results alone."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def print_message(console: "Console", text: str) -> None:
    """Print a sentence: wrapped between words on a terminal, on one line elsewhere."""
    console.print(text, soft_wrap=not console.is_terminal)


def show(
    kind: str, *, table: Callable[[], "RenderableType"], rows: Callable[[], Any], csv: Callable[[], str]
) -> None:
    """Print a result as a table, as JSON or as CSV on standard output."""
    if kind == "json":
        print(json.dumps(rows(), indent=1, allow_nan=False))
    elif kind == "csv":
        print(csv(), end="")
    else:
        from rich.console import Console

        Console(highlight=False).print(table())


def warn_if_synthetic(run: "RunFolder") -> None:
    """Say on standard error that a run's images are generated."""
    if run.search().is_synthetic:
        messages().print("[yellow]SYNTHETIC images: these numbers say nothing about patients[/]")
