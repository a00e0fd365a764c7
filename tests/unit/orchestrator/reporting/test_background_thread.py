"""A thread beside a search: it keeps the order, and the process ends without it."""

import subprocess
import sys
import threading
import time

import pytest

from orchestrator.reporting.background import BackgroundThread


def test_it_does_what_it_is_given_in_order_and_hands_out_results_and_errors() -> None:
    pool, done = BackgroundThread("test"), list[int]()
    for number in range(3):
        pool.submit(lambda number=number: done.append(number))
    failed = pool.submit(lambda: done[7])
    assert pool.submit(lambda: 7).result() == 7
    assert done == [0, 1, 2]
    with pytest.raises(IndexError):
        failed.result()
    pool.close()


def test_what_has_not_begun_is_dropped_and_the_thread_ends() -> None:
    pool, goes_on, done = BackgroundThread("dropping"), threading.Event(), list[int]()
    pool.submit(goes_on.wait)
    waiting = pool.submit(lambda: done.append(1))
    assert pool.finish(0.01) == 2
    pool.close()
    goes_on.set()
    assert waiting.cancelled()
    until = time.monotonic() + 10.0
    while any(thread.name == "dropping" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.001)
    assert not done


PROGRAM = """
import sys, time
from orchestrator.reporting import background
background.EXIT_SECONDS = 0.2
pool = background.BackgroundThread("slow")
pool.submit(lambda: print("begun", flush=True))
for _ in range(1000):
    pool.submit(lambda: time.sleep(60))
{}
"""


@pytest.mark.parametrize("last", ["pool.close()", "", "raise KeyboardInterrupt"])
def test_the_process_ends_without_what_is_left(last: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(last)], capture_output=True, timeout=50, check=False
    )
    assert (ended.returncode == 0) == ("raise" not in last)


def test_the_end_of_the_process_waits_for_what_takes_little_time() -> None:
    program = (
        "import time\nfrom orchestrator.reporting.background import BackgroundThread\n"
        "pool = BackgroundThread('brief')\n"
        "pool.submit(lambda: (time.sleep(0.2), print('done', flush=True)))\n"
        "raise RuntimeError('the search has failed')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=50, check=False)
    assert ended.stdout == b"done\n"
