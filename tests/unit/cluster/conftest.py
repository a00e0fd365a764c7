"""A Ray that is not there, and the folder in which `ray start` would note its address."""

import importlib
import os
import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.connect import QUIET_ENVIRONMENT
from cluster.own_ray import IDLE_MILLISECONDS, NICENESS, OWN_ENVIRONMENT, PRELOADS


@pytest.fixture
def note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where `ray start` notes its address, in an empty folder."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


@pytest.fixture
def closed_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.fixture
def fake_ray(monkeypatch: pytest.MonkeyPatch, note: Path) -> SimpleNamespace:
    """Stand for the `ray` module; `calls` holds what it was asked."""
    importlib.import_module("cluster.ray_private")  # it needs the real one, whichever test comes first
    calls: list[tuple[str, dict[str, Any]]] = []
    fake = SimpleNamespace(
        calls=calls,
        fault=None,
        is_initialized=lambda: False,
        nodes=lambda: [],
        cluster_resources=lambda: {"CPU": 2.0, "node:10.0.0.1": 1.0},
        get_runtime_context=lambda: SimpleNamespace(gcs_address="10.0.0.1:4242"),
        shutdown=lambda **options: calls.append(("shutdown", options)),
    )

    def init(**options: Any) -> SimpleNamespace:
        calls.append(("init", options | {"RAY_ADDRESS": os.environ.get("RAY_ADDRESS")}))
        calls[-1][1]["held_back"] = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        if fake.fault:
            raise fake.fault
        return SimpleNamespace(address_info={"session_dir": str(note.parent / "session_own")})

    fake.init = init
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.delitem(sys.modules, "ray._raylet", raising=False)
    for name in QUIET_ENVIRONMENT:
        monkeypatch.setenv(name, "as it was")
    for name in (
        *OWN_ENVIRONMENT,
        NICENESS,
        PRELOADS,
        IDLE_MILLISECONDS,
        "RAY_AUTH_TOKEN",
        "RAY_AUTH_TOKEN_PATH",
    ):
        monkeypatch.setenv(name, "")  # so that it is as it was after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(note.parents[1] / "home"))
    return fake
