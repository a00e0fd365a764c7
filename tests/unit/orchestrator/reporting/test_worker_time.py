"""The shares of the workers' time add up, and each second counts as what a worker did in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reporting.worker_time import TimeShares, WorkerTime, shares_text, whole_percent


class FakeClock:
    def __init__(self):
        self.seconds = 500.0

    def __call__(self):
        return self.seconds


def begun(workers=2):
    clock = FakeClock()
    worker_time = WorkerTime(clock)
    worker_time.begin(workers)
    return worker_time, clock


def test_a_worker_without_a_trial_waits():
    worker_time, clock = begun(workers=3)
    worker_time.started(0)
    worker_time.opened(0, opening_seconds=0.0, waited_seconds=0.0)
    clock.seconds += 10

    assert worker_time.shares() == TimeShares(features=0.0, training=10.0, waiting=20.0)


def test_machines_that_join_are_missed_from_then_on_but_no_more_than_there_are_trials():
    clock = FakeClock()
    worker_time = WorkerTime(clock)
    worker_time.begin(2, most=3)
    clock.seconds += 10
    worker_time.resize(5)
    clock.seconds += 10

    assert worker_time.workers == 3
    assert worker_time.shares() == TimeShares(waiting=20.0 + 30.0)


def test_sessions_add_up_and_workers_are_busy_while_they_do_not_wait():
    both = TimeShares(1.0, 2.0, 3.0) + TimeShares(10.0, 20.0, 30.0)

    assert both == TimeShares(11.0, 22.0, 33.0)
    assert both.busy == 0.5
    assert TimeShares().busy is None


def test_opening_counts_as_features_until_the_worker_says_how_much_of_it_was_waiting():
    worker_time, clock = begun(workers=1)
    worker_time.started(0)
    clock.seconds += 10
    assert worker_time.shares() == TimeShares(features=10.0)

    worker_time.opened(0, opening_seconds=9.0, waited_seconds=4.0)
    assert worker_time.shares() == TimeShares(features=5.0, training=1.0, waiting=4.0)

    clock.seconds += 7
    worker_time.opened(0, opening_seconds=9.0, waited_seconds=4.0)  # a second report changes nothing
    assert worker_time.shares() == TimeShares(features=5.0, training=8.0, waiting=4.0)


def test_a_worker_whose_clock_runs_fast_never_reports_more_time_than_has_passed():
    worker_time, clock = begun(workers=1)
    worker_time.started(0)
    clock.seconds += 3
    worker_time.opened(0, opening_seconds=60.0, waited_seconds=2.0)

    assert worker_time.shares() == TimeShares(features=1.0, training=0.0, waiting=2.0)


def test_after_a_trial_has_ended_its_worker_waits_again_and_after_the_session_nothing_counts():
    worker_time, clock = begun(workers=1)
    worker_time.started(4)
    worker_time.opened(4, opening_seconds=0.0, waited_seconds=0.0)
    clock.seconds += 5
    worker_time.ended(4)
    worker_time.ended(4)  # a lost worker may be reported twice
    clock.seconds += 2
    worker_time.end()
    clock.seconds += 100

    assert worker_time.shares() == TimeShares(training=5.0, waiting=2.0)


def test_before_the_session_begins_no_time_has_passed():
    assert WorkerTime(FakeClock()).shares() == TimeShares()
    assert shares_text(TimeShares()) == ""


def test_more_trials_than_workers_all_count_as_on_a_shared_gpu():
    worker_time, clock = begun(workers=1)
    for number in range(3):
        worker_time.started(number)
        worker_time.opened(number, opening_seconds=0.0, waited_seconds=0.0)
    clock.seconds += 2

    assert worker_time.shares() == TimeShares(training=6.0)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["started", "opened", "ended"]),
        st.integers(0, 3),
        st.floats(0, 50),  # seconds until the event
        st.floats(0, 100),  # opening, as the worker says
        st.floats(0, 100),  # waiting, as the worker says
    ),
    max_size=30,
)


@given(EVENTS)
def test_the_parts_are_never_negative_and_add_up_to_the_time_of_all_workers(events):
    worker_time, clock = begun(workers=2)
    running, expected = set(), 0.0
    for kind, number, seconds, opening, waited in events:
        expected += seconds * max(2, len(running))
        clock.seconds += seconds
        if kind == "started":
            worker_time.started(number)
            running.add(number)
        elif kind == "ended":
            worker_time.ended(number)
            running.discard(number)
        else:
            worker_time.opened(number, opening_seconds=opening, waited_seconds=waited)
    shares = worker_time.shares()

    assert min(shares.features, shares.training, shares.waiting) >= -1e-6
    assert shares.total == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=6))
def test_whole_per_cents_add_up_to_a_hundred_and_are_off_by_less_than_one(parts):
    found = whole_percent(parts)

    if sum(parts) <= 0.0:
        assert set(found) == {0}
        return
    assert sum(found) == 100
    for share, part in zip(found, parts, strict=True):
        assert abs(share - 100.0 * part / sum(parts)) < 1.0 + 1e-9


def test_the_line_fits_a_panel_of_eighty_columns_after_a_week_on_many_workers():
    week = 7 * 86_400.0 * 64
    assert len("time: " + shares_text(TimeShares(week, week, week))) <= 76


def test_workers_that_train_folds_of_a_trial_are_busy_with_it():
    worker_time, clock = begun(workers=4)
    worker_time.started(0)
    worker_time.opened(0, opening_seconds=0.0, waited_seconds=0.0)
    worker_time.helped(0, 2)
    clock.seconds += 10
    worker_time.helped(0, 0)
    clock.seconds += 1
    worker_time.ended(0)
    worker_time.helped(0, 2)  # its last report may come late

    assert worker_time.shares() == TimeShares(training=31.0, waiting=13.0)
