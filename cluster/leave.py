"""`python -m cluster.leave`: this machine is about to be taken away; its trials go on elsewhere, from here.

It runs `ray drain-node`, after which trials finish their epoch, write a checkpoint and end, and waits until
they have: for a hook that runs before a machine is stopped, as in cluster/kuberay.yaml, and for the notice
that a spot machine gets (cluster/spot_notice.py). Without it a machine that is stopped writes nothing more.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cluster.errors import ClusterError
from trainables.common.errors import OrchestrateError

SECONDS: Final = 80  # the announcement, an epoch, and what a trial sends to the run folder
_DRAIN_SECONDS: Final = 60.0  # `ray drain-node` takes three on an idle machine
_POLL_SECONDS: Final = 0.5
# Not trials, which are `ray::ResourceTrainable.train`: idle workers, and what serves the machine or a search.
_SERVANTS: Final = re.compile(r"ray::(IDLE|[A-Za-z]+Agent|JobSupervisor|FeatureServer|Depot|.*_IO_?WORKER)")
_RAYLET: Final = re.compile(r"\S*ray/core/src/ray/raylet/raylet\b")


def drain_command(message: str, seconds: int) -> tuple[str, ...]:
    """Return the command of Ray that announces the end of this machine.

    Args:
        message: Why, in a word or two.
        seconds: How long the machine will still be there.
    """
    ray = Path(sys.executable).parent / "ray"
    return (
        str(ray) if ray.is_file() else "ray",
        *("drain-node", "--reason", "DRAIN_NODE_REASON_PREEMPTION"),
        *("--reason-message", message, "--deadline-remaining-seconds", str(seconds)),
    )


def leave(message: str, *, seconds: int = SECONDS, is_busy: Callable[[], bool] | None = None) -> bool:
    """Announce the end of this machine to its cluster, and wait until its trials have left.

    Args:
        message: Why, in a word or two.
        seconds: How long to wait at most, the announcement included.
        is_busy: Tells whether trials run here; injected for tests.

    Returns:
        True if no trial is left here; False if the time was up.

    Raises:
        ClusterError: If the announcement fails.
    """
    deadline = time.monotonic() + seconds
    words = drain_command(message, seconds)
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=min(_DRAIN_SECONDS, seconds),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"`ray drain-node` is needed, but {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise ClusterError(f"`ray drain-node` ended with {done.returncode}: {said[-1]}")
    busy = is_busy or has_trials
    while busy():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def has_trials() -> bool:
    """Tell whether trials of this user run on this machine.

    After it was drained and its trials have ended, Ray's own process on it ends, too.
    """
    commands = list(_commands())
    if not any(_RAYLET.match(command) for command in commands):
        return False
    return any(command.startswith("ray::") and not _SERVANTS.match(command) for command in commands)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m cluster.leave", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="longest wait (default: %(default)s)")
    parser.add_argument("--message", default="stopped", help="why, for Ray's log (default: %(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Leave; returns 0 once no trial is left here, 1 if the time was up or it cannot be announced."""
    given = make_parser().parse_args(arguments)
    try:
        has_left = leave(given.message, seconds=given.seconds)
    except OrchestrateError as error:
        print(error, file=sys.stderr)
        return 1
    if not has_left:
        print(f"trials still run here after {given.seconds} s", file=sys.stderr)
    return 0 if has_left else 1


def _commands() -> list[str]:
    """Command lines of this user's processes."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and entry.stat().st_uid == os.getuid():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # it has ended meanwhile
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
