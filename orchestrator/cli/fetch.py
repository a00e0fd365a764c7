"""`orchestrate fetch`."""

import argparse
import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.common import add_runs, short_path
from orchestrator.cli.remote import open_cluster
from orchestrator.reporting.console import messages, print_message, print_next
from trainables.common.text import is_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.reporting.search_status import SearchStatus

HELP = "copy a run from a cluster or a storage to this machine"
EPILOG = """\
From a cluster the run folder is copied with rsync; what is here already is not
sent again. What is newer here stays, all of it where the run here has trials
that the cluster lacks, and so does every opening of the test part; where each
has trials that the other lacks, nothing is copied. From a storage comes what
search --results URI has copied there, such as after the loss of the machine
that ran it: resume goes on with it. Of a search that still runs, what has been
written so far: its files are written whole or not at all. A storage that a
package of fsspec reaches, such as webhdfs://, cannot replace a file in one
move: one that is copied again, as search.yaml is when a search is resumed, is
not there for a moment, and a fetch then ends with an error or goes without it.
Say it again. A run folder holds pseudonyms of patients and, in its pictures,
images: keep it where such data may be kept.

examples:
  orchestrate fetch cluster/dgx.yaml first
  orchestrate fetch cluster/dgx.yaml benign_malignant/first --runs fetched
  orchestrate fetch s3://bucket/path first
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "file", metavar="FILE", help="a cluster file, such as cluster/dgx.yaml, or the URI of --results"
    )
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?",
        default="latest",
        help="name of the run, TASK/NAME, or id of its job on a cluster (default: the latest)",
    )
    add_runs(parser)
    parser.add_argument(
        "--from",
        dest="there",
        metavar="RUNS",
        type=Path,
        help="folder of all runs on a cluster, below ~/orchestrate (default: runs)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Copy; returns the exit code."""
    if arguments.there is not None and is_uri(arguments.file):
        from trainables.common.errors import ConfigError

        raise ConfigError("--from is a folder of a cluster; that of a storage is part of its URI")
    target = (_from_storage if is_uri(arguments.file) else _from_cluster)(arguments)
    print(short_path(target))
    print_next(messages(), "orchestrate", "leaderboard", short_path(target))
    return 0


def _from_cluster(arguments: argparse.Namespace) -> Path:
    from orchestrator.cli.status import searches_on_head
    from orchestrator.reporting.fetched_run import fetch_from_head

    file, login = open_cluster(Path(arguments.file))
    every = 1_000_000
    found = named_search(
        arguments.run, searches_on_head(file, login, runs=arguments.there or Path("runs"), last=every)
    )
    target: Path = arguments.runs / found.task / found.name
    refuse_another(target, found.started_at)
    console = messages()
    print_message(console, f"copies {login.host}:{found.run} to {short_path(target)}")
    fetch_from_head(login, found.run, target, say=lambda text: print_message(console, text))
    return target


def _from_storage(arguments: argparse.Namespace) -> Path:
    from orchestrator.reporting.copied_run import fetch_copy, named_copy
    from orchestrator.reporting.place import Place

    place = Place(arguments.file)
    found = named_copy(place, arguments.run)
    target: Path = arguments.runs / found.name
    refuse_another(target, found.started_at.isoformat())
    print_message(messages(), f"copies {found.name} of {place.uri} to {short_path(target)}")
    fetch_copy(place, found.name, target)
    return target


def named_search(text: str, searches: "Sequence[SearchStatus]") -> "SearchStatus":
    """Return the search that is meant: by name, TASK/NAME, id of its job, or `latest`.

    Raises:
        RunError: If there is none, or several have the bare name.
    """
    from orchestrator.reporting.search_status import search_named
    from results.errors import RunError

    with_folder = [one for one in searches if one.run]
    if text == "latest" and with_folder:
        return max(with_folder, key=lambda one: one.started_at)
    found = search_named(text, with_folder)
    if found is None:
        known = ", ".join(f"{one.task}/{one.name}" for one in with_folder[:20]) or "none"
        raise RunError(f"no run {text!r} on this cluster. Known: {known}")
    return found


def refuse_another(target: Path, started_at: str) -> None:
    """Refuse to write over the run of another search.

    Args:
        target: Folder to be written.
        started_at: When the search began that is to be copied there, as ISO text.

    Raises:
        RunError: If another search has the folder, or what is there cannot be read.
    """
    from results.errors import RunError
    from results.run.run_folder import RunFolder

    if not target.exists():
        return
    if (target / "search.yaml").is_file():
        here: datetime.datetime | None = RunFolder(target).search().started_at
    else:
        from orchestrator.reporting.copied_run import has_nothing_yet, interrupted_copy

        if has_nothing_yet(target):
            return
        here = interrupted_copy(target)
    if here is None or here.isoformat() != started_at:
        raise RunError(f"{target} holds another run, which is left as it is; say --runs with another folder")
