"""What the verbs of a cluster share: the cluster file, the login to its head, and questions to it."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.cluster_file import ClusterFile
    from cluster.ssh import Login

_FILE_HELP = "a cluster file, such as cluster/dgx.yaml"


def add_file(parser: argparse.ArgumentParser, *, is_optional: bool = False) -> None:
    """Add FILE.

    Args:
        parser: Parser of the verb.
        is_optional: Without it, the verb is about this machine.
    """
    if is_optional:
        text = f"{_FILE_HELP} (default: this machine)"
        parser.add_argument("file", metavar="FILE", nargs="?", type=Path, help=text)
    else:
        parser.add_argument("file", metavar="FILE", type=Path, help=_FILE_HELP)


def open_cluster(path: Path) -> "tuple[ClusterFile, Login]":
    """Return the cluster file that the user named, and the login to its head.

    Raises:
        RenderError: If it is not a cluster file.
        ClusterError: If its machines are rented and do not run.
    """
    from cluster.cluster_file import read_cluster_file
    from cluster.launcher import head_of
    from cluster.ssh import Login

    file = read_cluster_file(path)
    head = head_of(file)
    return file, Login(file, head, head)


def ask_head(login: "Login", command: str, *, text: str = "", timeout_seconds: float = 120.0) -> Any:
    """Run a command on the head that prints JSON; return it.

    Raises:
        RemoteError: If the head cannot be logged in to, the command fails, or it prints something else.
    """
    from cluster.errors import RemoteError

    printed = login.run(command, text=text, timeout_seconds=timeout_seconds)
    try:
        return json.loads(printed)
    except ValueError as error:
        raise RemoteError(
            f"{login.host} answers in another way than this version expects; send it this one: orchestrate "
            f"cluster up {login.file.path} --no-restart"
        ) from error
