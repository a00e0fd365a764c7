"""Workers that share a process are called as if each had its own."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from benchmarks.hosted_workers import HostedWorker, WorkerHost


class Counter:
    """A worker that counts its calls, and notices two at a time."""

    def __init__(self, first: int) -> None:
        self.count, self.busy = first, threading.Lock()

    def train(self) -> int:
        assert self.busy.acquire(blocking=False)
        self.count += 1
        self.busy.release()
        return self.count


def test_each_worker_has_a_state_of_its_own_and_one_call_at_a_time() -> None:
    host = WorkerHost()
    for number in (1, 2):
        host.start(number, Counter, {"first": 10 * number})
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda index: host.call(1 + index % 2, "train", (), {}), range(40)))
    assert sorted(found) == sorted([*range(11, 31), *range(21, 41)])
    assert len(host.seen()[1]) == 2  # the first step of each


def test_a_call_that_overtakes_the_start_waits_for_it() -> None:
    host = WorkerHost()
    with ThreadPoolExecutor(1) as pool:
        called = pool.submit(host.call, 5, "__ray_ready__", (), {})
        host.start(5, Counter, {"first": 0})
        assert called.result(timeout=10.0) is True


def test_a_worker_that_cannot_be_made_fails_its_calls_and_no_others() -> None:
    host = WorkerHost()
    host.start(1, Counter, {"second": 0})
    host.start(2, Counter, {"first": 0})
    with pytest.raises(TypeError, match="second"):
        host.call(1, "train", (), {})
    assert host.call(2, "train", (), {}) == 1


def test_a_worker_that_has_ended_is_forgotten() -> None:
    host = WorkerHost()
    host.start(1, Counter, {"first": 0})
    host.call(1, "__ray_terminate__", (), {})
    host.start(1, Counter, {"first": 7})
    assert host.call(1, "train", (), {}) == 8


class Remote:
    """A host as Ray offers it, which notes what it is asked."""

    def __init__(self) -> None:
        self.asked = list[Any]()
        self.call = self

    def remote(self, *asked: Any) -> str:
        self.asked.append(asked)
        return "reference"


def test_what_tune_holds_passes_every_method_on() -> None:
    host = Remote()
    worker = HostedWorker(host, 3)
    assert worker.reset.remote({"a": 1}, new=2) == "reference"
    assert worker.__ray_terminate__.remote() == "reference"
    assert host.asked == [(3, "reset", ({"a": 1},), {"new": 2}), (3, "__ray_terminate__", (), {})]
    assert copy.copy(worker).number == 3
