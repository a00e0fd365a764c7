"""What a search listens on: a Ray of its own has the loopback address alone, and asks for a token."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from listening import LOOPBACK, family, listening

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

HELPERS = Path(__file__).parents[1] / "helpers"
# `connect` and a remote function, in a process that says what it found.
CONNECTS = """
import json, os
from pathlib import Path
import grpc
from cluster.connect import connect, disconnect
from listening import family, listening

connection = connect("local", cpus=1)
import ray
ray.get(ray.remote(lambda: 1).remote())
try:
    with grpc.insecure_channel(connection.address) as channel:
        channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")(b"", timeout=30)
    answer = "OK"
except grpc.RpcError as error:
    answer = error.code().name
arguments = [Path(f"/proc/{pid}/cmdline").read_text() for pid in family(os.getpid())]
token, mode = (Path.home() / ".ray/auth_token").read_text(), os.environ.get("RAY_AUTH_MODE")
found = {"listening": listening(os.getpid()), "mode": mode, "arguments": arguments, "token": token}
print("FOUND", json.dumps(found | {"answer": answer}))
disconnect(connection)
"""
SEARCH = (
    *("search", "benign_malignant", "--data", "phantom:patients=12", "--folds", "2", "--epochs", "2"),
    *("--set", "model.backbone=efficientnet_lite0", "--set", "model.trained_stages=0"),
    *("--set", "input.size_px=64", "--set", "training.augmentation=none"),
    *("--trials", "2", "--name", "listens", "--offline", "--address", "local", "--workers", "1"),
)


def environment(home: Path) -> dict[str, str]:
    """An environment without any word to Ray, and with the helpers of the tests."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    paths = [str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**clean, "HOME": str(home), "PYTHONPATH": os.pathsep.join(paths)}


@pytest.mark.parametrize("before", ["", "import ray\n"], ids=["first", "ray_imported_before"])
def test_a_ray_of_our_own_listens_on_the_loopback_address_alone_and_asks_for_a_token(
    tmp_path: Path, before: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", before + CONNECTS],
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
        env=environment(tmp_path),
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stdout + done.stderr
    found = json.loads(lines[0].removeprefix("FOUND "))
    assert len(found["listening"]) >= 3  # Ray's own servers were looked at
    assert set(found["listening"]) <= LOOPBACK
    assert (found["mode"], found["answer"]) == ("token", "UNAUTHENTICATED")
    assert len(found["token"]) >= 32
    assert not any(found["token"] in arguments for arguments in found["arguments"])
    assert (tmp_path / ".ray/auth_token").stat().st_mode & 0o077 == 0


def test_no_process_of_a_search_listens_beyond_the_loopback_address_from_its_start_to_its_end(
    tmp_path: Path,
) -> None:
    folders = ("--runs", str(tmp_path / "runs"), "--store", str(tmp_path / "store"))
    seen, looks, largest_family = set[str](), 0, 0
    with (tmp_path / "said").open("w+") as said:
        search = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli.main", *SEARCH, *folders],
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environment(tmp_path),
        )
        try:
            while True:
                found = listening(search.pid)
                seen |= set(found)
                looks += bool(found)
                largest_family = max(largest_family, len(family(search.pid)))
                try:
                    search.wait(0.2)
                    break
                except subprocess.TimeoutExpired:
                    continue
        finally:
            search.kill()
            search.wait()
        said.seek(0)
        assert search.returncode == 0, said.read()
    records = sorted((tmp_path / "runs/benign_malignant/listens/trials").glob("*/record.json"))
    assert [json.loads(path.read_text())["state"] for path in records] == ["complete", "complete"]
    assert looks >= 20, "while the search ran, its servers were looked at again and again"
    assert largest_family >= 4, "the driver, Ray's processes and workers"
    assert seen
    assert seen <= LOOPBACK
