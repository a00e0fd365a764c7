"""Several machines from the terminal, by cluster/local.yaml: from the first look to the end of all of them.

Three machines and a laptop in network namespaces, with SSH servers, processes and folders of their own.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from machines import Machine
from ssh_network import REPOSITORY, Cluster, commands, ssh_cluster
from typed_verbs import PATIENCE_SECONDS, TypedVerbs

from results.run.damage import damaged_trials
from results.run.run_folder import RunFolder

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1800)]

TRIALS = 24  # so that some are left while one machine is left
TRIAL = "ray::ResourceTrainable"
SEARCH = (
    *("search", "benign_malignant", "--data", "phantom:patients=12", "--folds", "2", "--trials", str(TRIALS)),
    *("--offline", "--set", "model.backbone=efficientnet_lite0", "--set", "model.trained_stages=0"),
    *("--set", "input.size_px=64", "--set", "model.cut=top", "--epochs", "2", "--no-audit", "--no-pictures"),
)


@dataclass(frozen=True, kw_only=True)
class Laptop(TypedVerbs):
    """Where verbs are typed, and the machines that they lead to.

    Attributes:
        cluster: The machines.
    """

    cluster: Cluster

    def wait_for_nodes(self, number: int) -> list[dict[str, Any]]:
        """Ask for the machines until so many have joined."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            started = self.start("cluster", "status", "FILE", "--format", "json")
            out, err = started.communicate(timeout=PATIENCE_SECONDS)
            nodes: list[dict[str, Any]] = json.loads(out)["nodes"] if out else []
            joined = [node for node in nodes if node["state"] == "joined"]
            if len(joined) == number:
                assert started.returncode == (0 if len(nodes) == number else 1)
                return joined
            assert time.monotonic() < end, (nodes, err)
            time.sleep(1)


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    """A laptop, and three machines that nothing runs on but an SSH server."""
    with ssh_cluster(tmp_path, "head", "one", "two") as cluster:
        own, folder = cluster.laptop, cluster.network.folder
        programs = f"{Path(sys.executable).parent}{os.pathsep}{own.environment['PATH']}"
        yield Laptop(
            file=cluster.file(tmp_path / "local.yaml"),
            client=folder / "client",
            environment={**own.environment, "PATH": programs, "HOME": str(folder / "home")},
            command=lambda words: own.command(*words, folder=REPOSITORY),
            cluster=cluster,
        )


def test_verbs_on_several_machines_from_the_first_look_to_the_end(laptop: Laptop) -> None:
    look_before(laptop)
    assert laptop.up().startswith("runs: RAY_UP_enable_autoscaler_v2=0 ray up -y")
    addresses = [machine.address for machine in laptop.cluster.members]
    assert sorted(node["address"] for node in laptop.wait_for_nodes(3)) == addresses
    refuse_a_second_up(laptop)
    search_with_the_laptop_closed(laptop)
    leave_one_machine(laptop)
    laptop.wait_for("first", lambda one: one.get("job", {}).get("status") == "SUCCEEDED")
    fetch(laptop)
    end_everything(laptop)


def look_before(laptop: Laptop) -> None:
    """Machines that nothing is installed on reach each other, and the look leaves nothing behind."""
    found = check(laptop, code=1)
    broken = {what for (_, what), one in found.items() if one["state"] == "broken"}
    assert broken == {"disk"}, found  # their disk is memory, and small
    for machine in laptop.cluster.members:
        assert found[machine.address, "reach"]["state"] == "ok", found
        assert found[machine.address, "versions"]["state"] == "note"
    assert "tried with a listener of seconds" in found[laptop.cluster.members[1].address, "reach"]["detail"]
    assert laptop.cluster.left() == {}
    _, one, two = laptop.cluster.members
    wall = ("ip", "route", "add", "unreachable", f"{two.address}/32")
    one.run(*wall)
    found = check(laptop, code=1)
    assert found[one.address, "reach"]["state"] == "broken"
    assert f"does not reach {two.address} on port" in found[one.address, "reach"]["detail"]
    assert "(No route to host); Ray's machines" in found[one.address, "reach"]["detail"]
    one.run("ip", "route", "del", *wall[3:])


def check(laptop: Laptop, *, code: int) -> dict[tuple[str, str], dict[str, str]]:
    out, _ = laptop.run("cluster", "check", "FILE", "--format", "json", code=code)
    return {(one["where"], one["what"]): one for one in json.loads(out)}


def search_with_the_laptop_closed(laptop: Laptop) -> None:
    """Submit, follow, and cut the connection as an empty battery does; the search goes on."""
    laptop.run("submit", "FILE", "--", *SEARCH, "--name", "first")
    follower = laptop.start("attach", "FILE", "first")
    assert follower.stdout is not None
    assert follower.stdout.readline()
    os.killpg(follower.pid, signal.SIGKILL)
    follower.communicate()
    found = laptop.wait_for("first", lambda one: one.get("ended", 0) >= 1)
    assert found["job"]["status"] in ("RUNNING", "SUCCEEDED")


def refuse_a_second_up(laptop: Laptop) -> None:
    """A search that was started by hand on a machine that is not the first is seen, too."""
    one = laptop.cluster.members[1]
    words = ("sleep", "600")
    by_hand = f"exec -a 'python orchestrate search idc' {' '.join(words)}"
    process = subprocess.Popen(one.command("bash", "-c", by_hand), env=one.environment)
    try:
        _, err = laptop.run("cluster", "up", "FILE", code=2)
    finally:
        end_on(one, words[0])
        process.wait(30)
    assert f"a search runs on this cluster (on {one.address}: search idc" in err


def end_on(machine: Machine, mark: str) -> None:
    for pid in machine.processes():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == mark:
                os.kill(pid, signal.SIGKILL)


def leave_one_machine(laptop: Laptop) -> None:
    """What a hook runs before a machine is stopped: its trials leave, and it is no longer used."""
    two = laptop.cluster.members[2]
    end = time.monotonic() + PATIENCE_SECONDS
    while not any(command.startswith(TRIAL) for command in commands(two)):
        assert time.monotonic() < end, commands(two)
        time.sleep(0.1)
    python = "~/orchestrate/venv/bin/python"
    said = ssh(laptop, two, f"RAY_AUTH_MODE=token {python} -m cluster.leave --seconds 80; echo code $?")
    assert said.strip().endswith("code 0"), said
    assert not any(command.startswith(TRIAL) for command in commands(two)), commands(two)


def ssh(laptop: Laptop, machine: Machine, command: str) -> str:
    options = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
    key = str(laptop.cluster.keys / "user_key")
    return laptop.cluster.laptop.run("ssh", "-i", key, *options, f"root@{machine.address}", command)


def fetch(laptop: Laptop) -> None:
    """The finished run is copied, and is whole."""
    fetched = laptop.cluster.keys / "fetched"
    laptop.run("fetch", "FILE", "first", "--runs", str(fetched))
    run = RunFolder(fetched / "benign_malignant/first")
    assert damaged_trials(run) == {}
    assert sorted(record.number for record in run.records()) == list(range(TRIALS))
    assert {record.state for record in run.records()} <= {"complete", "pruned"}


def end_everything(laptop: Laptop) -> None:
    """`down` leaves nothing on any machine."""
    _, err = laptop.run("cluster", "down", "FILE")
    addresses = ", ".join(machine.address for machine in laptop.cluster.members)
    assert err.strip().endswith(f"nothing of Ray is left on {addresses}")
    end = time.monotonic() + 60
    while (left := laptop.cluster.left()) and time.monotonic() < end:
        time.sleep(0.5)
    assert left == {}
