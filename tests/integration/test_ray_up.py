"""`ray up` against a real SSH server on a loopback address, with the cluster file that users get.

`ray stop`, which `ray up` and `ray down` call, ends every Ray process that it sees. So the server runs in
process and mount namespaces of its own: what it starts sees no other Ray, and dies with the server.
"""

import json
import os
import shlex
import shutil
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

from cluster.render import render

REPOSITORY = Path(__file__).parents[2]
NEEDED = {"sshd": "openssh-server", "ssh": "openssh-client", "rsync": "rsync", "unshare": "util-linux"}
USER_PATHS = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
CONNECT = """
import dataclasses, json, cluster.connect
connection = cluster.connect.connect(%r)
print("FOUND", json.dumps({**dataclasses.asdict(connection), "code": cluster.connect.__file__}))
cluster.connect.disconnect(connection)
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(170)]


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


@dataclass(frozen=True)
class Cluster:
    """A machine, and the cluster file that `ray` is called with."""

    machine: Machine
    file: Path
    ray_port: int

    def ray(self, verb: str, *arguments: str) -> str:
        """Call `ray VERB FILE`, as a user does in the repository; return what it prints."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "RAY_TMPDIR": str(self.machine.folder / "client"),  # what `ray up` remembers of its clusters
            "TMPDIR": str(self.machine.folder / "client"),
            "RAY_UP_enable_autoscaler_v2": "1",
        }
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ray"), verb, str(self.file), *arguments],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"ray {verb} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def connect(self, address: str | None) -> dict[str, object]:
        """Call `connect` on the machine, in the code that `ray up` copied there."""
        (self.machine.folder / "find.py").write_text(CONNECT % address)
        command = f"cd ~/orchestrate/project && python - < {self.machine.folder}/find.py"
        answer = self.ray("exec", command)
        lines = [line for line in answer.splitlines() if line.startswith("FOUND ")]
        assert lines, answer
        return json.loads(lines[0].removeprefix("FOUND "))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """An SSH server on 127.0.0.1, with keys of its own; what it started ends with it."""
    _require_programs()
    folder = tmp_path_factory.mktemp("machine")
    port = _free_port()
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


@pytest.fixture(scope="module")
def cluster(machine: Machine) -> Cluster:
    """The machine after `ray up -y cluster/dgx.yaml`, its settings filled in."""
    ray_port = _free_port()
    file = machine.folder / "dgx.yaml"
    file.write_text(_cluster_file(machine, ray_port))
    cluster = Cluster(machine, file, ray_port)
    cluster.ray("up", "-y")
    return cluster


def test_a_search_on_the_machine_finds_the_cluster_that_ray_up_started(cluster: Cluster) -> None:
    found = cluster.connect(None)
    assert not found["is_own"]
    assert str(found["address"]).endswith(f":{cluster.ray_port}")
    assert (found["cpus"], found["gpus"], found["nodes"]) == (2, 0, 1)
    assert [machine["cpus"] for machine in found["machines"]] == [2]
    assert str(found["code"]).startswith(str(cluster.machine.home))


def test_the_cluster_asks_for_its_token(cluster: Cluster) -> None:
    token = cluster.machine.home / ".ray/auth_token"
    assert len(token.read_text()) >= 32
    assert token.stat().st_mode & 0o077 == 0
    refusal = cluster.ray("exec", f"{_attempt('RAY_AUTH_MODE=disabled')} || true")
    assert "JOINED" not in refusal
    assert "InvalidAuthToken" in refusal
    assert "JOINED" in cluster.ray("exec", _attempt("RAY_ADDRESS=auto"))


def test_a_trial_has_as_many_threads_as_cpus(cluster: Cluster) -> None:
    # `ray up` exports OMP_NUM_THREADS=1, which Ray would hand down to every trial.
    script = cluster.machine.folder / "threads.py"
    script.write_text(
        "import os, ray\n"
        "ray.init(log_to_driver=False)\n"
        "count = ray.remote(num_cpus=2)(lambda: os.environ['OMP_NUM_THREADS'])\n"
        "print('THREADS', ray.get(count.remote()))\n"
    )
    assert "THREADS 2" in cluster.ray("submit", str(script))


