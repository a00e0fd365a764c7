"""A search whose results are copied to an S3 storage, and the loss of the machine that ran it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mirrored_runs import prefix, visible
from s3_server import Amazon, s3_server

from results.run.run_folder import RunFolder

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def amazon() -> Iterator[Amazon]:
    with s3_server() as found:
        yield found


def orchestrate(folder: Path, key: dict[str, str], *words: str) -> None:
    """Run a verb in a folder, with the key of an account; fail with what it printed unless it does well."""
    command = [sys.executable, "-m", "orchestrator.cli.main", *words]
    known = {**os.environ, **key, "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        command, cwd=folder, env=known, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert "failed, and the search goes on" not in done.stderr
    assert "failed after the search" not in done.stderr


@pytest.mark.long
def test_a_search_goes_on_from_its_copy_when_its_machine_is_lost(amazon: Amazon, tmp_path: Path) -> None:
    uri, key = amazon.uri("bucket/runs"), amazon.account("searches")
    words = ("--name", "first", "--address", "local", "--workers", "2", "--results", uri)
    orchestrate(tmp_path, key, "search", "wisconsin", "--trials", "3", *words)
    run = RunFolder(tmp_path / "runs" / "wisconsin" / "first")
    here, own = visible(run.path), f"runs/{prefix(run)}/"
    assert {name: content for name, content in amazon.contents(own).items() if content} == {
        name: content for name, content in here.items() if content
    }
    shutil.rmtree(tmp_path / "runs")
    orchestrate(tmp_path, key, "fetch", uri, "first")
    assert visible(run.path) == here

    # A machine that is lost while it searches leaves there what its search began with, and ended trials.
    begun = [run.search_file.name, run.split_file.name, run.initial_points_file.name]
    for name in here:
        if name not in begun and not name.startswith("trials/"):
            (run.path / name).unlink()
    orchestrate(tmp_path, key, "resume", "first", "--trials", "5", "--address", "local")
    assert [record.number for record in run.records()] == [0, 1, 2, 3, 4]
    now = visible(run.path)
    ended = [name for name in here if name.endswith("record.json")]
    assert len(ended) == 3
    assert all(now[name] == here[name] for name in ended)
    assert {name: content for name, content in amazon.contents(own).items() if content} == {
        name: content for name, content in now.items() if content
    }
