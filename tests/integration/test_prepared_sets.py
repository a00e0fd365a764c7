"""Prepared sets from the command line: killed and resumed, searched, and free of who the patients are."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from dicom_tree import PLANTED, write_tree

from trainables.data.prepared_set import open_prepared_set

pytestmark = pytest.mark.timeout(900)

ORCHESTRATE = (sys.executable, "-m", "orchestrator.cli.main")
SMALL = (
    "--offline",
    "--address",
    "local",
    "--epochs",
    "2",
    "--folds",
    "3",
    "--workers",
    "1",
    "--trials",
    "2",
)
FROZEN = ("--set", "model.backbone=efficientnet_lite0", "--set", "model.trained_stages=0")
KILLS = 10


def orchestrate(folder: Path, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a verb in a folder; fail with what it printed unless it ends with `code`."""
    command = [*ORCHESTRATE, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def files_that_hold(folders: list[Path], texts: tuple[str, ...]) -> list[str]:
    """Files in which a text occurs, in their content or their name."""
    return [
        f"{text} in {file}"
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file()
        for text in texts
        if text.encode() in file.read_bytes() or text in file.name
    ]


@pytest.mark.long
def test_killed_at_ten_moments_and_resumed_it_is_the_same_set(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for number in range(1500):
        folder = tmp_path / "raw" / ("benign", "malignant")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.png"), noise.integers(0, 256, (120, 120)).astype(np.uint8))
    command = ("data", "prepare", "folder", "raw", "--workers", "2", "--out")
    began = time.monotonic()
    orchestrate(tmp_path, *command, "whole")
    seconds = time.monotonic() - began
    moments, resumed = random.Random(0), 0
    for _ in range(KILLS):
        process = subprocess.Popen(
            [*ORCHESTRATE, *command, "killed"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds * moments.uniform(0.2, 1.0))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        if (tmp_path / "killed").exists():  # it was whole before it was killed: another one begins
            shutil.rmtree(tmp_path / "killed")
        resumed += any(tmp_path.glob(".killed.preparing/*.json"))
    orchestrate(tmp_path, *command, "killed")
    assert resumed, "every kill came before anything was done"
    one, other = (open_prepared_set(tmp_path / name) for name in ("whole", "killed"))
    assert one.fingerprint == other.fingerprint
    np.testing.assert_array_equal(one.images, other.images)
    assert not list(tmp_path.glob(".*preparing"))


@pytest.mark.long
def test_a_search_on_hashed_ids_writes_nothing_that_identifies_a_person(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", 16)
    (tmp_path / "key").write_text("0123456789abcdef0123456789abcdef")
    arguments = ("--hash-ids", "key", "--size", "96x64")
    orchestrate(tmp_path, "data", "prepare", "dicom", "tree", "--out", "set", *arguments)
    search = ("search", "benign_malignant", "--data", "set", "--name", "one", "--store", "store")
    orchestrate(tmp_path, *search, *SMALL, *FROZEN)
    orchestrate(tmp_path, "ensemble", "one")
    orchestrate(tmp_path, "export", "one", "--out", "bundle")
    written = [tmp_path / name for name in ("set", "runs", "store", "bundle")]
    assert all(folder.is_dir() for folder in written)
    found = files_that_hold(written, (*PLANTED, "Aufnahme", "1.2.826.0.1."))
    assert not found


@pytest.mark.slow
def test_a_search_prepares_a_raw_collection_on_the_way_once(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", 16)
    next(tree.glob("*/*CC.dcm")).write_bytes(b"no image")
    search = ("search", "benign_malignant", "--data", "tree", "--store", "store", *SMALL, *FROZEN)
    first = orchestrate(tmp_path, *search, "--name", "one")
    assert "read as A tree of DICOM" in first.stderr
    assert "WARNING: 1 of it cannot be used" in first.stderr
    sets = list((tmp_path / "store" / "prepared").iterdir())
    assert len(sets) == 1
    written = (sets[0] / "images.npy").stat().st_mtime_ns
    orchestrate(tmp_path, "plan", "benign_malignant", "--data", "tree", "--store", "store", *FROZEN)
    assert (sets[0] / "images.npy").stat().st_mtime_ns == written
