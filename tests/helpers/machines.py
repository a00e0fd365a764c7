"""Machines of a cluster that share nothing, on this one: each has its own network, processes and folders.

A machine is a set of namespaces. Its cable ends in a switch, which has namespaces of its own, so that nothing
of this is seen outside. What runs on a machine ends with it.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from debian_packages import require

NEEDED: Final = {"ip": "iproute2", "unshare": "util-linux", "setpriv": "util-linux", "nsenter": "util-linux"}
PROGRAMS: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
PORT: Final = 6379
_NAMESPACES: Final = ("--net", "--mount", "--uts", "--pid")
_SECONDS: Final = 480.0


@dataclass(slots=True)
class Machine:
    """A machine.

    Attributes:
        name: Its host name.
        address: Its address in the network of the machines.
        pid: Its first process, as seen from outside.
        parent: What started that.
        environment: Environment of what runs on it.
    """

    name: str
    address: str
    pid: int
    parent: subprocess.Popen[bytes]
    environment: dict[str, str]

    def command(self, *words: str, folder: Path | None = None) -> list[str]:
        """Return the command that runs another one on the machine, in a folder or the present one."""
        return ["nsenter", "-t", str(self.pid), *_NAMESPACES, f"--wd={folder or Path.cwd()}", *words]

    def run(self, *words: str, may_fail: bool = False) -> str:
        """Run a command on the machine; returns what it prints."""
        done = subprocess.run(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert may_fail or done.returncode == 0, f"{self.name}: {words}\n{done.stdout}"
        return done.stdout

    def processes(self) -> list[int]:
        """Return all processes of the machine but the first, as seen from outside."""
        own = Path(f"/proc/{self.pid}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "ns/pid").readlink() == own:
                    found.append(int(entry.name))
        return [pid for pid in found if pid != self.pid]

    def clear(self) -> None:
        """End all that runs on the machine."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Stop all that runs on the machine, as a machine does that hangs."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a machine that was stopped go on."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """Take the power off the machine."""
        if self.parent.poll() is None:  # else the number may be that of somebody else by now
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.parent.communicate(timeout=_SECONDS)


@dataclass(slots=True)
class Network:
    """Machines that are joined by a switch.

    Attributes:
        folder: A folder that is another one on each machine, at the same path.
        private: Folders that only the first machine sees.
        switch: The switch.
        machines: Machines by name, in the order in which they came.
        token: What Ray asks for on all of them.
    """

    folder: Path
    private: Sequence[Path]
    switch: Machine
    machines: dict[str, Machine] = field(default_factory=dict)
    token: str = field(default_factory=lambda: secrets.token_hex(32))

    def add(self, name: str) -> Machine:
        """Switch on another machine; the first one added is the one whose folders are private."""
        hidden = [self.folder, Path("/dev/shm"), *(self.private if self.machines else ())]
        script = " && ".join(
            [
                f"hostname {name}",
                "ip link set lo up",
                *(f"mount -t tmpfs -o size=2g tmpfs {path}" for path in hidden),
                "exec sleep infinity",
            ]
        )
        parent, pid = _started(script)
        address = f"10.77.0.{len(self.machines) + 1}"
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RAY_")},
            "PATH": PROGRAMS,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_TMPDIR": str(self.folder),
            "TMPDIR": str(self.folder),
            "ORCHESTRATE_NODE_FOLDER": str(self.folder / "own"),
            # A machine is given up after seconds, where Ray itself takes most of a minute.
            "RAY_health_check_initial_delay_ms": "2000",
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_timeout_ms": "5000",
            "RAY_health_check_failure_threshold": "5",
        }
        environment.pop("OMP_NUM_THREADS", None)  # trials have as many threads as Ray gives them CPUs
        machine = Machine(name, address, pid, parent, environment)
        self.machines[name] = machine
        cable = ("link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self._ip(self.switch, *cable)
        self._ip(self.switch, "link", "set", f"to-{name}", "master", "switch", "up")
        self._ip(machine, "addr", "add", f"{address}/24", "dev", "eth0")
        self._ip(machine, "link", "set", "eth0", "up")
        return machine

    def unplug(self, name: str) -> None:
        """Pull a machine's cable out of the switch."""
        self._ip(self.switch, "link", "set", f"to-{name}", "down")

    def start_ray(self, *machines: Machine, cpus: int) -> None:
        """Start Ray on some machines at once; the first one of all is the head."""
        with ThreadPoolExecutor(len(machines)) as pool:
            list(pool.map(lambda machine: self._start_ray(machine, cpus), machines))

    def _start_ray(self, machine: Machine, cpus: int) -> None:
        head = next(iter(self.machines.values()))
        role = [f"--address={head.address}:{PORT}"]
        if machine is head:
            role = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={self.folder}/ray"]
        ray = str(Path(sys.executable).parent / "ray")
        common = [f"--node-ip-address={machine.address}", f"--num-cpus={cpus}", "--disable-usage-stats"]
        memory = [f"--object-store-memory={256 * 2**20}"]
        for last in (
            False,
            False,
            False,
            True,
        ):  # Ray gives a raylet 30 s to start, too few on a busy computer
            said = machine.run(ray, "start", *role, *common, *memory, may_fail=not last)
            if "Ray runtime started" in said:
                return
            machine.clear()

    def _ip(self, machine: Machine, *words: str) -> None:
        # The network's namespace alone: processes have their outer numbers then.
        subprocess.run(
            ["nsenter", "-t", str(machine.pid), "--net", "ip", *words],
            env={"PATH": PROGRAMS},
            check=True,
            capture_output=True,
            timeout=_SECONDS,
        )


