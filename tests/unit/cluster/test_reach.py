"""Whether machines reach each other: loopback addresses stand for machines, and no other is connected to."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fake_ssh import FakeMachine, make_fake_machine
from test_check import FACTS

from cluster import reach
from cluster.cluster_file import ClusterFile, read_cluster_file
from cluster.finding import Finding
from cluster.probe import MachineFacts, Python

HEAD, ONE, TWO = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ClusterFile:
    machine: FakeMachine = make_fake_machine(tmp_path, monkeypatch)
    path = machine.cluster_file(head=HEAD, workers=(ONE, TWO))
    path.write_text(path.read_text().replace("--port=6379", f"--port={free_port()}"))
    return read_cluster_file(path)


def free_port() -> int:
    with socket.socket() as server:
        server.bind((HEAD, 0))
        return int(server.getsockname()[1])


def facts(*hosts: str, taken: tuple[int, ...] = ()) -> list[MachineFacts]:
    python = Python(sys.executable, (3, 12, 0), True)
    return [replace(FACTS, host=host, pythons=(python,), taken_ports=taken) for host in hosts]


def by_host(found: list[Finding]) -> dict[str, Finding]:
    assert all(one.what == "reach" for one in found)
    return {one.where: one for one in found}


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.create_server((HEAD, port)):
        yield


def test_machines_that_reach_each_other_say_how_it_was_tried(file: ClusterFile) -> None:
    found = by_host(reach.check_reach(file, facts(HEAD, ONE, TWO), HEAD))
    assert {one.state for one in found.values()} == {"ok"}, found
    tried = f"the head on port {file.port}, tried with a listener of seconds, and a free port of 2 others"
    assert found[ONE].detail == f"reaches {tried}"
    assert found[HEAD].detail == "reaches a free port of 2 others"
    with listening(file.port):  # nothing of the look listens any more
        pass


def test_where_ray_listens_already_it_is_asked_itself(file: ClusterFile) -> None:
    with listening(file.port):
        found = by_host(reach.check_reach(file, facts(HEAD, ONE, taken=(file.port,)), HEAD))
    assert found[ONE].state == "ok"
    assert f"the head on port {file.port}, where something listens already" in found[ONE].detail


def test_a_port_that_does_not_answer_is_named_with_the_reason(file: ClusterFile) -> None:
    answers = {f"{HEAD},{file.port}": "timed out", f"{HEAD},4000": ""}
    judged = reach._judged(file, facts(ONE)[0], answers, facts(HEAD, ONE))
    assert judged.state == "broken"
    assert judged.detail.startswith(
        f"does not reach {HEAD} on port {file.port} (timed out); Ray's machines talk"
    )


def test_the_script_says_why_a_place_is_not_reached() -> None:
    port = free_port()
    with socket.create_server((HEAD, 0)) as server:
        open_port = server.getsockname()[1]
        places = [f"{HEAD},{port}", f"{HEAD},{open_port}"]
        said = subprocess.run(
            [sys.executable, "-c", reach.CONNECT, *places],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    assert said.splitlines() == [f"{HEAD},{port}\tConnection refused", f"{HEAD},{open_port}\t"]


def test_a_listener_ends_with_its_login_and_leaves_a_taken_port_alone() -> None:
    taken = free_port()
    with listening(taken):
        words = [sys.executable, "-c", reach.LISTEN, HEAD, "60", str(taken), "0"]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            (own,) = map(int, process.stdout.readline().split())
            assert own != taken
            socket.create_connection((HEAD, own), timeout=5).close()
            process.stdin.close()
            assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("hosts", "where", "detail"),
    [
        ((ONE, TWO), "machines", "not tried: the head cannot be logged in to"),
        # An address of documentation, which no machine has.
        ((HEAD, "192.0.2.1"), "192.0.2.1", "not tried: nothing can listen there"),
    ],
)
def test_what_cannot_be_tried_is_said(
    hosts: tuple[str, ...], where: str, detail: str, file: ClusterFile
) -> None:
    found = by_host(reach.check_reach(file, facts(*hosts), HEAD))
    assert (found[where].state, found[where].detail) == ("note", detail)


def test_a_machine_without_python_is_not_asked_and_one_machine_has_nobody_to_reach(file: ClusterFile) -> None:
    without = replace(facts(ONE)[0], pythons=())
    found = by_host(reach.check_reach(file, [*facts(HEAD), without], HEAD))
    assert found[ONE].detail == "not tried: it has no Python"
    alone = ClusterFile(file.path, {**file.config, "provider": {**file.config["provider"], "worker_ips": []}})
    assert reach.check_reach(alone, facts(HEAD), HEAD) == []
