"""Where a search finds its Ray, and what a Ray of its own is like."""

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from cluster.connect import connect, disconnect, find_target, probe, recorded_address
from cluster.errors import ClusterError
from cluster.own_ray import IDLE_MILLISECONDS, NICENESS, OWN_ENVIRONMENT, PRELOADS
from trainables.common.errors import OrchestrateError

SETTINGS_FRAME = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # with it every HTTP/2 server opens
CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"


@contextmanager
def server_that_says(answer: bytes) -> Iterator[int]:
    """Listen on a port of 127.0.0.1, give every caller the answer, and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    caller, _ = listener.accept()
                    with caller:
                        caller.recv(64)
                        caller.sendall(answer)
            except OSError:  # the listener is closed: the test is over
                return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def ray_that_answers(code: grpc.StatusCode = grpc.StatusCode.OK, method: str = CHECK_ALIVE) -> Iterator[int]:
    """Serve gRPC on a port of 127.0.0.1 with one method, as a Ray's control service does; yield the port."""

    class Service(grpc.GenericRpcHandler):
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            if call.method != method:
                return None

            def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
                context.set_code(code)
                return b""

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Service()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@pytest.fixture
def closed_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def test_the_note_of_ray_start_lies_where_ray_writes_it(note: Path) -> None:
    from ray._common.utils import get_ray_address_file

    assert Path(get_ray_address_file(None)) == note
    assert recorded_address() is None
    note.write_text("10.0.0.1:6379")
    assert recorded_address() == "10.0.0.1:6379"


def test_only_a_server_that_answers_as_ray_does_passes_for_ray(closed_port: int) -> None:
    for code in (grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED):  # the second without its token
        with ray_that_answers(code) as port:
            assert probe("127.0.0.1", port) is None
    with ray_that_answers(method="/another/Method") as port:
        assert probe("127.0.0.1", port) == "what listens there is not Ray"
    with server_that_says(SETTINGS_FRAME) as port:  # Ray itself would try for minutes
        assert probe("127.0.0.1", port, timeout_seconds=0.5) is not None
    with server_that_says(b"HTTP/1.1 400 Bad Request\r\n") as port:
        assert probe("127.0.0.1", port) == "what listens there is not Ray"
    with server_that_says(b"") as port:
        assert probe("127.0.0.1", port) is not None
    assert "refused" in str(probe("127.0.0.1", closed_port))
    assert "no machine is called" in str(probe("no-such-host.invalid", 6379))


def test_a_server_that_says_nothing_is_given_up_soon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        fault = probe("127.0.0.1", silent.getsockname()[1], timeout_seconds=0.2)
    assert fault == "nothing answered within 0.2 s"
    assert time.monotonic() - started < 2


def test_without_a_word_the_noted_cluster_is_used_if_it_answers(note: Path) -> None:
    with ray_that_answers() as port:
        note.write_text(f"127.0.0.1:{port}\n")
        assert find_target(None, None).address == f"127.0.0.1:{port}"
        assert find_target("auto", "").address == f"127.0.0.1:{port}"


def test_a_note_of_a_dead_cluster_leads_to_an_own_ray_and_is_told(note: Path, closed_port: int) -> None:
    note.write_text(f"127.0.0.1:{closed_port}")
    target = find_target(None, None)
    assert target.address is None
    assert re.search(rf"noted at 127.0.0.1:{closed_port} is gone: .*refused", target.note)
    with pytest.raises(
        ClusterError, match=r"a running Ray cluster is needed, but the cluster noted .* is gone"
    ):
        find_target("auto", None)


def test_without_any_cluster_auto_is_an_error_and_none_an_own_ray(note: Path) -> None:
    assert not note.exists()
    assert find_target(None, None).address is None
    with pytest.raises(ClusterError, match="none is noted on this machine; start one with: ray up"):
        find_target("auto", None)


def test_local_means_an_own_ray_whatever_runs_here(note: Path) -> None:
    with ray_that_answers() as port:
        note.write_text(f"127.0.0.1:{port}")
        assert find_target("local", f"127.0.0.1:{port}").address is None
        assert find_target(None, "local").address is None