@contextlib.contextmanager
def network(private: Sequence[Path]) -> Iterator[Network]:
    """Yield a network without machines; they end with it.

    Args:
        private: Folders that only the first machine sees.
    """
    _require_namespaces()
    folder = Path(tempfile.mkdtemp(prefix="on-", dir="/tmp"))  # Ray's sockets lie in it, so it is short
    parent, pid = _started("ip link add switch type bridge && ip link set switch up && exec sleep infinity")
    found = Network(folder, private, Machine("switch", "", pid, parent, {}))
    try:
        yield found
    finally:
        for machine in (*found.machines.values(), found.switch):
            machine.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _started(script: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a machine; returns what started it, and its first process once that has come to its last word."""
    # Whatever becomes of the tests, the machine ends with them.
    tied = (
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        *_NAMESPACES,
        "--fork",
        "--mount-proc",
        "--kill-child",
    )
    parent = subprocess.Popen(
        [*tied, "sh", "-ec", script],
        env={"PATH": PROGRAMS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and parent.poll() is None:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        if children and b"sleep" in Path(f"/proc/{children[0]}/cmdline").read_bytes().split(b"\0")[0]:
            return parent, int(children[0])
        time.sleep(0.05)
    parent.kill()
    raise AssertionError(f"no machine came up: {parent.communicate()[1].decode()}")


def _require_namespaces() -> None:
    """Skip with the reason where there can be no machines; in CI what is missing is installed."""
    if os.geteuid() != 0:
        # Without root nothing of it can be tried; CI has root.
        pytest.skip("needs root: machines have networks, processes and mounts of their own")
    require(NEEDED, PROGRAMS)
    attempt = [
        "unshare",
        *_NAMESPACES,
        "--fork",
        "--mount-proc",
        "ip",
        "link",
        "add",
        "probe",
        "type",
        "bridge",
    ]
    tried = subprocess.run(attempt, env={"PATH": PROGRAMS}, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        # A container may refuse them to root, too, and there is no other way to have machines on one.
        pytest.skip(f"needs namespaces of its own, which are refused here: {tried.stderr.strip()}")
