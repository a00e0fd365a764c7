"""The port of a dashboard, where another one may have the usual one."""

import socket

import pytest

from cluster import free_port as module
from cluster.errors import ClusterError
from cluster.free_port import free_port, main


def test_a_port_that_is_taken_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        assert taken < free_port(taken) <= taken + 100
        assert main([str(taken)]) == 0
    assert int(capsys.readouterr().out) > taken


def test_no_free_port_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_TRIED", 1)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        with pytest.raises(ClusterError, match=f"no free port from {taken} on, 1 were tried"):
            free_port(taken)
        assert main([str(taken)]) == 2
    assert "no free port" in capsys.readouterr().err


def test_it_wants_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a"]) == 2
    assert capsys.readouterr().err == "python -m cluster.free_port FIRST\n"
