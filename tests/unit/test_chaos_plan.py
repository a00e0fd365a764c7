"""What `make chaos` asks for, and what becomes of a scenario that cannot run, or says nothing."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.chaos import __main__ as chaos
from benchmarks.chaos import database, disks, stops
from benchmarks.chaos.arena import Arena
from benchmarks.chaos.ledger import Outcome
from benchmarks.chaos.plan import SCENARIOS, Scenario, Turn, completed, turns_of


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


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_portions_of_a_scenario_ask_for_all_of_its_faults(name: str) -> None:
    faults, portions = SCENARIOS[name].faults, SCENARIOS[name].asked(1.0)
    assert {fault: sum(own[fault] for own in portions) for fault in faults} == faults
    assert len(portions) == SCENARIOS[name].portions
    assert all(list(own) == list(faults) for own in portions)  # the scenario takes them in this order


def test_every_kind_of_fault_has_its_turn_before_any_goes_on() -> None:
    turns = turns_of(list(SCENARIOS), 1.0)
    first = turns[: len(SCENARIOS)]
    assert {fault for own in first for fault, count in own.asked.items() if count} == {
        fault for own in SCENARIOS.values() for fault in own.faults
    }
    assert [own.portion for own in first] == [0] * len(SCENARIOS)
    assert {own.name for own in turns[len(SCENARIOS) :]} >= {"drivers", "workers"}
    assert all(sum(own.asked.values()) < 10 for own in first)  # no long series keeps the others waiting


def test_each_portion_has_a_folder_of_its_own() -> None:
    places = [own.place for own in turns_of(list(SCENARIOS), 1.0)]
    assert len(set(places)) == len(places) > len(SCENARIOS)


def test_a_share_asks_for_fewer_kills_and_for_at_least_one() -> None:
    assert SCENARIOS["workers"].asked(0.25) == [{"SIGTERM of a worker": 1, "SIGKILL of a worker": 5}]
    assert SCENARIOS["clock"].asked(0.01) == [{"clock set back, then ahead": 2}]
    assert SCENARIOS["drivers"].asked(0.7) == [{"SIGKILL of the driver": 7}, {"SIGKILL of the driver": 7}]
    assert min(count for own in SCENARIOS.values() for count in own.asked(1e-6)[0].values()) == 1
    assert {len(own.asked(1e-6)) for own in SCENARIOS.values()} == {1}


def test_a_scenario_that_says_nothing_of_a_fault_has_not_run_it(arena: Arena) -> None:
    silent = Scenario(lambda arena, one, other: [Outcome("one", one, one, one)], {"one": 1, "other": 2})
    good, bad = silent.outcomes(arena, {"one": 1, "other": 2})
    assert good.is_good
    assert (bad.fault, bad.asked, bad.injected, bad.is_good) == ("other", 2, 0, False)
    assert completed([good], {"one": 1}) == [good]
    assert completed([good], {"one": 1, "none of this portion": 0}) == [good]


def test_a_fault_that_a_portion_does_not_ask_for_has_no_row_there(arena: Arena) -> None:
    def kills(arena: Arena, term: int, kill: int) -> list[Outcome]:
        return [Outcome("term", term, 0, 0), Outcome("kill", kill, kill, kill)]

    later = Scenario(kills, {"term": 1, "kill": 20}, portions=2)
    first, second = later.asked(1.0)
    assert [own.fault for own in later.outcomes(arena, first)] == ["term", "kill"]
    assert second == {"term": 0, "kill": 10}
    assert [own.fault for own in later.outcomes(arena, second)] == ["kill"]


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
    assert {own.fault: own.asked for own in rows} == {
        "SIGSTOP of a worker": 1,
        "two drivers on one folder": 2,
        "SIGKILL of the driver": 20,
    }
    assert all("the time was up" in own.remark and not own.is_good for own in rows)


def test_portions_that_the_time_did_not_suffice_for_are_missing_in_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(turn: Turn, folder: Path, seed: int, *, patience: float, until: float) -> list[Outcome]:
        return [Outcome(fault, count, count, count, note="at random") for fault, count in turn.asked.items()]

    clock = iter([0.0, 2.0, 3.0])  # the second and third portions come too late
    time_of = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr(chaos, "_run_undisturbed", lambda arena, *, folds_too: None)
    monkeypatch.setattr(chaos, "_scenario", run)
    monkeypatch.setattr(chaos, "time", time_of)
    (row,) = chaos._run(tmp_path, ["drivers"], 0, share=1.0, lanes=1, patience=1.0, until=1.0)
    assert (row.fault, row.asked, row.injected, row.survived, row.is_good) == (
        *("SIGKILL of the driver", 20, 7, 7),
        False,
    )
    assert row.remark == "**only 7, 20 asked for**; at random; the time was up"


def test_a_scenario_that_fails_is_not_good_and_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arena: Arena, *asked: int) -> list[Outcome]:
        raise ValueError("out of luck")

    (tmp_path / "runs" / ".store").mkdir(parents=True)
    monkeypatch.setitem(SCENARIOS, "clock", Scenario(fail, {"clock set back, then ahead": 2}))
    (turn,) = turns_of(["clock"], 1.0)
    (row,) = chaos._scenario(turn, tmp_path, 0, patience=1.0, until=time.monotonic() + 60)
    assert not row.is_good
    assert "out of luck" in row.remark
    assert "BAD" in capsys.readouterr().out
