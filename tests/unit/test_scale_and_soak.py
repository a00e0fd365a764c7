"""The arithmetic of `benchmarks.scale` and `benchmarks.soak`, and a short search before pretended workers."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scale import Spans, measure_driver
from benchmarks.scale_worker import EPOCHS, PretendedTrial, length_of
from benchmarks.soak import Look, faults


def test_a_pretended_trial_stops_at_comparisons_and_lasts_as_long_as_it_was_drawn() -> None:
    trial = PretendedTrial(3, (5, 10), mean_seconds=60.0, report_seconds=4.0)
    opened, _ = trial.step()
    assert opened.opened is not None
    assert opened.epochs[-1].epoch <= 5
    ends, seconds = [opened.epochs[-1].epoch], trial.worked
    while not opened.is_end:
        opened, took = trial.step()
        seconds += took
        ends.append(opened.epochs[-1].epoch)
    assert {5, 10, EPOCHS} <= set(ends)
    assert seconds == pytest.approx(length_of(3, 60.0))


def test_lengths_of_trials_have_the_mean_that_was_asked_for() -> None:
    lengths = [length_of(number, 60.0) for number in range(2000)]
    assert sum(lengths) / len(lengths) == pytest.approx(60.0, rel=0.05)


def test_work_counts_as_far_as_it_lies_between_two_times() -> None:
    spans = Spans()
    spans.add(0.0, 10.0)
    spans.add(5.0, 6.0)
    assert (spans.busy(0.0, 10.0), spans.busy(5.5, 8.0), spans.busy(20.0, 30.0)) == (11.0, 3.0, 0.0)


def test_a_search_before_workers_that_count_ends_and_its_workers_are_busy(tmp_path: Path) -> None:
    found = measure_driver(tmp_path, at_once=4, trials=14, seconds=60.0, ray_ms=5.0)
    assert (found.trials, found.at_once) == (14, 4)
    assert 0.5 < found.full_utilisation <= 1.0
    assert 0.0 < found.driver_busy < 0.5
    assert found.run_folder_files > 14


def test_a_slow_driver_lets_its_workers_wait(tmp_path: Path) -> None:
    found = measure_driver(tmp_path, at_once=4, trials=14, seconds=60.0, ray_ms=10_000.0)
    assert found.full_utilisation < 0.5
    assert found.driver_busy > 0.5


EARLY = Look(10.0, 500, 600.0, 400.0, 40, 90, 9, 2)


def test_a_soak_that_does_not_grow_has_no_faults() -> None:
    late = replace(EARLY, minutes=60.0, trials=3000, driver_mib=650.0, driver_handles=42)
    assert faults([EARLY, late], reference_minutes=10.0) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"driver_mib": 700.0}, "driver_mib grew from 600 to 700 MiB"),
        ({"workers_mib": 480.0}, "workers_mib grew from 400 to 480 MiB"),
        ({"workers_handles": 99}, "workers_handles grew from 90 to 99"),
        ({"processes": 10}, "processes grew from 9 to 10"),
    ],
)
def test_what_grew_in_a_soak_is_named(change: dict[str, float], said: str) -> None:
    first = replace(EARLY, minutes=1.0, driver_mib=100.0, workers_mib=100.0, workers_handles=1, processes=1)
    assert faults([first, EARLY, replace(EARLY, minutes=60.0, **change)], reference_minutes=10.0) == [said]
