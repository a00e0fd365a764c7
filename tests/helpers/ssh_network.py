"""Machines in network namespaces that are logged in to by SSH: the machines of a cluster file, and a laptop.

Each has a home folder of its own at the same path, Ray's folder and an SSH server on port 22. They see the
packages of the running Python, and the project as `ray up` copied it.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from debian_packages import require
from machines import PROGRAMS, Machine, Network, network
from ssh_machine import NEEDED, REPOSITORY

from cluster.render import render

_ANSWER_SECONDS: Final = 60.0
_SERVER: Final = """\
set -e
ip route add default dev eth0  # Ray asks for the way out to know its own address; nothing is out there
mkdir -p /tmp/ray && mount -t tmpfs tmpfs /tmp/ray
mount -t tmpfs tmpfs /run && mkdir /run/sshd
mkdir -p {folder}/home {folder}/client
mount --bind {keys}/passwd /etc/passwd  # ssh finds ~ there, whatever HOME says
exec "$(command -v sshd)" -f {keys}/sshd_config
"""


@dataclass(frozen=True)
class Cluster:
    """Machines with SSH servers, and a laptop that is none of the cluster.

    Attributes:
        network: The machines; `laptop` is the last of them.
        keys: Folder of the keys, which all see.
    """

    network: Network
    keys: Path

    @property
    def laptop(self) -> Machine:
        """Where verbs are typed."""
        return self.network.machines["laptop"]

    @property
    def members(self) -> list[Machine]:
        """The machines of the cluster, the head first."""
        return [one for one in self.network.machines.values() if one.name != "laptop"]

    def file(self, path: Path) -> Path:
        """Write cluster/local.yaml for these machines: addresses, key, Python's own packages, small Rays."""
        text = (REPOSITORY / "cluster/local.yaml").read_text()
        config = yaml.safe_load(text)
        head, *others = (machine.address for machine in self.members)
        small = [
            ("head_start_ray_commands", "--port=6379", "--port=6379 --num-cpus=0 --num-gpus=0"),
            ("worker_start_ray_commands", ":6379", ":6379 --num-cpus=1 --num-gpus=0"),
        ]
        starts = []
        for key, before, after in small:
            start = str(config[key][1])
            assert before in start
            less = start.replace(before, after).replace("memory=2000000000", "memory=100000000")
            starts.append(f"{key}.1={less}")
        settings = [
            f"cluster_name=test-{self.network.folder.name}",
            f"provider.head_ip={head}",
            f"provider.worker_ips=[{', '.join(others)}]",
            "auth.ssh_user=root",
            f"auth.ssh_private_key={self.keys}/user_key",
            f"setup_commands.0=ln -sfn {sys.prefix} ~/orchestrate/venv",
            "setup_commands.1=~/orchestrate/venv/bin/python -c 'import ray'",
            *starts,
        ]
        path.write_text(render(text, settings))
        return path

    def left(self) -> dict[str, list[str]]:
        """Machine -> command lines of what runs there, but for its SSH server."""
        return {machine.name: found for machine in self.members if (found := commands(machine))}


@contextlib.contextmanager
def ssh_cluster(keys: Path, *names: str) -> Iterator[Cluster]:
    """Yield machines that nothing runs on but an SSH server; they end with it.

    Args:
        keys: Folder for the keys.
        names: Names of the machines, the head first.
    """
    require(NEEDED, PROGRAMS)
    with network([]) as found:
        _write_keys(keys, found.folder)
        for name in (*names, "laptop"):
            machine = found.add(name)
            machine.run("sh", "-c", _SERVER.format(folder=found.folder, keys=keys))
        cluster = Cluster(found, keys)
        for machine in cluster.members:
            _wait_for_server(cluster.laptop, machine.address)
        yield cluster


def _write_keys(keys: Path, folder: Path) -> None:
    for name in ("host_key", "user_key"):
        generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)]
        subprocess.run(generate, check=True, timeout=60)
    (keys / "authorized_keys").write_bytes((keys / "user_key.pub").read_bytes())
    users = [line.split(":") for line in Path("/etc/passwd").read_text().splitlines()]
    here = [[*user[:5], f"{folder}/home", *user[6:]] if user[0] == "root" else user for user in users]
    (keys / "passwd").write_text("".join(":".join(user) + "\n" for user in here))
    (keys / "sshd_config").write_text(
        f"ListenAddress 0.0.0.0:22\nHostKey {keys}/host_key\nAuthorizedKeysFile {keys}/authorized_keys\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        "PidFile none\nMaxStartups 100\n"
        f"SetEnv HOME={folder}/home PYTHONPATH={folder}/home/orchestrate/project\n"
    )


def _wait_for_server(laptop: Machine, address: str) -> None:
    connect = f"import socket; socket.create_connection(({address!r}, 22), timeout=1).close()"
    end = time.monotonic() + _ANSWER_SECONDS
    while "Error" in (said := laptop.run(sys.executable, "-c", connect, may_fail=True)):
        assert time.monotonic() < end, said
        time.sleep(0.2)


def commands(machine: Machine) -> list[str]:
    """Return the command lines of what runs on a machine, but for its SSH server."""
    found = []
    for pid in machine.processes():
        with contextlib.suppress(OSError):
            found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
    return [command for command in found if command and "sshd" not in command]
