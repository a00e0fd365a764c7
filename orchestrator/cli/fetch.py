"""`orchestrate fetch`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli.attach import add_job
from orchestrator.cli.common import add_runs, short_path
from orchestrator.cli.remote import add_file, open_cluster
from orchestrator.reporting.console import messages, print_message, print_next

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.reporting.search_status import SearchStatus

HELP = "copy a run from a cluster to this machine"
EPILOG = """\
Copies the run folder with rsync; what is here already is not sent again. Of a
search that still runs, what has been written so far: its files are written
whole or not at all. A run folder holds pseudonyms of patients and, in its
pictures, images: keep it where such data may be kept.

examples:
  orchestrate fetch cluster/dgx.yaml first
  orchestrate fetch cluster/dgx.yaml benign_malignant/first --runs fetched
"""
_LEFT_OUT: Final = (".lock", ".ray")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file(parser)
    add_job(parser)
    add_runs(parser)
    parser.add_argument(
        "--from",
        dest="there",
        metavar="RUNS",
        type=Path,
        default=Path("runs"),
        help="folder of all runs over there, below ~/orchestrate (default: runs)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Copy; returns the exit code."""
    from orchestrator.cli.status import searches_on_head

    file, login = open_cluster(arguments.file)
    every = 1_000_000
    found = named_search(arguments.run, searches_on_head(file, login, runs=arguments.there, last=every))
    target = arguments.runs / found.task / found.name
    refuse_another(target, found)
    console = messages()
    print_message(console, f"copies {login.host}:{found.run} to {short_path(target)}")
    login.fetch(found.run, target, leave_out=_LEFT_OUT)
    print(short_path(target))
    print_next(console, "orchestrate", "leaderboard", short_path(target))
    return 0


def named_search(text: str, searches: "Sequence[SearchStatus]") -> "SearchStatus":
    """Return the search that is meant: by name, TASK/NAME, id of its job, or `latest`.

    Raises:
        RunError: If there is none, or several have the bare name.
    """
    from results.errors import RunError

    with_folder = [one for one in searches if one.run]
    if text == "latest" and with_folder:
        return max(with_folder, key=lambda one: one.started_at)
    found = [
        one for one in with_folder if text in (one.name, f"{one.task}/{one.name}", (one.job or {}).get("id"))
    ]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{one.task}/{one.name}" for one in (found or with_folder)[:20]) or "none"
    if found:
        raise RunError(f"{text!r} names several runs: {known}; name one by TASK/NAME")
    raise RunError(f"no run {text!r} on this cluster. Known: {known}")


def refuse_another(target: Path, search: "SearchStatus") -> None:
    """Refuse to write over the run of another search.

    Raises:
        RunError: If another search has the folder, or what is there cannot be read.
    """
    from results.errors import RunError
    from results.run.run_folder import RunFolder

    if not target.exists() or not any(target.iterdir()):
        return
    here: Any = RunFolder(target).search() if (target / "search.yaml").is_file() else None
    if here is None or here.started_at.isoformat() != search.started_at:
        raise RunError(f"{target} holds another run, which is left as it is; say --runs with another folder")
