"""A search that ends before it was hit often enough is followed by a further one, not excused."""

import dataclasses
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.chaos.arena import NO_RAY, Arena, Driver, Verdict
from benchmarks.chaos.series import Hit, Series


@dataclasses.dataclass
class FakeDriver:
    """A driver that has ended with a code, or runs."""

    code: int | None
    printed: str = ""

    @property
    def has_ended(self) -> bool:
        return self.code is not None

    @property
    def process(self) -> Any:
        return SimpleNamespace(returncode=self.code)

    def has_said(self, *texts: str) -> bool:
        return Driver.has_said(cast(Driver, self), *texts)

    def wait(self, seconds: float) -> int | None:
        self.code = 0 if self.code is None else self.code
        return self.code


class FakeArena:
    """Begins and resumes drivers that it was given."""

    def __init__(self, folder: Path, drivers: list[FakeDriver]) -> None:
        self.folder, self.drivers, self.calls = folder, drivers, list[tuple[str, str]]()
        self.is_late, self.patience = False, 1.0

    def search(self, name: str, trials: int, *options: str, **environment: str) -> FakeDriver:
        self.calls.append(("search", name))
        return self.drivers.pop(0)

    begin = search

    def resume(self, name: str, *options: str, **environment: str) -> FakeDriver:
        self.calls.append(("resume", name))
        return self.drivers.pop(0)

    def begun(self, name: str) -> bool:
        return True

    def run(self, name: str) -> Any:
        return SimpleNamespace(path=self.folder / name)  # it is not there, so that no moment is kept

    def judged(self, name: str, before: Any, *, trials: int, reference: str | None) -> Verdict:
        return Verdict([], [], [])


def series_of(tmp_path: Path, *drivers: FakeDriver) -> tuple[Series, FakeArena]:
    arena = FakeArena(tmp_path, list(drivers))
    return Series(cast(Arena, arena), "kills", 6), arena


def test_a_further_search_begins_where_one_has_come_to_its_end(tmp_path: Path) -> None:
    series, arena = series_of(tmp_path, FakeDriver(0), FakeDriver(None))
    hit = Hit("SIGKILL of a worker", 1)
    assert series.is_running()
    series.note(hit)
    assert arena.calls == [("search", "kills"), ("search", "kills-2")]
    (outcome,) = series.closed(hit)
    assert outcome.is_good
    assert outcome.note.endswith("2 searches")


def test_searches_that_end_before_they_are_hit_are_not_good(tmp_path: Path) -> None:
    series, arena = series_of(tmp_path, *[FakeDriver(0) for _ in range(9)])
    assert not series.is_running()
    assert 1 < len(arena.calls) < 9
    (outcome,) = series.closed(Hit("SIGKILL of a worker", 20))
    assert (outcome.asked, outcome.injected, outcome.is_good) == (20, 0, False)


def test_too_late_is_not_good_either(tmp_path: Path) -> None:
    series, arena = series_of(tmp_path)
    arena.is_late = True
    assert not series.is_running()
    (outcome,) = series.closed(Hit("SIGKILL of a worker", 20))
    assert not outcome.is_good
    assert "20 asked for" in outcome.remark
    with pytest.raises(RuntimeError, match="no search has begun"):
        _ = series.driver


def test_a_driver_that_ends_by_itself_is_resumed_and_counts_as_a_fault(tmp_path: Path) -> None:
    series, arena = series_of(tmp_path, FakeDriver(1, "out of luck"), FakeDriver(None))
    hit = Hit("SIGKILL of a worker", 1)
    assert series.is_running()
    series.note(hit)
    (outcome,) = series.closed(hit)
    assert arena.calls == [("search", "kills"), ("resume", "kills")]
    assert outcome.faults == ("kills ended with 1: out of luck",)
    assert not outcome.is_good


def test_a_ray_that_did_not_start_on_a_busy_machine_is_tried_again(tmp_path: Path) -> None:
    series, _ = series_of(tmp_path, FakeDriver(1, f"Ray:\n{NO_RAY[:6]}\n{NO_RAY[6:]}"), FakeDriver(None))
    hit = Hit("SIGKILL of a worker", 1)
    assert series.is_running()
    series.note(hit)
    assert series.closed(hit)[0].is_good


def test_a_driver_that_dies_again_and_again_ends_the_series(tmp_path: Path) -> None:
    series, arena = series_of(tmp_path, *[FakeDriver(1, "no") for _ in range(20)])
    begun = time.monotonic()
    assert not series.is_running()
    assert time.monotonic() - begun < 5
    assert len(arena.calls) < 10
    assert not series.closed(Hit("SIGKILL of a worker", 1))[0].is_good
