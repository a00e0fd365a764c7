"""`orchestrate submit`."""

import argparse
import shlex
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.verbs import STAY_HERE
from orchestrator.cli.remote import add_file, ask_head, open_cluster
from orchestrator.reporting.console import messages, print_message, print_next

if TYPE_CHECKING:
    from cluster.cluster_file import ClusterFile
    from cluster.ssh import Login

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

    words, parsed = checked_words(arguments.words, arguments.root)
    file, login = open_cluster(arguments.file)
    words, about = named_job(
        words, parsed, now=datetime.now(), options_in=lambda path: _options_there(path, file, login)
    )
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


def checked_words(typed: list[str], root: argparse.ArgumentParser) -> tuple[list[str], argparse.Namespace]:
    """Return a command line that is understood, and what was understood.

    Args:
        typed: What stands behind the cluster file, with or without its `--`.
        root: Parser of all verbs.

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
    if words[0] in STAY_HERE:
        raise ConfigError(f"{words[0]} runs on this machine only: orchestrate {words[0]} FILE")
    return words, root.parse_args(words)


def named_job(
    words: list[str],
    parsed: argparse.Namespace,
    *,
    now: datetime,
    options_in: Callable[[Path], Mapping[str, Any]],
) -> tuple[list[str], dict[str, str]]:
    """Return a command line whose run has a name, and what is kept with its job.

    Args:
        words: The command line.
        parsed: What was understood of it.
        now: The time; part of the job's id, and the name of a search that has none.
        options_in: Reads the file of a search's `--config`, which may name the run and its task.
    """
    moment = now.strftime("%Y%m%d-%H%M%S")
    task, name = _run_of(parsed)
    if parsed.verb == "search":
        config = {} if parsed.config is None else options_in(parsed.config)
        if not (task or hasattr(parsed, "own_task")):
            task = str(config.get("task") or "")
        if getattr(parsed, "name", None) is None:
            name = str(config.get("name") or "")
            words, name = (words, name) if name else ([*words, "--name", moment], moment)
    about = {
        "job": f"{parsed.verb}-{name}-{moment}",
        "verb": str(parsed.verb),
        "task": task,
        "name": name,
    }
    return words, about


def _run_of(parsed: Any) -> tuple[str, str]:
    """Task and name of the run that a command line is about; the verb is the name where it is about none."""
    if isinstance(run := getattr(parsed, "run", None), str | Path):
        return Path(run).parent.name, Path(run).name
    name = getattr(parsed, "name", None)
    return str(getattr(parsed, "task", None) or ""), name if isinstance(name, str) else str(parsed.verb)


def _options_there(path: Path, file: "ClusterFile", login: "Login") -> dict[str, Any]:
    """The options in a file of `--config` on the head, where a search runs in the folder of the project."""
    from orchestrator.request import parse_config

    content = login.run(f"cd {file.remote_folder} && cat -- {shlex.quote(str(path))}")
    return parse_config(content.encode(), path)
