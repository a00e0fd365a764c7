"""The count of work: batches and views are in it, and waiting for another process for a while."""

import ctypes
from pathlib import Path

from prefix_examples import TOP, VIEWS, Counting, key

from trainables.common.progress import count_in, follow, forget, waited, work_done, worked
from trainables.features.store import PrefixStore


def test_filling_the_store_counts_its_batches_and_reading_it_counts_nothing(tmp_path: Path) -> None:
    store, before = PrefixStore(tmp_path), work_done()
    store.views(key(), VIEWS, TOP, also=(), compute=Counting())
    filled = work_done() - before
    assert filled >= len(VIEWS)
    store.views(key(), VIEWS, TOP, also=(), compute=Counting())
    assert work_done() - before == filled


def test_the_work_of_a_child_counts_while_it_lives_and_afterwards() -> None:
    before, child = work_done(), ctypes.c_uint64(0)
    follow(child)
    child.value = 5
    assert work_done() == before + 5
    forget(child)
    forget(child)
    child.value = 50
    assert work_done() == before + 5


def test_a_child_counts_in_the_number_that_its_parent_reads() -> None:
    before, shared, own = work_done(), ctypes.c_uint64(0), ctypes.c_uint64(0)
    count_in(shared)
    worked(3)
    assert shared.value == before + 3
    count_in(own)  # for the other tests, in a number of this process again
    assert (own.value, work_done()) == (before + 3, before + 3)


def test_waiting_for_another_process_is_work_for_an_hour_and_no_longer() -> None:
    clock, before = {"now": 0.0}, work_done()

    def sleep(seconds: float) -> None:
        clock["now"] += 600.0

    counts = []

    def is_there() -> bool | None:
        counts.append(work_done() - before)
        return True if clock["now"] >= 7200.0 else None

    assert waited(is_there, clock=lambda: clock["now"], sleep=sleep)
    assert counts[6] == 6
    assert counts[-1] == 6
