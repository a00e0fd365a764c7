"""A connection that is made in the background: when it begins, who waits, and what stays as it was."""

import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

from cluster import background
from cluster.background import BackgroundConnection, KnownConnection
from cluster.connect import Connection, PlannedConnection
from cluster.errors import ClusterError


class Planned:
    """A planned connection whose start the test lets go on."""

    def __init__(self, address: str | None = None, error: Exception | None = None) -> None:
        self.target = type("Target", (), {"address": address})()
        self.error, self.may_go_on = error, threading.Event()
        self.thread: threading.Thread | None = None
        self.began = 0

    def start(self, is_wanted: Callable[[], bool]) -> Connection:
        self.is_wanted, self.thread = is_wanted, threading.current_thread()
        self.began += 1
        assert self.may_go_on.wait(timeout=10)
        if self.error is not None:
            raise self.error
        return Connection("127.0.0.1:1", self.target.address is None, 2.0, 0.0, 1, "Running.")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Connections that were disconnected."""
    found: list[Connection] = []
    monkeypatch.setattr(background, "disconnect", found.append)
    return found


def begun(planned: Planned, *needed: str) -> tuple[BackgroundConnection, list[Connection]]:
    said: list[Connection] = []
    # `Planned` is no planned connection, but has what is asked of one: its target and `start`.
    # It stands for a plan and notes connections as they are; the types of both are not what is tested.
    return BackgroundConnection(lambda: planned, said.append, needed), said  # type: ignore[arg-type,return-value]


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_the_caller_goes_on_while_ray_starts_and_gets_one_connection(ended: list[Connection]) -> None:
    planned = Planned()
    connect, said = begun(planned)
    assert connect.begin()
    assert connect.begin()
    assert not said
    planned.may_go_on.set()
    assert connect() is connect()
    assert said == [connect()]
    connect.close()
    connect.close()
    assert ended == said


def test_the_thread_that_started_ray_stays_until_the_end(ended: list[Connection]) -> None:
    planned = Planned()
    planned.may_go_on.set()
    connect, _ = begun(planned)
    connect()
    assert planned.thread is not None
    assert planned.thread.is_alive()
    connect.close()
    planned.thread.join(timeout=10)
    assert not planned.thread.is_alive()


@pytest.mark.parametrize("first", ["needed_first", "there_is_no_such_module"])
def test_what_is_needed_next_is_imported_meanwhile_and_a_fault_waits_for_who_needs_it(
    ended: list[Connection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    (tmp_path / "needed_first.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    planned = Planned()
    connect, _ = begun(planned, first)
    connect.begin()
    assert first not in sys.modules
    planned.may_go_on.set()
    connect()
    if first == "needed_first":
        wait_until(lambda: first in sys.modules)
        del sys.modules[first]
    assert planned.thread is not None
    assert planned.thread.is_alive()
    connect.close()
    assert len(ended) == 1


def test_an_error_is_the_callers_and_nothing_is_disconnected(ended: list[Connection]) -> None:
    planned = Planned(error=ClusterError("no memory"))
    planned.may_go_on.set()
    connect, said = begun(planned)
    connect.begin()
    for _ in range(2):
        with pytest.raises(ClusterError, match="no memory"):
            connect()
    connect.close()
    assert (said, ended) == ([], [])


def test_what_was_never_begun_needs_no_end(ended: list[Connection]) -> None:
    connect, _ = begun(Planned())
    connect.close()
    assert ended == []


def test_what_is_still_starting_is_ended_when_it_is_there(ended: list[Connection]) -> None:
    planned = Planned()
    connect, said = begun(planned)
    connect.begin()
    threading.Timer(0.05, planned.may_go_on.set).start()
    connect.close()
    assert [found.address for found in ended] == ["127.0.0.1:1"]
    assert not said


def test_an_interrupt_while_ray_is_waited_for_leaves_none_behind(
    ended: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, before = Planned(), blas_threads()
    connect, _ = begun(planned)
    connect.begin()

    def interrupted() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(connect, "_wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            connect.close()
    planned.may_go_on.set()
    wait_until(lambda: len(ended) == 1)
    assert blas_threads() == before
    connect.close()
    assert len(ended) == 1


def test_a_thread_that_cannot_be_started_is_not_waited_for(
    ended: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    connect, _ = begun(Planned())
    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(RuntimeError, match="can't start"):
        connect.begin()
    connect.close()
    assert ended == []


def test_a_cluster_is_no_ray_of_ones_own(ended: list[Connection]) -> None:
    planned = Planned(address="10.0.0.1:6379")
    planned.may_go_on.set()
    connect, _ = begun(planned)
    assert not connect.begin()
    connect.close()


def test_meanwhile_a_hangup_is_still_heard_and_the_threads_of_blas_are_held_back(
    ended: list[Connection],
) -> None:
    before, threads = signal.getsignal(signal.SIGHUP), blas_threads()
    planned = Planned()
    connect, _ = begun(planned)
    connect.begin()
    wait_until(lambda: planned.thread is not None)
    assert signal.getsignal(signal.SIGHUP) is before
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert set(blas_threads()) == {1}
    planned.may_go_on.set()
    connect()
    assert blas_threads() == threads
    connect.close()


def test_what_is_held_back_is_given_back_once_ray_is_there_and_before_anybody_waits(
    ended: list[Connection],
) -> None:
    threads = blas_threads()
    planned = Planned()
    connect, _ = begun(planned)
    connect.begin_own()
    connect.begin_own()
    assert set(blas_threads()) == {1}
    planned.may_go_on.set()
    wait_until(lambda: has_settled(connect, threads))
    connect.close()


def has_settled(connect: BackgroundConnection, threads: list[int]) -> bool:
    connect.begin_own()
    return blas_threads() == threads


def test_a_ray_that_may_not_be_needed_starts_once_and_imports_nothing_before_it_is(
    ended: list[Connection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needed_later.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    planned = Planned()
    planned.may_go_on.set()
    connect, said = begun(planned, "needed_later")
    connect.begin_own()
    wait_until(lambda: planned.began == 1)
    time.sleep(0.05)
    assert "needed_later" not in sys.modules
    assert connect.begin()
    wait_until(lambda: "needed_later" in sys.modules)
    del sys.modules["needed_later"]
    assert said == []
    connect()
    connect.close()
    assert (planned.began, len(said), len(ended)) == (1, 1, 1)


def test_a_ray_that_was_begun_and_is_not_needed_ends_and_says_nothing(ended: list[Connection]) -> None:
    planned = Planned()
    planned.may_go_on.set()
    connect, said = begun(planned, "there_is_no_such_module")
    connect.begin_own()
    connect.close()
    assert [found.address for found in ended] == ["127.0.0.1:1"]
    assert planned.thread is not None
    planned.thread.join(timeout=10)
    assert not planned.thread.is_alive()
    assert said == []


def test_a_cluster_is_joined_when_it_is_asked_for_and_its_fault_is_said_then(
    ended: list[Connection],
) -> None:
    planned = Planned(address="10.0.0.1:6379")
    planned.may_go_on.set()
    connect, _ = begun(planned)
    connect.begin_own()
    assert planned.began == 0
    connect()
    assert planned.began == 1
    connect.close()

    def plan() -> PlannedConnection:
        raise ClusterError("nothing answers")

    absent = BackgroundConnection(plan)
    absent.begin_own()
    with pytest.raises(ClusterError, match="nothing answers"):
        absent.begin()
    absent.close()


def blas_threads() -> list[int]:
    import numpy as np

    np.ones((2, 2)) @ np.ones((2, 2))  # loads its library
    found = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert found
    return found


def test_a_known_connection_begins_nothing() -> None:
    connection = Connection("", True, 1.0, 0.0, 1, "")
    known = KnownConnection(connection)
    assert not known.begin()
    assert known() is connection


def test_a_ray_that_nobody_waits_for_any_more_is_not_started_again(ended: list[Connection]) -> None:
    planned = Planned(error=ClusterError("timed out during startup"))
    connect, _ = begun(planned)
    connect.begin()
    wait_until(lambda: planned.thread is not None)
    assert planned.is_wanted()
    threading.Timer(0.05, planned.may_go_on.set).start()
    connect.close()  # as a search does that is refused
    assert not planned.is_wanted()
    assert ended == []


def test_filters_of_warnings_that_packages_add_meanwhile_stay(ended: list[Connection]) -> None:
    planned = Planned()
    connect, _ = begun(planned)
    with warnings.catch_warnings():
        before = list(warnings.filters)
        connect.begin()
        warnings.warn("nobody sees this", UserWarning, stacklevel=1)
        warnings.filterwarnings("ignore", message="of a package")
        planned.may_go_on.set()
        connect()
        assert [own for own in warnings.filters if own not in before] == [warnings.filters[0]]
        warnings.simplefilter("error", append=True)
        warnings.warn("of a package", UserWarning, stacklevel=1)
    connect.close()
