"""`ray up` against a real SSH server on a loopback address, with the cluster file that users get."""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ssh_machine import REPOSITORY, Machine, cluster_file, free_port, ray_servers, running_machine

CONNECT = """
import dataclasses, json, cluster.connect
connection = cluster.connect.connect(%r)
print("FOUND", json.dumps({**dataclasses.asdict(connection), "code": cluster.connect.__file__}))
cluster.connect.disconnect(connection)
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(170)]


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
    """An SSH server on 127.0.0.1; what it started ends with it."""
    with running_machine(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture(scope="module")
def cluster(machine: Machine) -> Cluster:
    """The machine after `ray up -y cluster/dgx.yaml`, its settings filled in."""
    ray_port = free_port()
    file = machine.folder / "dgx.yaml"
    file.write_text(cluster_file(machine, ray_port))
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


def test_data_are_sent_to_the_folder_that_paths_are_below(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("patches.npz", "images/a.png"):
        (tmp_path / name).write_text(name)
    cluster.ray("rsync-up", f"{tmp_path}/patches.npz", "~/orchestrate/patches.npz")
    cluster.ray("rsync-up", f"{tmp_path}/images/", "~/orchestrate/images/")
    for name in ("patches.npz", "images/a.png"):
        assert (cluster.machine.home / "orchestrate" / name).read_text() == name


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
    before = ray_servers(cluster.machine)
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
    assert ray_servers(cluster.machine) == before


def test_ray_up_without_restart_leaves_a_running_cluster_alone(cluster: Cluster) -> None:
    before = ray_servers(cluster.machine)
    cluster.ray("up", "-y", "--no-restart")
    assert ray_servers(cluster.machine) == before


def test_ray_down_leaves_nothing_of_the_cluster_running(cluster: Cluster) -> None:
    before = ray_servers(cluster.machine)
    assert len(before) >= 3, cluster.machine.processes()
    cluster.ray("down", "-y")
    deadline = time.monotonic() + 20
    while (left := cluster.machine.processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == {}
    assert not any(Path(f"/proc/{pid}").exists() for pid in before)


def _attempt(environment: str) -> str:
    join = 'import ray; ray.init(address="auto", log_to_driver=False); print("JOI" + "NED")'
    return f"{environment} timeout --signal=KILL 8 python -c {shlex.quote(join)}"
