"""What would go wrong with a cluster."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_ssh import FakeMachine, make_fake_machine

from cluster.check import Finding, check_cluster, check_file, check_machine, compare_machines
from cluster.cluster_file import ClusterFile, read_cluster_file
from cluster.probe import MachineFacts, Process, Python

REPOSITORY = Path(__file__).parents[3]
GIB = 2**30
FACTS = MachineFacts(
    host="10.0.0.1",
    user="me",
    home="/home/me",
    system="Linux x86_64",
    addresses=("10.0.0.1", "172.17.0.1"),
    programs=frozenset({"rsync"}),
    pythons=(Python("python3.12", (3, 12, 3), True),),
    environment={},
    disk_bytes=100 * GIB,
    temporary_bytes=10 * GIB,
    shared_memory_bytes=16 * GIB,
    memory_bytes=32 * GIB,
    cpus=8,
    gpus=("NVIDIA A100, 81920 MiB, 580.1",),
    taken_ports=(),
    read_only="",
    ray=(),
    searches=(),
    clock_offset_seconds=0.0,
)
WORKER_START = "ray start --address=$RAY_HEAD_IP:6379"
INSTALLED = {"python": "3.12.3", "ray": "2.60.0", "torch": "2.15.0"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    monkeypatch.chdir(REPOSITORY)
    return make_fake_machine(tmp_path, monkeypatch)


def file_of(name: str = "local.yaml", **changes: Any) -> ClusterFile:
    config = yaml.safe_load((REPOSITORY / "cluster" / name).read_text())
    return ClusterFile(Path("my.yaml"), config | changes)


def states(found: list[Finding]) -> dict[str, str]:
    return {one.what: one.state for one in found}


def test_a_machine_that_is_ready_has_nothing_broken() -> None:
    found = states(check_machine(file_of(), FACTS, is_head=True))
    assert "broken" not in found.values()
    installed = states(check_machine(file_of(), replace(FACTS, environment=INSTALLED), is_head=True))
    assert set(installed.values()) == {"ok"}


@pytest.mark.parametrize(
    ("change", "what", "state", "detail"),
    [
        ({"pythons": ()}, "python", "broken", "3.11 to 3.13 is needed, found no Python at all"),
        ({"pythons": (Python("python3", (3, 9, 2), True),)}, "python", "broken", "found 3.9.2"),
        (
            {"pythons": (Python("python3.12", (3, 12, 3), False),)},
            "python",
            "broken",
            "python3.12 3.12.3 cannot make environments: apt install python3.12-venv",
        ),
        ({"disk_bytes": 10 * GIB}, "disk", "broken", "10 GiB free, 15 are needed"),
        ({"read_only": "/home"}, "disk", "broken", "/home cannot be written"),
        ({"temporary_bytes": GIB // 2}, "temporary", "broken", "0.5 GiB free in the temporary folder"),
        ({"gpus": ()}, "gpus", "note", "nvidia-smi shows no GPU"),
        ({"clock_offset_seconds": 5.0}, "clock", "note", "5 s ahead of this machine; set it by NTP"),
        ({"clock_offset_seconds": -90.0}, "clock", "broken", "90 s behind this machine"),
        ({"taken_ports": (6379,)}, "ports", "broken", "6379 is in use by another program or user"),
        ({"taken_ports": (8265,)}, "ports", "note", "8265 in use, by another program or user"),
        ({"programs": frozenset()}, "rsync", "broken", "`ray up` copies with it"),
        ({"addresses": ("172.17.0.1",)}, "address", "broken", "Ray would take it for dead"),
        ({"host": "dgx"}, "address", "broken", "a name; with several machines write the address: 10.0.0.1"),
        ({"searches": (Process(3, "a"),)}, "searches", "note", "1 running: `ray up` would kill it"),
    ],
)
def test_what_is_wrong_with_a_machine_is_said(
    change: dict[str, Any], what: str, state: str, detail: str
) -> None:
    found = {one.what: one for one in check_machine(file_of(), replace(FACTS, **change), is_head=True)}
    assert found[what].state == state
    assert detail in found[what].detail


def test_ports_that_our_own_ray_uses_are_no_fault() -> None:
    facts = replace(FACTS, taken_ports=(6379, 8265), ray=(Process(5, "raylet"),))
    found = {one.what: one for one in check_machine(file_of(), facts, is_head=True)}
    assert found["ports"].state == "note"
    assert found["ray"].detail == "runs already, with 1 processes; `ray up` would end it and start anew"


def test_less_disk_is_enough_where_everything_is_installed() -> None:
    facts = replace(FACTS, disk_bytes=10 * GIB, environment=INSTALLED)
    assert states(check_machine(file_of(), facts, is_head=True))["disk"] == "ok"


def test_machines_that_differ_are_named() -> None:
    other = replace(
        FACTS,
        host="10.0.0.2",
        home="/users/me",
        environment=INSTALLED | {"python": "3.11.7", "ray": "2.59.0"},
        clock_offset_seconds=3.0,
    )
    found = {one.what: one for one in compare_machines([replace(FACTS, environment=INSTALLED), other])}
    assert found["home"].state == "broken"
    assert found["home"].detail.startswith("differs: 10.0.0.1 /home/me, 10.0.0.2 /users/me; the token")
    assert found["python"].state == found["ray"].state == "broken"
    assert found["ray"].detail.startswith("differs: 10.0.0.1 2.60.0, 10.0.0.2 2.59.0; Ray refuses that")
    assert "torch" not in found
    assert found["clocks"].detail.startswith("3.0 s apart")


def test_machines_that_are_equal_have_no_fault_and_one_machine_is_not_compared() -> None:
    both = [FACTS, replace(FACTS, host="10.0.0.2")]
    assert {one.state for one in compare_machines(both)} == {"ok"}
    assert compare_machines(both[:1]) == []


def test_a_cluster_without_its_token_or_with_an_open_dashboard_is_broken() -> None:
    open_one = "ray start --head --port=6379 --include-dashboard=true --dashboard-host=0.0.0.0"
    found = {one.what: one for one in check_file(file_of(head_start_ray_commands=[open_one]))}
    assert found["token"].state == "broken"
    assert "`ray start` without RAY_AUTH_MODE=token; Ray would let in" in found["token"].detail
    assert found["dashboard"].state == "broken"
    assert "would listen on 0.0.0.0" in found["dashboard"].detail
    off = "RAY_AUTH_MODE=token ray start --head --include-dashboard=false"
    assert states(check_file(file_of(head_start_ray_commands=[off])))["dashboard"] == "note"


@pytest.mark.parametrize(
    ("key", "commands", "detail"),
    [
        (
            "worker_start_ray_commands",
            ["ray stop", WORKER_START],
            "worker_start_ray_commands: `ray start` without",
        ),
        (
            "worker_start_ray_commands",
            [f"RAY_AUTH_MODE=token {WORKER_START}", WORKER_START],
            "worker_start_ray_commands: 1 of 2 `ray start` without RAY_AUTH_MODE=token",
        ),
        (
            "head_start_ray_commands",
            ["RAY_AUTH_MODE=token ray start --head || ray start --head"],
            "head_start_ray_commands: 1 of 2 `ray start` without RAY_AUTH_MODE=token",
        ),
        (
            "cluster_synced_files",
            [],
            "the other machines have none: put ~/.ray/auth_token into cluster_synced",
        ),
    ],
)
def test_every_ray_that_a_file_starts_must_ask_for_the_token_and_have_it(
    key: str, commands: list[str], detail: str
) -> None:
    assert "token" not in states(check_file(file_of()))
    (found,) = [one for one in check_file(file_of(**{key: commands})) if one.what == "token"]
    assert (found.where, found.state) == ("file", "broken")
    assert detail in found.detail


def test_a_token_that_no_command_makes_is_said_and_one_by_variable_needs_no_file() -> None:
    (found,) = [one for one in check_file(file_of(setup_commands=["true"])) if one.what == "token"]
    assert (found.state, "no setup command makes it" in found.detail) == ("note", True)
    given = "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=/etc/token "
    starts: dict[str, Any] = {
        "head_start_ray_commands": [f"{given} ray start --head --include-dashboard=true"],
        "worker_start_ray_commands": [given + WORKER_START],
    }
    assert "token" not in states(check_file(file_of(setup_commands=[], cluster_synced_files=[], **starts)))


def test_options_are_understood_with_a_blank_too() -> None:
    start = (
        "RAY_AUTH_MODE=token ray start --head --port 7001 --dashboard-host 0.0.0.0 --include-dashboard true"
    )
    file = file_of(head_start_ray_commands=[start])
    (found,) = [one for one in check_file(file) if one.what == "dashboard"]
    assert (found.state, file.port) == ("broken", 7001)


def test_files_that_are_not_here_and_containers_are_said() -> None:
    found = {
        one.what: one for one in check_file(file_of(file_mounts={"~/a": "nowhere"}, docker={"image": "a"}))
    }
    assert found["file_mounts"].detail == "not here: nowhere; run it in the repository"
    assert found["docker"].state == "note"


@pytest.mark.parametrize("name", ["dgx.yaml", "local.yaml", "aws.yaml"])
def test_our_own_files_have_examples_to_fill_in_and_no_other_fault(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    broken = [one for one in check_file(read_cluster_file(Path("cluster") / name)) if one.state == "broken"]
    assert broken
    assert all("is an example: fill it in" in one.detail for one in broken)


def test_all_machines_are_asked_at_once_and_the_others_through_the_head(machine: FakeMachine) -> None:
    file = read_cluster_file(machine.cluster_file(workers=("off2", "10.0.0.3")))
    found = check_cluster(file, file.head)
    by_machine = {(one.where, one.what): one for one in found}
    assert by_machine["10.0.0.1", "login"].state == "ok"
    assert by_machine["10.0.0.3", "login"].state == "ok"
    assert by_machine["10.0.0.3", "versions"].state == "note", "nothing is installed there"
    assert by_machine["off2", "login"].state == "broken"
    assert by_machine["off2", "login"].detail == (
        "off2 cannot be logged in to: ssh: connect to host off port 22: Connection timed out; "
        "is the machine on, and does a firewall let you through?"
    )
    assert by_machine["10.0.0.3", "reach"].detail == "not tried: nothing can listen there"
    through = [line for line in machine.said("ssh") if "-W '[%h]:%p' me@10.0.0.1" in line]
    assert {line.rpartition(" me@")[2].split()[0] for line in through} == {"10.0.0.3", "off2"}


def test_nobody_logs_in_before_the_file_is_filled_in(machine: FakeMachine) -> None:
    file = read_cluster_file(Path("cluster/local.yaml"))
    found = check_cluster(file, file.head)
    assert found[-1].detail == "not tried: fill in the file first"
    assert machine.said("ssh") == []


def test_rented_machines_are_checked_once_they_run(machine: FakeMachine) -> None:
    found = check_cluster(read_cluster_file(Path("cluster/aws.yaml")), None)
    assert (found[-1].state, found[-1].detail) == ("note", "rented by `ray up`; checked once they run")


def test_a_key_that_is_missing_or_that_others_may_read_is_broken(machine: FakeMachine) -> None:
    path = machine.cluster_file()
    (machine.folder / "key").chmod(0o644)
    file = read_cluster_file(path)
    found = {one.what: one for one in check_cluster(file, file.head)}
    assert found["key"].detail.startswith("others may read")
    (machine.folder / "key").unlink()
    found = {one.what: one for one in check_cluster(file, file.head)}
    assert found["key"].detail == f"no private key at {machine.folder / 'key'}"
