"""A machine somewhere else, for tests: an SSH server on a loopback address, and cluster files for it.

`ray stop`, which `ray up` and `ray down` call, ends every Ray process that it sees. So the server runs in
process and mount namespaces of its own: what it starts sees no other Ray, and dies with the server.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from debian_packages import require

from cluster.render import render

REPOSITORY = Path(__file__).parents[2]
WORKER = "127.0.0.77"  # the same machine by another address, on SSH's own port
NEEDED = {"sshd": "openssh-server", "ssh": "openssh-client", "rsync": "rsync", "unshare": "util-linux"}
USER_PATHS = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Machine:
    """An SSH server that stands for a machine somewhere else.

    Attributes:
        folder: Holds everything the server and its users write.
        port: Where the server listens, on 127.0.0.1.
        first_pid: The server, which is process 1 of its namespace.
    """

    folder: Path
    port: int
    first_pid: int

    @property
    def home(self) -> Path:
        """Home folder of whoever logs in."""
        return self.folder / "home"

    def processes(self) -> dict[int, str]:
        """Process id and command line of all that runs on the machine, but for SSH sessions."""
        namespace = (Path("/proc") / str(self.first_pid) / "ns/pid").readlink()
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "ns/pid").readlink() == namespace:
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it ended meanwhile
                continue
        return {pid: command for pid, command in found.items() if command and "sshd" not in command}


@contextlib.contextmanager
def running_machine(folder: Path) -> Iterator[Machine]:
    """An SSH server on 127.0.0.1, with keys of its own; what it started ends with it.

    Skips the test with the reason where none can run.
    """
    _require_programs()
    port = free_port()
    _write_server_files(folder, port)
    in_namespaces = ["unshare", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child", "sh", "-ec"]
    with (folder / "sshd.out").open("wb") as output:
        server = subprocess.Popen(
            [*in_namespaces, _boot_command(folder)],
            env={"PATH": USER_PATHS},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        first_pid = _wait_for_server(server, folder, port)
        yield Machine(folder, port, first_pid)
        os.kill(first_pid, signal.SIGKILL)  # the rest of its namespace goes with it, and unshare reaps it
        server.wait(10)
    finally:
        server.kill()
        server.wait(10)


def cluster_file(machine: Machine, ray_port: int) -> str:
    """cluster/dgx.yaml for this machine: other address, key and port; Python's own packages; a small Ray."""
    text = (REPOSITORY / "cluster/dgx.yaml").read_text()
    start = yaml.safe_load(text)["head_start_ray_commands"][1]
    for before, after in (
        (
            "--port=6379",
            f"--port={ray_port} --ray-client-server-port={free_port()} --num-cpus=2 --num-gpus=0",
        ),
        # Away from the ports that other tests' Rays look for at the same time.
        ("cluster.free_port 8265", f"cluster.free_port {free_port()}"),
        ("cluster.free_port 52365", f"cluster.free_port {free_port()}"),
        ("--object-store-memory=8000000000", "--object-store-memory=100000000"),
    ):
        assert before in start
        start = start.replace(before, after)
    key, options = machine.folder / "user_key", "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    through = f"ssh -q {options} -i {key} -p {machine.port} -W 127.0.0.1:{machine.port} root@127.0.0.1"
    return render(
        text,
        [
            f"cluster_name=test-{machine.port}",
            "provider.head_ip=127.0.0.1",
            "auth.ssh_user=root",
            f"auth.ssh_private_key={key}",
            f"auth.ssh_proxy_command={through}",
            # The packages of the running Python instead of minutes of installing them.
            f"setup_commands.0=ln -sfn {sys.prefix} ~/orchestrate/venv",
            "setup_commands.1=~/orchestrate/venv/bin/python -c 'import ray'",
            f"head_start_ray_commands.1={start}",
        ],
    )


def ray_servers(machine: Machine) -> set[int]:
    names = ("gcs_server", "raylet", "monitor.py", "ray::Dashboard", "ray::RuntimeEnv")
    return {pid for pid, command in machine.processes().items() if any(name in command for name in names)}


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _require_programs() -> None:
    """Skip with the reason where no SSH server can run; install it where that is asked for."""
    if os.geteuid() != 0:
        # Without root nothing of it can be tried; CI has root.
        pytest.skip("needs root: the SSH server runs in process and mount namespaces of its own")
    require(NEEDED, USER_PATHS)
    attempt = ["unshare", "--pid", "--mount", "--fork", "--mount-proc", "true"]
    tried = subprocess.run(attempt, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        # Its Ray and its home must not be those of the user, and a container may refuse what parts them.
        pytest.skip(f"needs namespaces of its own, which are refused here: {tried.stderr.strip()}")


def _write_server_files(folder: Path, port: int) -> None:
    for name in ("home", "client", "tmp_ray"):
        (folder / name).mkdir()
    for name in ("host_key", "user_key"):
        generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(generate, check=True, timeout=20)
    (folder / "authorized_keys").write_bytes((folder / "user_key.pub").read_bytes())
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nListenAddress {WORKER}:22\n"
        f"HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\nPidFile none\n"
        # The project as it was copied there, not the one that the environment of this Python is made for.
        f"SetEnv HOME={folder}/home PYTHONPATH={folder}/home/orchestrate/project\n"
    )


def _boot_command(folder: Path) -> str:
    # Ray keeps its sockets and the note of the running cluster in /tmp/ray; sshd wants a folder below /run.
    return (
        f"mkdir -p /tmp/ray; mount --bind {folder}/tmp_ray /tmp/ray; "
        "mount -t tmpfs tmpfs /run; mkdir /run/sshd; "
        f'exec "$(command -v sshd)" -D -e -f {folder}/sshd_config'
    )


def _wait_for_server(server: subprocess.Popen[bytes], folder: Path, port: int) -> int:
    """Return the process id of sshd once it answers."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
            continue
        return int(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0])
    raise AssertionError(f"sshd did not start:\n{(folder / 'sshd.out').read_text()}")
