"""A temporary folder whose path is too long for the sockets of Ray: a sentence, and what it advises."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from results.run.run_folder import RunFolder

pytestmark = [pytest.mark.long, pytest.mark.timeout(1000)]

LENGTH = 110  # characters; the path of a socket may have 107
SEARCH = (
    *("search", "benign_malignant", "--data", "phantom:patients=12", "--folds", "2", "--epochs", "1"),
    *("--set", "model.backbone=efficientnet_lite0", "--set", "model.trained_stages=0"),
    *("--set", "input.size_px=64", "--set", "training.augmentation=none", "--process-per-fold"),
    *("--trials", "1", "--offline", "--no-audit", "--no-pictures", "--address", "local", "--workers", "1"),
)


def search(folder: Path, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a search of one trial, whose temporary folder has a long path."""
    short = {key: value for key, value in os.environ.items() if key != "RAY_TMPDIR"}
    long = folder / ("t" * (LENGTH - len(f"{folder}/")))
    long.mkdir(exist_ok=True)
    assert len(str(long)) == LENGTH
    folders = ("--runs", str(folder / "runs"), "--store", str(folder / "store"), "--name", name)
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.cli.main", *SEARCH, *folders],
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
        env={**short, "TMPDIR": str(long), **environment},
    )


def test_a_long_temporary_folder_is_a_sentence_that_names_what_to_set_and_with_that_the_search_runs() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="long_") as place:
        refused = search(Path(place), "refused")
        said = refused.stdout + refused.stderr
        assert refused.returncode == 2, said
        assert "Traceback" not in said
        assert "a Ray of its own was needed, but it did not start" in refused.stderr
        assert "set RAY_TMPDIR to a short one, such as /tmp" in refused.stderr.splitlines()[-1]
        advised = search(Path(place), "advised", RAY_TMPDIR=place)
        assert advised.returncode == 0, advised.stdout + advised.stderr
        (record,) = RunFolder(Path(place) / "runs/benign_malignant/advised").records()
        assert record.state == "complete"
