"""`orchestrate submit`."""

import argparse
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from orchestrator.cli.remote import add_file, ask_head, open_cluster
from orchestrator.reporting.console import messages, print_message, print_next

HELP = "start a search, or another verb, on a cluster, and leave it there"
EPILOG = """\
What follows -- is a command line of orchestrate. It runs on the first machine
of the cluster, in ~/orchestrate, as a job of Ray: it goes on when this
machine is switched off. Paths are those over there. The id of the job is
printed. A mistake in the options is found here, before anything is sent.

examples:
  orchestrate submit cluster/dgx.yaml -- search benign_malignant \\
      --data patches.npz --trials 200 --gpus-per-trial 0.25 --name first
  orchestrate submit cluster/dgx.yaml -- resume first
  orchestrate attach cluster/dgx.yaml first
"""
_STAYS_HERE: Final = ("cluster", "submit", "attach", "status", "stop", "fetch", "completion")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_file(parser)
    parser.add_argument(
        "words", metavar="-- VERB ...", nargs=argparse.REMAINDER, help="a command line of orchestrate"
    )


def run(arguments: argparse.Namespace) -> int:
    """Submit; returns the exit code."""
    import json

    from cluster.launcher import on_head

    words, about = checked_words(arguments.words, arguments.root, now=datetime.now())
    file, login = open_cluster(arguments.file)
    asked = {
        "words": words,
        "folder": file.remote_folder,
        "identity": about.pop("job"),
        "metadata": about,
    }
    command = on_head(file, login, "submit")
    print_message(messages(), f"runs on {login.host}: {command.rpartition('exec ')[2]} (a job of Ray)")
    identity = str(ask_head(login, command, text=json.dumps(asked))["id"])
    print(identity)
    print_next(messages(), "orchestrate", "attach", arguments.file, about["name"])
    return 0


def checked_words(
    typed: list[str], root: argparse.ArgumentParser, *, now: datetime
) -> tuple[list[str], dict[str, str]]:
    """Return a command line that is understood, and what is kept with its job.

    Args:
        typed: What stands behind the cluster file, with or without its `--`.
        root: Parser of all verbs.
        now: The time; part of the job's id, and the name of a search that has none.

    Raises:
        ConfigError: If the verb is missing or runs here only.
        SystemExit: If an option is not understood; the sentence is printed.
    """
    from trainables.common.errors import ConfigError

    words = typed[1:] if typed[:1] == ["--"] else list(typed)
    if not words:
        raise ConfigError(
            "a command line is needed behind --, such as: orchestrate submit FILE -- search benign_malignant"
        )
    if words[0] in _STAYS_HERE:
        raise ConfigError(f"{words[0]} runs on this machine only: orchestrate {words[0]} FILE")
    parsed = root.parse_args(words)
    moment = now.strftime("%Y%m%d-%H%M%S")
    if parsed.verb == "search" and getattr(parsed, "name", None) is None:
        words = [*words, "--name", moment]
        parsed = root.parse_args(words)
    name = _name_of(parsed)
    about = {
        "job": f"{parsed.verb}-{name}-{moment}",
        "verb": str(parsed.verb),
        "task": str(getattr(parsed, "task", None) or ""),
        "name": name,
    }
    return words, about


def _name_of(parsed: Any) -> str:
    """The run that a command line is about; the verb for one that is about none."""
    for found in (getattr(parsed, "name", None), getattr(parsed, "run", None)):
        if isinstance(found, str | Path):
            return Path(found).name
    return str(parsed.verb)
