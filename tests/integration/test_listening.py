"""What a search listens on: a Ray of its own has the loopback address alone, and asks for a token."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(170)]

LISTENS = """
import json, os
from pathlib import Path
from cluster.connect import connect, disconnect

def family(pid):
    found = [pid]
    for own in found:
        for task in Path(f"/proc/{own}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found

def sockets(pid):
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield os.readlink(entry)
        except OSError:
            continue

connection = connect("local", cpus=1)
import ray
ray.get(ray.remote(lambda: 1).remote())
own = {name for pid in family(os.getpid()) for name in sockets(pid)}
listening = []
for kind in ("tcp", "tcp6"):
    for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in own:
            listening.append(words[1].rpartition(":")[0])
arguments = [Path(f"/proc/{pid}/cmdline").read_text() for pid in family(os.getpid())]
token, mode = (Path.home() / ".ray/auth_token").read_text(), os.environ.get("RAY_AUTH_MODE")
print("FOUND", json.dumps({"listening": listening, "mode": mode, "arguments": arguments, "token": token}))
disconnect(connection)
"""
_LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


def test_a_ray_of_our_own_listens_on_the_loopback_address_alone_and_asks_for_a_token(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", LISTENS],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
        env={**clean, "HOME": str(tmp_path)},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stdout + done.stderr
    found = json.loads(lines[0].removeprefix("FOUND "))
    assert len(found["listening"]) >= 3  # Ray's own servers were looked at
    assert set(found["listening"]) <= _LOOPBACK
    assert found["mode"] == "token"
    assert len(found["token"]) >= 32
    assert not any(found["token"] in arguments for arguments in found["arguments"])
    assert (tmp_path / ".ray/auth_token").stat().st_mode & 0o077 == 0
