"""Which cluster a search joins: the one that is named, the one that runs here, or none."""

import os
import re
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from ray_control_service import ray_that_answers, server_that_says

from cluster.connect import connect
from cluster.control_service import probe
from cluster.errors import ClusterError
from cluster.target import find_target, recorded_address
from trainables.common.errors import OrchestrateError

SETTINGS_FRAME = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # with it every HTTP/2 server opens
OUTER = "0.0.0.0"  # leads to this machine, and is not its loopback address


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


@pytest.mark.parametrize("named", [None, "auto"])
def test_a_cluster_without_a_token_beyond_the_loopback_address_is_not_joined_unasked(
    note: Path, named: str | None
) -> None:
    with ray_that_answers() as port:
        note.write_text(f"{OUTER}:{port}")
        message = (
            rf"the Ray cluster at {OUTER}:{port} \(named by this machine\) is not joined: it asks for no "
            r"token, so anyone who reaches the port can run code .*RAY_AUTH_MODE=token, "
            rf"say --address {OUTER}:{port} to join it all the same, or --address local for a Ray of your own"
        )
        with pytest.raises(ClusterError, match=message):
            find_target(named, None)
        with pytest.raises(
            ClusterError, match=r"\(named by RAY_ADDRESS\) is not joined: it asks for no token"
        ):
            find_target(named, f"{OUTER}:{port}")
        assert find_target("local", None).address is None


def test_a_cluster_without_a_token_that_the_user_names_is_joined_with_a_warning(
    fake_ray: SimpleNamespace, note: Path
) -> None:
    with ray_that_answers() as port:
        connection = connect(f"{OUTER}:{port}")
        note.write_text(f"{OUTER}:{port}")
        found = find_target(f"{OUTER}:{port}", None)
    assert (connection.address, connection.is_own) == (f"{OUTER}:{port}", False)
    assert connection.warning == found.warning
    assert re.match(
        rf"the Ray cluster at {OUTER}:{port} is open: it asks for no token, so anyone who reaches the port "
        r"can run code as whoever started it; start it anew with RAY_AUTH_MODE=token",
        connection.warning,
    )


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
def test_a_cluster_that_asks_for_a_token_is_joined_without_a_word(
    fake_ray: SimpleNamespace, note: Path, code: grpc.StatusCode
) -> None:
    with ray_that_answers(code) as port:
        note.write_text(f"{OUTER}:{port}")
        assert find_target(None, None).warning == ""
        assert find_target(None, f"{OUTER}:{port}").warning == ""
        assert connect(f"{OUTER}:{port}").warning == ""


def test_a_cluster_on_the_loopback_address_needs_no_token(fake_ray: SimpleNamespace, note: Path) -> None:
    with ray_that_answers() as port:
        note.write_text(f"127.0.0.1:{port}")
        assert connect(None).warning == ""
        assert find_target("auto", f"localhost:{port}").warning == ""
        assert find_target(f"127.0.0.1:{port}", None).warning == ""


def test_a_cluster_with_certificates_is_open_to_nobody_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    with ray_that_answers() as port:
        assert find_target(None, f"{OUTER}:{port}").warning == ""


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


def test_a_note_of_another_user_is_left_alone(note: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ray_that_answers() as port:
        note.write_text(f"127.0.0.1:{port}")
        assert find_target(None, None).address == f"127.0.0.1:{port}"
        monkeypatch.setattr("cluster.target.os.geteuid", lambda: os.getuid() + 1)
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
