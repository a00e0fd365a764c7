"""A run folder is copied to Hadoop without Java, over HTTP, and brought back from there."""

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.arrow import HadoopFileSystem
from mirrored_runs import begun_run, end_trial, ended, prefix, visible
from webhdfs_server import Hadoop, webhdfs_server

from orchestrator.cli.main import main
from orchestrator.reporting import place
from orchestrator.reporting.mirror import MirrorCallback, mirror_callbacks
from orchestrator.reporting.place import Place
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError

pytestmark = pytest.mark.slow

BLOCK_BYTES = 5 << 20  # what fsspec sends at once


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return begun_run(tmp_path / "here")


@pytest.fixture
def hadoop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hadoop]:
    # What FSSPEC_WEBHDFS_USER in the environment of the process would say.
    monkeypatch.setitem(fsspec.config.conf, "webhdfs", {"user": "searches"})
    with webhdfs_server() as found:
        yield found


def uri(hadoop: Hadoop) -> str:
    return f"webhdfs://{hadoop.name_node}/user/searches/runs"


def test_a_run_is_the_same_in_hadoop_and_back_again(hadoop: Hadoop, run: RunFolder, tmp_path: Path) -> None:
    (callback,) = mirror_callbacks(uri(hadoop))
    callback.on_search_start(run, run.search())
    run.write_weights(1, [("0.safetensors", os.urandom(2 * BLOCK_BYTES + 1)), ("1.safetensors", b"")])
    callback.on_trial_end(end_trial(run))
    callback.on_search_end(ended(run))
    here = visible(run.path)
    own = f"/user/searches/runs/{prefix(run)}/"
    assert {name.removeprefix(own): content for name, content in hadoop.files.items()} == here
    assert {user for user, _ in hadoop.asked} == {"searches"}
    runs = tmp_path / "fetched"
    assert main(["fetch", uri(hadoop), "latest", "--runs", str(runs)]) == 0
    assert visible(runs / prefix(run)) == here


def test_what_has_changed_here_is_changed_in_hadoop(hadoop: Hadoop, run: RunFolder) -> None:
    (callback,) = mirror_callbacks(uri(hadoop))
    callback.on_search_start(run, run.search())
    callback.on_trial_end(end_trial(run))
    callback._pool.submit(lambda: None).result()  # what was begun has ended
    run.split_file.write_text("[]")
    run.discard_weights(0)
    callback.on_search_end(ended(run))
    own = f"/user/searches/runs/{prefix(run)}/"
    assert {name.removeprefix(own): content for name, content in hadoop.files.items()} == visible(run.path)


def test_what_was_copied_is_not_copied_again_at_the_end(hadoop: Hadoop, run: RunFolder) -> None:
    callback = MirrorCallback(Place(uri(hadoop)))
    callback.on_search_start(run, run.search())
    callback.on_trial_end(end_trial(run))
    callback.on_search_end(ended(run))
    written = [asked for _, asked in hadoop.asked if asked.startswith("CREATE")]
    assert len(written) == len(set(written)) == len(visible(run.path))


def test_a_user_who_may_not_write_is_refused(hadoop: Hadoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(fsspec.config.conf, "webhdfs")
    with pytest.raises(
        ConfigError, match=r"the account may not do this; .* \(Permission denied: user=dr.who"
    ):
        mirror_callbacks(uri(hadoop))


def test_a_name_node_that_takes_nothing_is_refused(hadoop: Hadoop) -> None:
    hadoop.is_safe = True
    with pytest.raises(ConfigError, match=r"nothing can be written there: Cannot change .* safe mode"):
        mirror_callbacks(uri(hadoop))


@pytest.mark.parametrize("scheme", ["webhdfs", "hdfs"])
def test_a_name_node_that_does_not_answer_is_refused(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_HADOOP_ATTEMPTS", "1")
    begun = time.monotonic()
    with pytest.raises(ConfigError, match="the storage does not answer; look at its address"):
        mirror_callbacks(f"{scheme}://127.0.0.1:1/runs")
    assert time.monotonic() - begun < 30.0  # without a limit hdfs-native asks for 3 minutes


def test_a_process_can_be_forked_after_a_storage_of_hdfs() -> None:
    script = """
import contextlib, subprocess, sys
from orchestrator.reporting import place
from trainables.common.errors import ConfigError
place._HADOOP_ATTEMPTS = "1"
with contextlib.suppress(ConfigError):
    place.Place("hdfs://127.0.0.1:1/runs").check_writable()
subprocess.run([sys.executable, "-c", ""], preexec_fn=lambda: None, check=True)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120.0)  # as Ray starts its processes


def test_without_hdfs_native_and_java_hdfs_is_refused_with_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HADOOP_HOME", "ARROW_LIBHDFS_DIR", "JAVA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    known = importlib.import_module("fsspec.registry")._registry
    monkeypatch.setitem(known, "hdfs", HadoopFileSystem)  # fsspec's own, by pyarrow
    with pytest.raises(
        ConfigError, match=r"needs the package hdfs-native, .* CLASSPATH\); webhdfs://host:9870"
    ):
        Place("hdfs://host/path")
