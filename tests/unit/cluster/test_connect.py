"""What a Ray of the search's own is like, and how a cluster is joined."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray_control_service import ray_that_answers

from cluster import own_ray
from cluster.connect import connect, disconnect, plan_connection
from cluster.errors import ClusterError
from cluster.own_ray import IDLE_MILLISECONDS, NICENESS, OWN_ENVIRONMENT, PRELOADS


def test_an_own_ray_gets_the_cpus_and_ends_with_the_search(fake_ray: SimpleNamespace) -> None:
    connection = connect(None, cpus=2)
    disconnect(connection)
    (_, options), (verb, how) = fake_ray.calls
    assert (options["address"], options["num_cpus"], options["include_dashboard"]) == ("local", 2, False)
    assert options["_node_ip_address"] == "127.0.0.1"
    assert (verb, how) == ("shutdown", {"wait_for_processes": True})
    assert connection.is_own
    assert connection.message == "Running on a Ray of its own: 1 machine with 2 CPUs and no GPU."


def test_the_processes_of_an_own_ray_outlive_a_closed_terminal(fake_ray: SimpleNamespace) -> None:
    before = signal.getsignal(signal.SIGHUP)
    disconnect(connect(None))
    assert signal.SIGHUP in fake_ray.calls[0][1]["held_back"]
    assert signal.getsignal(signal.SIGHUP) is before
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_sigterm_still_reaches_the_caller_after_ray_has_taken_its_handler_away(
    fake_ray: SimpleNamespace,
) -> None:
    took: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: took.append(number))
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    connection = connect(None)

    def shutdown(**options: Any) -> None:
        libc.signal(signal.SIGTERM, None)  # as Ray does: Python believes in its handler

    fake_ray.shutdown = shutdown
    try:
        disconnect(connection)
        assert is_caught(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert took == [signal.SIGTERM]


def is_caught(number: int) -> bool:
    """True if a signal has a handler for the kernel, too, so that it does not end this process."""
    status = Path("/proc/self/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_the_session_folder_of_an_own_ray_goes_with_it_and_no_other(
    fake_ray: SimpleNamespace, note: Path
) -> None:
    own, other = note.parent / "session_own", note.parent / "session_other"
    for folder in (own, other):
        (folder / "logs").mkdir(parents=True)
    (note.parent / "session_latest").symlink_to(own)
    disconnect(connect(None))
    assert sorted(path.name for path in note.parent.iterdir() if "session" in path.name) == ["session_other"]


def test_a_found_cluster_is_joined_with_its_own_cpus_and_left_running(
    fake_ray: SimpleNamespace, note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ray_that_answers() as port:
        note.write_text(f"127.0.0.1:{port}")
        monkeypatch.setenv("RAY_ADDRESS", f"localhost:{port}")
        connection = connect(None, cpus=2)
    disconnect(connection)
    (_, options), (_, how) = fake_ray.calls
    assert "num_cpus" not in options
    assert "address" not in options
    assert options["RAY_ADDRESS"] is None
    assert os.environ["RAY_ADDRESS"] == f"localhost:{port}"
    assert how == {"wait_for_processes": False}
    assert (connection.is_own, connection.address) == (False, f"127.0.0.1:{port}")


def test_a_cluster_whose_head_has_no_cpus_is_waited_for_until_a_machine_has_joined(
    fake_ray: SimpleNamespace, note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [{}, {"node:10.0.0.1": 1.0}, {"node:10.0.0.1": 1.0, "CPU": 4.0}]
    fake_ray.cluster_resources = lambda: seen.pop(0) if len(seen) > 1 else seen[0]
    slept = list[float]()
    monkeypatch.setattr("cluster.connect.time.sleep", slept.append)
    with ray_that_answers() as port:
        note.write_text(f"127.0.0.1:{port}")
        connection = connect(None)
    disconnect(connection)
    assert connection.cpus == 4.0
    assert len(slept) == 2


def test_a_cluster_that_no_machine_joins_is_waited_for_a_minute(
    fake_ray: SimpleNamespace, note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ray.cluster_resources = dict
    now = [0.0]
    monkeypatch.setattr(
        "cluster.connect.time",
        SimpleNamespace(monotonic=lambda: now[0], sleep=lambda s: now.__setitem__(0, now[0] + s)),
    )
    with ray_that_answers() as port:
        note.write_text(f"127.0.0.1:{port}")
        connection = connect(None)
    disconnect(connection)
    assert (connection.cpus, now[0]) == (0.0, 60.0)


def test_an_own_ray_asks_for_a_token_that_only_this_user_can_read(
    fake_ray: SimpleNamespace, tmp_path: Path
) -> None:
    connect("local")
    token = tmp_path / "home" / ".ray" / "auth_token"
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(token.read_text()) == 64
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    kept = token.read_text()
    token.chmod(0o644)
    token.parent.chmod(0o755)
    connect("local")
    assert token.read_text() == kept
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_ray_that_was_imported_before_takes_up_the_token_and_the_loopback_address(
    fake_ray: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heeded = []
    seen = ("RAY_AUTH_MODE", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    monkeypatch.setattr(
        "cluster.ray_private.heed_environment", lambda: heeded.append([os.environ[name] for name in seen])
    )
    connect("local")
    assert heeded == [], "Ray reads its environment by itself"
    monkeypatch.setitem(sys.modules, "ray._raylet", SimpleNamespace())
    connect("local")
    assert heeded == [["token", "0"]]
    assert (tmp_path / "home/.ray/auth_token").read_text()


def test_a_cluster_is_joined_with_what_an_imported_ray_knows(
    fake_ray: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray._raylet", SimpleNamespace())
    monkeypatch.setattr("cluster.ray_private.heed_environment", lambda: pytest.fail("it is a cluster's"))
    with ray_that_answers() as port:
        assert not connect(f"127.0.0.1:{port}").is_own


def test_without_a_home_that_can_be_written_the_token_stays_in_memory(
    fake_ray: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "home").write_text("a file")
    connect("local")
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_a_token_and_a_mode_that_the_user_chose_stay(
    fake_ray: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    connect("local")
    assert os.environ["RAY_AUTH_TOKEN"] == "mine"
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    connect("local")
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert not (tmp_path / "home").exists()


def test_workers_are_as_nice_as_the_search_unless_they_are_asked_to_be_nicer(
    fake_ray: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect("local", is_nice=True)
    assert NICENESS not in os.environ
    connect("local")
    assert os.environ[NICENESS] == str(max(0, os.getpriority(os.PRIO_PROCESS, 0)))
    monkeypatch.setenv(NICENESS, "7")
    connect("local")
    assert os.environ[NICENESS] == "7"


def test_a_cluster_that_is_joined_keeps_its_own_settings(fake_ray: SimpleNamespace) -> None:
    with ray_that_answers() as port:
        connect(f"127.0.0.1:{port}")
    assert not {NICENESS, *OWN_ENVIRONMENT} & set(os.environ)
    assert "_node_ip_address" not in fake_ray.calls[0][1]


def test_a_process_that_has_had_its_own_ray_joins_no_cluster(fake_ray: SimpleNamespace) -> None:
    connect("local")
    with (
        ray_that_answers() as port,
        pytest.raises(ClusterError, match=r"a cluster cannot be joined where .* start a new process"),
    ):
        connect(f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("AF_UNIX path length cannot exceed 107 bytes: '/a'", "set RAY_TMPDIR to a short one, such as /tmp"),
        ("[Errno 30] Read-only file system: '/h/.ray'", "set HOME to a folder .* or RAY_AUTH_TOKEN"),
        ("[Errno 30] Read-only file system: '/t/ray'", "set RAY_TMPDIR to a folder that can be written"),
        ("[Errno 13] Permission denied: '/t/ray'", "set RAY_TMPDIR to a folder that can be written"),
        ("No space left on device", "free memory or disk space in the temporary folder"),
    ],
)
def test_the_advice_fits_the_reason_why_ray_did_not_start(
    fake_ray: SimpleNamespace, fault: str, advice: str
) -> None:
    fake_ray.fault = OSError(fault)
    with pytest.raises(ClusterError, match=f"did not start: .*{advice}"):
        connect("local")


@pytest.mark.parametrize(("slow", "is_there"), [(2, True), (3, False)])
def test_a_ray_that_is_slow_to_start_on_a_busy_machine_is_started_again(
    fake_ray: SimpleNamespace, slow: int, is_there: bool
) -> None:
    starts, init = [], fake_ray.init

    def slowly(**options: Any) -> Any:
        starts.append(options)
        fake_ray.fault = (
            Exception("The current node timed out during startup.") if len(starts) <= slow else None
        )
        return init(**options)

    fake_ray.init = slowly
    if is_there:
        connect("local")
    else:
        with pytest.raises(ClusterError, match=r"did not start: .*timed out"):
            connect("local")
    assert len(starts) == 3
    assert [name for name, _ in fake_ray.calls].count("shutdown") >= 2


def test_a_ray_that_does_not_start_is_an_error_with_its_last_line(fake_ray: SimpleNamespace) -> None:
    fake_ray.fault = RuntimeError("Traceback:\n  File a.py\nOSError: disk full.")
    with pytest.raises(ClusterError, match="did not start: OSError: disk full; free memory or disk space"):
        connect("local")
    assert fake_ray.calls[-1][0] == "shutdown"


def test_a_cluster_that_refuses_is_an_error_that_names_version_and_token(fake_ray: SimpleNamespace) -> None:
    fake_ray.fault = ConnectionError("Authentication token is missing")
    with (
        ray_that_answers() as port,
        pytest.raises(ClusterError, match=r"could not join it: Authentication.*same Ray version.*auth_token"),
    ):
        connect(f"127.0.0.1:{port}")


def test_a_second_connection_is_refused(fake_ray: SimpleNamespace) -> None:
    fake_ray.is_initialized = lambda: True
    with pytest.raises(ClusterError, match="connected to a Ray already; call disconnect first"):
        connect("local")


def test_workers_import_what_they_will_need_and_wait_for_it(fake_ray: SimpleNamespace) -> None:
    connect("local", preloads=("json", "csv"))
    assert os.environ[PRELOADS] == "json,csv"
    assert int(os.environ[IDLE_MILLISECONDS]) > 10_000


@pytest.mark.parametrize(("cores", "asked", "ahead"), [(64, 1, 1), (64, None, 16), (2, None, 2), (2, 8, 2)])
def test_so_many_workers_start_ahead_as_will_be_used(
    fake_ray: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, cores: int, asked: int | None, ahead: int
) -> None:
    monkeypatch.setattr(own_ray, "count_cpus", lambda: cores)
    monkeypatch.setattr(os, "cpu_count", lambda: 128)  # of the machine, of which a container has a part
    assert plan_connection("local", preloads=("json",), workers=asked).ahead == ahead
    assert PRELOADS in os.environ
    assert plan_connection("local").ahead is None


@pytest.mark.parametrize(("ahead", "told"), [(1, "1"), (None, "64")])
def test_the_process_that_starts_workers_is_told_their_number(
    monkeypatch: pytest.MonkeyPatch, ahead: int | None, told: str
) -> None:
    from ray._private import services

    from cluster.ray_private import lean_start

    began = list[list[str]]()
    monkeypatch.setattr(services, "start_ray_process", lambda command, *_, **__: began.append(command))
    before = services.start_ray_process
    with lean_start(ahead):
        services.start_ray_process(
            ["raylet", "--num_prestart_python_workers=64", "--head"], "raylet", fate_share=True
        )
        services.start_ray_process(["gcs_server"], "gcs_server", fate_share=True)
    assert sorted(began[0]) == ["--head", f"--num_prestart_python_workers={told}", "raylet"]
    assert began[1] == ["gcs_server"]
    assert services.start_ray_process is before


def test_the_next_ray_of_a_process_may_be_nice_where_the_last_one_was_not(
    fake_ray: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (NICENESS, PRELOADS, IDLE_MILLISECONDS):
        monkeypatch.delenv(name, raising=False)
    disconnect(connect(None, preloads=("json",)))
    assert os.environ[NICENESS] == str(max(0, os.getpriority(os.PRIO_PROCESS, 0)))
    disconnect(connect(None, is_nice=True))
    assert not {NICENESS, PRELOADS, IDLE_MILLISECONDS} & set(os.environ)
    monkeypatch.setenv(NICENESS, "7")  # what the user says stays
    disconnect(connect(None))
    disconnect(connect(None, is_nice=True))
    assert os.environ[NICENESS] == "7"


def test_an_own_ray_counts_the_cores_that_this_process_may_use(
    fake_ray: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.connect.count_cpus", lambda: 3)  # of the 64 of the machine
    disconnect(connect(None))
    assert fake_ray.calls[0][1]["num_cpus"] == 3
