"""What `make chaos` asks for, and what becomes of a scenario that cannot run, or says nothing."""

import time
from pathlib import Path

import pytest

from benchmarks.chaos import __main__ as chaos
from benchmarks.chaos import database, disks, stops
from benchmarks.chaos.arena import Arena
from benchmarks.chaos.ledger import Outcome
from benchmarks.chaos.plan import SCENARIOS, Scenario, completed


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    return Arena(tmp_path, seed=0)


def test_the_whole_asks_for_every_kind_of_fault() -> None:
    asked = {fault: count for own in SCENARIOS.values() for fault, count in own.faults.items()}
    assert len(asked) == sum(len(own.faults) for own in SCENARIOS.values()) >= 25
    for fault, count in {
        "SIGKILL of the driver": 20,
        "SIGKILL of a worker": 20,
        "SIGTERM of a worker": 3,
        "SIGKILL of a worker, folds in processes": 6,
        "SIGKILL of the driver, folds in processes": 2,
        "SIGKILL of a raylet (node)": 5,
        "SIGKILL of the head (GCS)": 3,
        "database restarted": 2,
        "disk of the store fills up in mid-search": 1,
    }.items():
        assert asked[fault] == count
    assert {
        own.asked(1.0)[fault] for own in SCENARIOS.values() for fault in own.faults if own.faults[fault] == 20
    } == {20}


def test_a_share_asks_for_fewer_kills_and_for_at_least_one() -> None:
    assert SCENARIOS["workers"].asked(0.25) == {"SIGKILL of a worker": 5, "SIGTERM of a worker": 1}
    assert SCENARIOS["clock"].asked(0.01) == {"clock set back, then ahead": 2}
    assert min(count for own in SCENARIOS.values() for count in own.asked(1e-6).values()) == 1


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_that_is_left_out_has_a_row_for_each_fault_and_none_is_good(name: str) -> None:
    rows = SCENARIOS[name].left_out(1.0, "the time was up")
    assert [own.fault for own in rows] == list(SCENARIOS[name].faults)
    assert not any(own.is_good for own in rows)
    assert all("the time was up" in own.remark for own in rows)


def test_a_scenario_that_says_nothing_of_a_fault_has_not_run_it(arena: Arena) -> None:
    silent = Scenario(lambda arena, one, other: [Outcome("one", one, one, one)], {"one": 1, "other": 2})
    good, bad = silent.outcomes(arena, 1.0)
    assert good.is_good
    assert (bad.fault, bad.asked, bad.injected, bad.is_good) == ("other", 2, 0, False)
    assert completed([good], {"one": 1}) == [good]


def test_without_postgresql_a_compiler_or_a_mount_nothing_is_good(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    rows = [database.restart(arena, 2, 12), stops.set_clock_back(arena, 2, 9)]
    monkeypatch.setattr(disks, "_mounted", lambda folder, size: False)
    rows += [disks.fill_disk_of_runs(arena, 1, 12), *disks.fill_disk_of_store(arena, 1, 1, 18)]
    assert [own.asked for own in rows] == [2, 2, 1, 1, 1]
    assert not any(own.is_good or own.injected for own in rows)
    assert "initdb" in rows[0].note
    assert "compiler" in rows[1].note
    assert all("mounted" in own.note for own in rows[2:])


def test_what_the_time_did_not_suffice_for_is_not_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chaos, "_run_undisturbed", lambda arena, *, folds_too: None)
    rows = chaos._run(
        tmp_path, ["drivers", "stop"], 0, share=1.0, lanes=1, patience=1.0, until=time.monotonic() - 1
    )
    assert [own.fault for own in rows] == [
        "SIGKILL of the driver",
        "SIGSTOP of a worker",
        "two drivers on one folder",
    ]
    assert all("the time was up" in own.remark and not own.is_good for own in rows)


def test_a_scenario_that_fails_is_not_good_and_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arena: Arena, *asked: int) -> list[Outcome]:
        raise ValueError("out of luck")

    (tmp_path / "runs" / ".store").mkdir(parents=True)
    monkeypatch.setitem(SCENARIOS, "clock", Scenario(fail, {"clock set back, then ahead": 2}))
    (row,) = chaos._scenario("clock", tmp_path, 0, share=1.0, patience=1.0, until=time.monotonic() + 60)
    assert not row.is_good
    assert "out of luck" in row.remark
    assert "BAD" in capsys.readouterr().out
