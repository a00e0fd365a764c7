"""A cluster from the terminal: checked, started, searched with the laptop closed, stopped, fetched, ended.

Against a real SSH server on a loopback address, with the cluster file that users get.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from ssh_machine import WORKER, Machine, cluster_file, free_port, ray_servers, running_machine
from typed_verbs import PATIENCE_SECONDS, TypedVerbs

from results.run.damage import damaged_trials
from results.run.run_folder import RunFolder

pytestmark = [pytest.mark.machines, pytest.mark.timeout(1800)]

SEARCH = (
    *("search", "benign_malignant", "--data", "phantom:patients=12", "--folds", "2", "--epochs", "2"),
    *("--offline", "--set", "model.backbone=efficientnet_lite0", "--set", "model.trained_stages=0"),
    # One worker, since each imports for seconds, and nothing that is no trial.
    *("--set", "input.size_px=64", "--set", "model.cut=top", "--workers", "1", "--no-audit", "--no-pictures"),
)
MANY = 5000  # trials: no machine is so fast that a search of them ends by itself


@dataclass(frozen=True, kw_only=True)
class Laptop(TypedVerbs):
    """The machine that verbs are typed at, and the one that they lead to.

    Attributes:
        machine: The machine elsewhere.
    """

    machine: Machine


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A laptop, and a machine that nothing runs on."""
    with running_machine(tmp_path_factory.mktemp("cluster")) as machine:
        file = machine.folder / "dgx.yaml"
        file.write_text(cluster_file(machine, free_port()))
        yield Laptop(file=file, client=machine.folder / "client", environment=os.environ, machine=machine)


def test_a_cluster_is_checked_before_it_is_started_also_a_machine_behind_the_first(laptop: Laptop) -> None:
    several = laptop.machine.folder / "several.yaml"
    several.write_text(
        laptop.file.read_text().replace("worker_ips: []", f"worker_ips: [{WORKER}, 127.0.0.9]")
    )
    out, _ = laptop.run("cluster", "check", str(several), "--format", "json", code=1)
    found = {(one["where"], one["what"]): one for one in json.loads(out)}
    home = str(laptop.machine.home)
    for host in ("127.0.0.1", WORKER):  # both are this machine, which logs in to itself
        assert found[host, "login"]["state"] == "ok"
        assert home in found[host, "login"]["detail"]
        assert found[host, "clock"]["state"] == "ok"
    assert found["127.0.0.1", "versions"]["state"] == "note"
    assert found["127.0.0.9", "login"]["state"] == "broken"
    assert found["all", "home"]["state"] == "ok"
    assert found["file", "schema"]["state"] == "ok"
    assert laptop.machine.processes() == {}, "a look leaves nothing behind"


def test_a_search_goes_on_when_the_laptop_is_closed_and_everything_ends_at_the_end(laptop: Laptop) -> None:
    err = laptop.up()
    assert err.startswith(f"runs: ray up -y --disable-usage-stats {laptop.file}\n")
    assert len(ray_servers(laptop.machine)) >= 3
    before = search_with_the_laptop_closed(laptop)
    refuse_a_second_up(laptop)
    detach(laptop)
    number = stop_and_resume(laptop, before)
    show_a_mistake(laptop)
    end_everything(laptop)
    fetch(laptop, number)
    _, err = laptop.run("cluster", "status", "FILE", code=1)
    assert "a running Ray cluster is needed, but none is noted on this machine" in err


def search_with_the_laptop_closed(laptop: Laptop) -> dict[str, Any]:
    """Submit, follow, and cut the connection as an empty battery does; return how the search is then."""
    out, _ = laptop.run("submit", "FILE", "--", *SEARCH, "--trials", str(MANY), "--name", "long")
    assert out.startswith("search-long-")
    follower = laptop.start("attach", "FILE", "long")
    assert follower.stdout is not None
    assert follower.stdout.readline()
    os.killpg(follower.pid, signal.SIGKILL)
    follower.communicate()
    found = laptop.wait_for("long", lambda one: one.get("ended", 0) >= 1)
    assert (found["is_running"], found["job"]["status"], found["asked"]) == (True, "RUNNING", MANY)
    return found