def test_a_named_address_comes_before_the_environment(note: Path, closed_port: int) -> None:
    with ray_that_answers() as port:
        here = f"127.0.0.1:{port}"
        assert find_target(here, f"127.0.0.1:{closed_port}").chosen_by == "the user"
        assert find_target(None, here).chosen_by == "RAY_ADDRESS"


def test_a_loopback_name_of_the_noted_cluster_is_that_cluster(note: Path) -> None:
    # Ray reads its token by itself only for the cluster that it finds on its own.
    with ray_that_answers() as port:
        note.write_text(f"127.0.0.1:{port}")
        assert find_target(f"localhost:{port}", None).address == recorded_address()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://10.0.0.1:10001", "does not run through Ray Client; run it on the cluster: ray exec"),
        ("dgx", "an address like 10.0.0.1:6379, local or auto is needed, found 'dgx'"),
        ("dgx:ray", "found 'dgx:ray'"),
        ("dgx:70000", "found 'dgx:70000'"),
    ],
)
def test_a_malformed_address_is_refused(address: str, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        find_target(address, None)


def test_an_address_that_does_not_answer_says_who_named_it(note: Path, closed_port: int) -> None:
    dead = f"127.0.0.1:{closed_port}"
    with pytest.raises(ClusterError, match=rf"needed at {dead} \(named by the user\), but .*refused"):
        find_target(dead, None)
    with pytest.raises(OrchestrateError, match=r"named by RAY_ADDRESS.*say local for a Ray of your own"):
        find_target(None, dead)


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
    assert fake_ray.calls[0][1]["ignores_hangups"]
    assert signal.getsignal(signal.SIGHUP) is before


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


def test_a_note_of_another_user_is_left_alone(note: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ray_that_answers() as port:
        note.write_text(f"127.0.0.1:{port}")
        assert find_target(None, None).address == f"127.0.0.1:{port}"
        monkeypatch.setattr("cluster.connect.os.geteuid", lambda: os.getuid() + 1)
        target = find_target(None, None)
        assert target.address is None
        assert "is left alone: another user wrote the note or may change it" in target.note
        assert recorded_address() is None
        with pytest.raises(ClusterError, match="a running Ray cluster is needed, but the cluster noted in"):
            find_target("auto", None)


@pytest.mark.parametrize("mode", [0o646, 0o666, 0o602])
def test_a_note_that_others_may_write_is_left_alone(note: Path, mode: int) -> None:
    with ray_that_answers() as port:
        note.write_text(f"127.0.0.1:{port}")
        note.chmod(mode)
        assert find_target(None, None).address is None
        note.chmod(0o664)  # as a umask of 002 makes it, for the user's own group
        assert find_target(None, None).address == f"127.0.0.1:{port}"


@pytest.mark.parametrize("content", [b"no address", b"\xff\xfe", b"", b"ray://a:1"])
def test_a_note_that_cannot_be_read_leads_to_an_own_ray(note: Path, content: bytes) -> None:
    note.write_bytes(content)
    assert find_target(None, None).address is None


def test_a_link_or_a_pipe_in_the_place_of_the_note_is_left_alone(note: Path, tmp_path: Path) -> None:
    with ray_that_answers() as port:
        (tmp_path / "elsewhere").write_text(f"127.0.0.1:{port}")
        note.symlink_to(tmp_path / "elsewhere")
        assert find_target(None, None).address is None
        note.unlink()
        os.mkfifo(note)
        assert find_target(None, None).address is None


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


def test_a_ray_that_was_imported_before_and_so_knows_no_token_is_not_asked_for_one(
    fake_ray: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray._raylet", SimpleNamespace())
    connect("local")
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert not (tmp_path / "home" / ".ray").exists()


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


def test_workers_import_what_they_will_need_and_wait_for_it(
    fake_ray: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    connect("local", preloads=("json",))
    assert PRELOADS not in os.environ  # a worker a core would fill the memory with what nobody uses
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    connect("local", preloads=("json", "csv"))
    assert os.environ[PRELOADS] == "json,csv"
    assert int(os.environ[IDLE_MILLISECONDS]) > 10_000
