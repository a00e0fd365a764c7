"""A cluster of several nodes on this machine, whose nodes are killed and frozen while a search runs on it."""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.chaos.arena import Arena, Driver
from benchmarks.chaos.ledger import Outcome
from benchmarks.chaos.processes import below, send, servers, trial_workers, wait_for
from benchmarks.chaos.series import Hit, Series

_UP_SECONDS: Final = 90.0
_JOINED: Final = "Ray runtime started"
_ATTEMPTS: Final = 3
# A frozen node is given up after 15 s here; Ray's own defaults make that about a minute.
_QUICK_HEALTH: Final = {
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}


class Cluster:
    """A head without CPUs, where only the driver runs, and nodes with one CPU each; as a context it ends.

    Args:
        arena: Whose environment its processes get.
        nodes: Number of nodes.
    """

    def __init__(self, arena: Arena, nodes: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cr-", dir="/tmp"))  # Ray's sockets want a short path
        self.environment = arena.environment | _QUICK_HEALTH
        self.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.environment |= {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
        self._processes: list[subprocess.Popen[bytes]] = []
        self.address = ""
        self.nodes: list[subprocess.Popen[bytes]] = []
        try:
            head = self._start("--head", "--port", "0", "--num-cpus", "0", "--include-dashboard", "false")
            self.address = self._address(head)
            for _ in range(nodes):
                self.add()
        except BaseException:  # of a cluster that is not whole nobody else ends what has started
            self.__exit__()
            raise

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            send([*below(process.pid), process.pid], signal.SIGKILL)  # it reaches frozen ones, too
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self) -> None:
        """Add a node, and wait until it has joined; on busy cores Ray's half a minute for that may pass."""
        for _ in range(_ATTEMPTS):
            log = self._log(len(self._processes))
            node = self._start("--address", self.address, "--num-cpus", "1")
            if _has_joined(log, node):
                self.nodes.append(node)
                return
        raise RuntimeError(f"a node of Ray did not start: {log.read_text()[-500:]}")

    def node_of_trial(self) -> subprocess.Popen[bytes] | None:
        """The node whose worker is in a step of a trial; None if there is none just now."""
        return next((own for own in self.nodes if trial_workers(own.pid)), None)

    def kill(self, node: subprocess.Popen[bytes]) -> int:
        """SIGKILL of the raylet of a node; returns 1 if it was there."""
        self.nodes.remove(node)
        return send(servers(node.pid, "raylet"), signal.SIGKILL)

    def freeze(self, node: subprocess.Popen[bytes]) -> int:
        """SIGSTOP of all processes of a node; returns 1 if there were some."""
        self.nodes.remove(node)
        return min(1, send(below(node.pid), signal.SIGSTOP))

    def _log(self, place: int) -> Path:
        """What the node of this place prints; 0 is the head."""
        return self._folder / f"start-{place}.log"

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        where = ("--temp-dir", str(self._folder)) if "--head" in options else ()
        log = self._log(len(self._processes))
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*command, *options, *where],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _address(self, head: subprocess.Popen[bytes]) -> str:
        log = self._log(0)
        pattern = re.compile(r"--address='([^']+)'")
        wait_for(lambda: pattern.search(log.read_text()) or head.poll() is not None, seconds=_UP_SECONDS)
        found = pattern.search(log.read_text())
        if found is None:
            raise RuntimeError(f"Ray's head did not start: {log.read_text()[-500:]}")
        return found[1]


def _has_joined(log: Path, node: subprocess.Popen[bytes]) -> bool:
    """Wait until a node has joined its cluster; returns False if it ends before, or takes too long."""
    wait_for(lambda: _JOINED in log.read_text() or node.poll() is not None, seconds=_UP_SECONDS)
    return _JOINED in log.read_text() and node.poll() is None


def all_of(arena: Arena, stops: int, kills: int, trials: int) -> list[Outcome]:
    """SIGSTOP of a whole node; then SIGKILL of the raylet under a trial, several times; in one search."""
    killed = Hit("SIGKILL of a raylet (node)", kills, "a node whose trial ran; another one joined")
    frozen = Hit("SIGSTOP of a node", stops, "Ray gives it up after 15 s here")
    with Cluster(arena, nodes=2) as cluster:
        own = {name: value for name, value in cluster.environment.items() if name not in os.environ}
        own |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": ""} if "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" in own else {}
        series = Series(arena, "node-kills", trials, "--address", cluster.address, environment=own)
        for hit, strike in ((frozen, Cluster.freeze), (killed, Cluster.kill)):
            while hit.is_wanted and series.is_running():
                if series.wait_for_trials(1) and _struck(cluster, series.driver, strike):
                    series.note(hit)
                    cluster.add()
        return series.closed(frozen, killed)


def _struck(
    cluster: Cluster, driver: Driver, strike: Callable[[Cluster, subprocess.Popen[bytes]], int]
) -> bool:
    node = None

    def found() -> bool:
        nonlocal node
        node = cluster.node_of_trial()
        return driver.has_ended or node is not None

    wait_for(found, seconds=30)
    return node is not None and strike(cluster, node) > 0
