"""A search on a small machine: little shared memory, and a home folder that cannot be written."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(290)]


@pytest.fixture(autouse=True)
def namespaces() -> None:
    """Skip with the reason where no mount namespace can be had: others must not see these mounts."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root and unshare: it mounts file systems in a namespace of its own")
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
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
    try:
        said, _ = search.communicate(timeout=280)
    finally:
        search.kill()
    assert search.returncode == 0, said
    assert states(tmp_path / "runs/benign_malignant/small") == ["complete"]
    assert list(home.iterdir()) == []
