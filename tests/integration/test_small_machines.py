"""A search on a small machine: little shared memory, a home that cannot be written, a full disk."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(290)]

WAITS = "no trial starts until there is room on the disk of"


@pytest.fixture(autouse=True)
def namespaces() -> None:
    """Skip with the reason where no mount namespace can be had: others must not see these mounts."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        # Without root nothing of it can be tried; CI has root.
        pytest.skip("needs root and unshare: it mounts file systems in a namespace of its own")
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        # A container may refuse it to root, too, and nobody else may see these mounts.
        pytest.skip(f"needs a mount namespace of its own, which is refused here: {tried.stderr.strip()}")


def begun(folder: Path, *mounts: str, home: Path, trials: int) -> subprocess.Popen[str]:
    """A search in a mount namespace of its own; its run folders lie in `<folder>/runs`."""
    held = (
        "model.backbone=efficientnet_lite0",
        "model.trained_stages=0",
        "input.size_px=64",
        "training.augmentation=none",
    )
    typed = ["search", "benign_malignant", "--data", "phantom:patients=12", "--folds", "2", "--epochs", "2"]
    typed += [word for setting in held for word in ("--set", setting)]
    typed += ["--trials", str(trials), "--runs", str(folder / "runs"), "--store", str(folder / "store")]
    typed += ["--name", "small", "--offline", "--no-audit", "--address", "local", "--workers", "1"]
    command = shlex.join([sys.executable, "-m", "orchestrator.cli.main", *typed])
    script = "; ".join([*mounts, f"exec {command}"])
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-ec", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "HOME": str(home)},
    )


def states(run: Path) -> list[str]:
    return [json.loads(path.read_text())["state"] for path in sorted(run.glob("trials/*/record.json"))]


def test_little_shared_memory_and_a_home_that_cannot_be_written_are_enough(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    search = begun(
        tmp_path,
        "mount -t tmpfs -o size=64m tmpfs /dev/shm",
        f"mount --bind {home} {home}",
        f"mount -o remount,ro,bind {home}",
        home=home,
        trials=1,
    )
    said, _ = search.communicate(timeout=280)
    assert search.returncode == 0, said
    assert states(tmp_path / "runs/benign_malignant/small") == ["complete"]
    assert "Traceback" not in said


def test_a_disk_that_is_full_for_a_while_costs_no_trial(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    search = begun(tmp_path, f"mount -t tmpfs -o size=120m tmpfs {runs}", home=tmp_path, trials=12)
    inside = Path(f"/proc/{search.pid}/root{runs}")  # what the search sees there
    run, said = inside / "benign_malignant/small", list[str]()
    while not list(run.glob("trials/*/record.json")):
        assert search.poll() is None, search.communicate()[0]
        time.sleep(0.02)  # the disk is to fill long before the twelfth trial ends
    with (inside / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(1 << 16))
    assert search.stdout is not None
    for line in search.stdout:
        said.append(line)
        if "No space left on device" in line and ("waits up to" in line or WAITS in line):
            break
    else:
        pytest.fail(f"the search ended and never met the full disk: {''.join(said)}")
    copied = json.loads((run / "trials/0000/record.json").read_text())
    (inside / "filler").unlink()
    kept = tmp_path / "kept"
    for line in search.stdout:
        said.append(line)
        if search.poll() is None:  # the mount goes with the search
            with contextlib.suppress(OSError):
                shutil.copytree(run, kept, dirs_exist_ok=True)
    search.stdout.close()
    assert search.wait(60) == 0, "".join(said)
    assert json.loads((kept / "trials/0000/record.json").read_text()) == copied
    assert any("12 trials ended" in line for line in said), "".join(said)
