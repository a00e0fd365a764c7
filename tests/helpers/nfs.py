"""A real NFS 4.2: machines with Linux kernels of their own, of which one serves a folder and others mount it.

The kernels are User-mode Linux: processes that need no hardware and leave the computer's own kernel alone.
They see the computer's files, which they cannot write, and one folder, which they can. Their network is one
of its own.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from debian_packages import require
from machines import PROGRAMS, Machine, network

MOUNT: Final = Path("/mnt/nfs")  # where the machines see the folder
_ADDRESS: Final = "10.9.0."
_NEEDED: Final = {"linux.uml": "user-mode-linux", "mkfs.ext4": "e2fsprogs"}
_SECONDS: Final = 200.0
_GROUP: Final = "239.192.168.1,1102,1"  # of the machines' packets, within their network


@dataclass
class Guest:
    """A machine of its own.

    Attributes:
        name: Its host name.
        folder: Folder that it shares with the computer.
        process: Its kernel.
    """

    name: str
    folder: Path
    process: subprocess.Popen[bytes]

    def said(self) -> str:
        """Return what it has printed so far."""
        log = self.folder / f"{self.name}.log"
        return log.read_text() if log.exists() else ""

    def result(self) -> str:
        """Wait until its command has ended well; returns what it has printed."""
        self.process.wait(_SECONDS)
        code = self.folder / f"{self.name}.rc"
        assert code.exists(), f"{self.name}: {self.said()}{self.console()}"
        assert code.read_text().strip() == "0", f"{self.name}: {self.said()}"
        return self.said()

    @property
    def seen(self) -> Path:
        """Copy of the folder as the machine saw it when its command had ended."""
        return self.folder / f"{self.name}.seen"

    def console(self) -> str:
        """Return the last words of its kernel."""
        return (self.folder / f"{self.name}.console").read_text()[-2000:]

    def switch_off(self) -> None:
        """Take its power away."""
        for pid in [self.process.pid, *_descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(_SECONDS)


@dataclass
class Nfs:
    """A server and the machines that mount its folder at `MOUNT`.

    Attributes:
        folder: Folder that all machines share with the computer, beside NFS.
        place: Where they run.
        guests: All that were ever switched on.
    """

    folder: Path
    place: Machine
    guests: list[Guest] = field(default_factory=list)

    def serve(self) -> Guest:
        """Switch the server on, for the first time or again; it has forgotten who had opened what."""
        up = self.folder / "server.up"
        up.unlink(missing_ok=True)
        server = self._boot("server", "serve", 1, f"ubd0={self.folder}/disk")
        end = time.monotonic() + _SECONDS
        while not up.exists():
            assert server.process.poll() is None, server.said() + server.console()
            assert time.monotonic() < end, server.said() + server.console()
            time.sleep(0.1)
        return server

    def start(self, name: str, *words: str) -> Guest:
        """Switch on a machine that mounts the folder and runs a command of Python."""
        number = 1 + len({guest.name for guest in self.guests})
        paths = ":".join(map(str, (Path(__file__).parents[2], Path(__file__).parent)))
        lines = [
            f"export PYTHONPATH={paths} PYTHONDONTWRITEBYTECODE=1 HOME=/run TMPDIR=/run",
            f"cd /run && exec {shlex.join([sys.executable, *words])}",
        ]
        (self.folder / f"{name}.sh").write_text("\n".join(lines) + "\n")
        return self._boot(name, "use", number)

    def _boot(self, name: str, role: str, number: int, *more: str) -> Guest:
        (modules,) = Path("/usr/lib/uml/modules").glob("*/modules.dep")
        guest_script = Path(__file__).with_name("nfs_guest.sh")
        command = [
            *("setpriv", "--pdeathsig", "KILL", "nsenter", "-t", str(self.place.pid), "--net", "linux.uml"),
            *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "mem=512M"),
            *("con=null", "con0=null,fd:1", "con1=null", f"uml_dir={self.folder}", f"eth0=mcast,,{_GROUP}"),
            *("init=/bin/sh", f"ROLE={role}", f"NAME={name}", f"ADDRESS={_ADDRESS}{number}", *more),
            *(f"SERVER={_ADDRESS}1", f"MODULES={modules.parent}", f"WORK={self.folder}"),
            *("--", str(guest_script)),
        ]
        with (self.folder / f"{name}.console").open("wb") as console:
            process = subprocess.Popen(
                command, env={"PATH": PROGRAMS}, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        guest = Guest(name, self.folder, process)
        self.guests.append(guest)
        return guest


@contextlib.contextmanager
def nfs(folder: Path) -> Iterator[Nfs]:
    """Yield the network of a server that is not switched on yet; all of it ends with it.

    Args:
        folder: An empty folder.
    """
    with network(()) as cables:
        require(_NEEDED, PROGRAMS)
        place = cables.switch
        place.run("sh", "-ec", "ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo")
        disk = folder / "disk"
        with disk.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(
            ["mkfs.ext4", "-q", disk], env={"PATH": PROGRAMS}, check=True, capture_output=True, timeout=60
        )
        found = Nfs(folder, place)
        try:
            yield found
        finally:
            for guest in found.guests:
                guest.switch_off()


def _descendants(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found