def refuse_a_second_up(laptop: Laptop) -> None:
    """A second `up` would kill the search; sending code does not."""
    servers = ray_servers(laptop.machine)
    _, err = laptop.run("cluster", "up", "FILE", code=2)
    assert "a search runs on this cluster (on 127.0.0.1: search benign_malignant" in err
    laptop.run("cluster", "up", "FILE", "--no-restart")
    assert servers <= ray_servers(laptop.machine)
    assert laptop.search("long")["is_running"]


def detach(laptop: Laptop) -> None:
    """Ctrl-C ends what follows, and not what is followed."""
    follower = laptop.start("attach", "FILE")
    assert follower.stdout is not None
    assert follower.stdout.readline()
    os.killpg(follower.pid, signal.SIGINT)
    _, err = follower.communicate(timeout=PATIENCE_SECONDS)
    assert (follower.returncode, "detached; the job goes on" in err) == (0, True)
    assert laptop.search("long")["is_running"]


def stop_and_resume(laptop: Laptop, before: dict[str, Any]) -> int:
    """End the search as Ctrl-C does, and go on with it; return its number of trials."""
    out, _ = laptop.run("stop", "FILE", "long")
    stopped = laptop.search("long")
    assert f"{stopped['ended']} of {MANY} trials are kept" in out
    assert (stopped["is_running"], stopped["job"]["status"]) == (False, "STOPPED")
    assert stopped["ended"] >= before["ended"]
    more = int(stopped["ended"]) + 2
    laptop.run("submit", "FILE", "--", "resume", "long", "--trials", str(more))
    laptop.wait_for("long", lambda one: one["job"]["status"] == "SUCCEEDED")
    assert laptop.search("long")["ended"] == more
    laptop.run("attach", "FILE", "long")
    return more


def show_a_mistake(laptop: Laptop) -> None:
    """Data that are not over there show in `status`, and as the exit code of `attach`."""
    missing = ("search", "benign_malignant", "--data", "nowhere.npz", "--name", "wrong")
    laptop.run("submit", "FILE", "--", *missing)
    wrong = laptop.wait_for("wrong", lambda one: one.get("job", {}).get("status") == "FAILED")
    assert wrong["job"]["exit_code"] == 2
    assert "nowhere.npz" in wrong["job"]["message"]
    laptop.run("attach", "FILE", "wrong", code=2)


def end_everything(laptop: Laptop) -> None:
    """`down` ends a search that runs as Ctrl-C does, and leaves nothing."""
    laptop.run("submit", "FILE", "--", *SEARCH, "--trials", str(MANY), "--name", "left")
    laptop.wait_for("left", lambda one: one.get("ended", 0) >= 1)
    _, err = laptop.run("cluster", "down", "FILE")
    assert "a search runs: ended first, as by Ctrl-C" in err
    assert err.strip().endswith("nothing of Ray is left on 127.0.0.1")
    deadline = time.monotonic() + 30
    while (left := laptop.machine.processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == {}


def fetch(laptop: Laptop, number: int) -> None:
    """Runs are copied, and are whole."""
    fetched = laptop.machine.folder / "fetched"
    for name in ("long", "left"):
        laptop.run("fetch", "FILE", name, "--runs", str(fetched))
        here = RunFolder(fetched / "benign_malignant" / name)
        there = RunFolder(laptop.machine.home / "orchestrate/runs/benign_malignant" / name)
        assert damaged_trials(here) == {}
        assert [one.model_dump() for one in here.records()] == [one.model_dump() for one in there.records()]
        assert here.records()
    assert len(RunFolder(fetched / "benign_malignant/long").records()) == number
    out, _ = laptop.run("leaderboard", "long", "--runs", str(fetched))
    assert "AUC" in out
