"""Verbs that are typed at a laptop which leads to a cluster, as processes of their own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ssh_machine import REPOSITORY

PATIENCE_SECONDS: Final = 480.0  # a busy machine takes minutes to start Ray, and again to its first trial
_STARTS: Final = 4
_POLL_SECONDS: Final = 0.5


@dataclass(frozen=True)
class TypedVerbs:
    """Types verbs, and reads what they print.

    Attributes:
        file: The cluster file, which `FILE` among the words stands for.
        client: Folder of what Ray and orchestrate remember of clusters at the laptop.
        environment: Variables of the laptop.
        command: Makes a command of the laptop out of words, such as one in a network of its own.
    """

    file: Path
    client: Path
    environment: Mapping[str, str]
    command: Callable[[tuple[str, ...]], list[str]] = list

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Type a verb."""
        environment = {
            **{name: value for name, value in self.environment.items() if not name.startswith("RAY_")},
            "RAY_TMPDIR": str(self.client),  # what `ray up` remembers of its clusters
            "TMPDIR": str(self.client),
            "XDG_STATE_HOME": str(self.client / "state"),
            "PYTHONPATH": str(REPOSITORY),
            "COLUMNS": "80",
        }
        typed = (str(self.file) if word == "FILE" else word for word in words)
        return subprocess.Popen(
            self.command((sys.executable, "-m", "orchestrator.cli.main", *typed)),
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, code: int = 0) -> tuple[str, str]:
        """Type a verb, and wait for its end; return what it prints on standard output and error."""
        started = self.start(*words)
        out, err = started.communicate(timeout=PATIENCE_SECONDS)
        assert started.returncode == code, f"{words} ended with {started.returncode}:\n{out}\n{err[-3000:]}"
        return out, err

    def up(self) -> str:
        """Start the cluster; return what that says on standard error.

        Ray gives a node 30 s to start, and SSH 15 s to answer, which nobody can change; it may be too little.
        """
        for _ in range(_STARTS - 1):
            started = self.start("cluster", "up", "FILE")
            _, err = started.communicate(timeout=PATIENCE_SECONDS)
            if started.returncode == 0:
                return err
            assert "Failed to setup head node" in err, err[-3000:]
        return self.run("cluster", "up", "FILE")[1]

    def search(self, name: str) -> dict[str, Any]:
        """What `orchestrate status` says of one search; empty while it does not know it."""
        out, _ = self.run("status", "FILE", "--format", "json")
        return next((one for one in json.loads(out)["searches"] if one["name"] == name), {})

    def wait_for(self, name: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for a search until something is so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so(found := self.search(name)):
            assert time.monotonic() < deadline, found
            time.sleep(_POLL_SECONDS)
        return found
