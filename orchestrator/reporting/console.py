"""Printing: messages go to standard error, results to standard output."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from results.run.run_folder import RunFolder


def messages() -> "Console":
    """Return the console for messages: standard error, so that standard output holds results alone."""
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
