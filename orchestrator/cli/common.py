"""Options shared by several verbs: the run, its folder and the output format."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    """The run folder that the user named; says on standard error which of its trials are damaged."""
    from orchestrator.reporting.console import messages, print_warning
    from results.run.run_folder import find_run

    folder = find_run(arguments.run, arguments.runs)
    for damage in folder.damage().values():
        print_warning(messages(), str(damage))
    return folder


def add_model(parser: argparse.ArgumentParser, *, refit: str = "") -> None:
    """Add --ensemble and --trial, which name a model of a run, and --refit.

    Args:
        parser: Parser of the verb.
        refit: Help text of --refit; empty for a verb that does not have it.
    """
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--ensemble", default="best", help="name of the ensemble (default: best)")
    which.add_argument("--trial", type=int, help="a single trial instead")
    if refit:
        parser.add_argument("--refit", action="store_true", help=refit)


def model_options(arguments: argparse.Namespace) -> list[str]:
    """Return the options that name the same model, word by word."""
    if arguments.trial is None:
        return ["--ensemble", arguments.ensemble]
    return ["--trial", str(arguments.trial)]


def short_path(path: Path) -> str:
    """Return a path as the user would type it here: relative where it lies below the working folder."""
    from trainables.common.text import typed_path

    try:
        return typed_path(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return typed_path(path)