def test_orchestrate_search_runs_on_the_cluster_and_leaves_it_running(cluster: Cluster) -> None:
    before = _ray_servers(cluster.machine)
    settings = "--set model.backbone=efficientnet_lite0 --set model.trained_stages=0 --set input.size_px=64"
    printed = cluster.ray(
        "exec",
        "cd ~/orchestrate/project && python -m orchestrator.cli.main search benign_malignant "
        "--data phantom:patients=12 --folds 2 --trials 2 --epochs 2 --offline --runs ~/runs --name up "
        f"{settings}",
    )
    assert f":{cluster.ray_port}" in printed
    assert "2 trials ended" in printed
    assert (cluster.machine.home / "runs/benign_malignant/up/leaderboard.csv").exists()
    assert _ray_servers(cluster.machine) == before


def test_ray_up_without_restart_leaves_a_running_cluster_alone(cluster: Cluster) -> None:
    before = _ray_servers(cluster.machine)
    cluster.ray("up", "-y", "--no-restart")
    assert _ray_servers(cluster.machine) == before


def test_ray_down_leaves_nothing_of_the_cluster_running(cluster: Cluster) -> None:
    before = _ray_servers(cluster.machine)
    assert len(before) >= 3, cluster.machine.processes()
    cluster.ray("down", "-y")
    deadline = time.monotonic() + 20
    while (left := cluster.machine.processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == {}
    assert not any(Path(f"/proc/{pid}").exists() for pid in before)


def _require_programs() -> None:
    """Skip with the reason where no SSH server can run; install it where that is asked for."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the SSH server runs in process and mount namespaces of its own")
    missing = [package for program, package in NEEDED.items() if not shutil.which(program, path=USER_PATHS)]
    may_install = bool(os.environ.get("CI") or os.environ.get("ORCHESTRATE_INSTALL_SSHD") == "1")
    if missing and may_install and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True, timeout=60)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(install, check=True, capture_output=True, timeout=100, env=quiet)
    elif missing:
        pytest.skip(
            f"needs {', '.join(missing)}: install them, or set ORCHESTRATE_INSTALL_SSHD=1 on Debian or Ubuntu"
        )
    attempt = ["unshare", "--pid", "--mount", "--fork", "--mount-proc", "true"]
    tried = subprocess.run(attempt, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"needs namespaces of its own, which are refused here: {tried.stderr.strip()}")


def _write_server_files(folder: Path, port: int) -> None:
    for name in ("home", "client", "tmp_ray"):
        (folder / name).mkdir()
    for name in ("host_key", "user_key"):
        generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(generate, check=True, timeout=20)
    (folder / "authorized_keys").write_bytes((folder / "user_key.pub").read_bytes())
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\n"
        f"HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\n"
        "PermitRootLogin prohibit-password\nPidFile none\n"
        f"SetEnv HOME={folder}/home\n"
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


def _cluster_file(machine: Machine, ray_port: int) -> str:
    """cluster/dgx.yaml for this machine: other address, key and port; Python's own packages; a small Ray."""
    text = (REPOSITORY / "cluster/dgx.yaml").read_text()
    start = yaml.safe_load(text)["head_start_ray_commands"][1]
    for before, after in (
        (
            "--port=6379",
            f"--port={ray_port} --ray-client-server-port={_free_port()} --num-cpus=2 --num-gpus=0",
        ),
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


def _attempt(environment: str) -> str:
    join = 'import ray; ray.init(address="auto", log_to_driver=False); print("JOI" + "NED")'
    return f"{environment} timeout --signal=KILL 8 python -c {shlex.quote(join)}"


def _ray_servers(machine: Machine) -> set[int]:
    names = ("gcs_server", "raylet", "monitor.py", "ray::Dashboard", "ray::RuntimeEnv")
    return {pid for pid, command in machine.processes().items() if any(name in command for name in names)}


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])
