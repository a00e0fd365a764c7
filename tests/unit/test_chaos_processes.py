"""Processes that run trials are found below a driver, also those that begin while one waits for them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from benchmarks.chaos.processes import below, trial_workers, workers_in_a_step

NAME = "ray::_Trainable.train"


@pytest.fixture
def driver() -> Iterator["subprocess.Popen[bytes]"]:
    """A shell with a child that takes a name as Ray gives it to a worker in a step, after a second."""
    worker = f"sleep 1; exec -a '{NAME}' sleep 60"
    process = subprocess.Popen(["bash", "-c", f'bash -c "{worker}" & wait'], start_new_session=True)
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_worker_is_found_once_it_is_in_a_step(driver: "subprocess.Popen[bytes]") -> None:
    assert trial_workers(driver.pid) == []
    (worker,) = workers_in_a_step(driver.pid, lambda: False, seconds=60)
    assert below(driver.pid)[worker].startswith(NAME)
    assert trial_workers(driver.pid) == [worker]
    os.kill(worker, signal.SIGKILL)
    driver.wait(60)
    assert trial_workers(driver.pid) == []


def test_nobody_is_waited_for_once_the_driver_has_ended_or_time_is_up(
    driver: "subprocess.Popen[bytes]",
) -> None:
    begun = time.monotonic()
    assert workers_in_a_step(driver.pid, lambda: True, seconds=60) == []
    assert workers_in_a_step(driver.pid, lambda: False, seconds=0.0) == []
    assert time.monotonic() - begun < 30
