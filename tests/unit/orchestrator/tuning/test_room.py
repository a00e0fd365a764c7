"""Room on the disk: its budget, and what a search does while there is none."""

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from list_study import Clock, ListStudy, complete, spec

from orchestrator.study.patience import OutOfPatienceError, Patience
from orchestrator.study.trial_spec import TrialFailure
from orchestrator.tuning import room
from orchestrator.tuning.disk_usage import disk_usage
from orchestrator.tuning.kept_weights import FEWEST_KEPT, KeptWeights
from orchestrator.tuning.room import RoomKeeper, trials_of_ensembles
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.test_accesses import TestAccess, record_access
from trainables.features.budget import GB

Lead = Callable[..., TrialManager]
FULL = TrialFailure("environment", "No space left on device", is_disk_full=True)
BLOCKS = 100_000


def weighty(run: RunFolder, number: int, value: float) -> None:
    """A complete trial with weights of `BLOCKS` bytes."""
    run.write_record(complete(number, value))
    run.weights_folder(number).mkdir(parents=True)
    (run.weights_folder(number) / "0.safetensors").write_bytes(os.urandom(BLOCKS))


def has_weights(run: RunFolder) -> list[int]:
    return [record.number for record in run.records() if record.has_weights]


class Disk:
    """A disk on which a file may or may not fit, in the place of the one that the tests run on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 0
        self.asked: list[int] = []
        monkeypatch.setattr(os, "posix_fallocate", self.reserve)

    def reserve(self, descriptor: int, start: int, size: int) -> None:
        self.asked.append(size)
        if size > self.free:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    monkeypatch.setattr(room, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(room, "_SHARE_OF_LOOKING", float("inf"))
    return Disk(monkeypatch)


def patient(lead: TrialManager, said: list[str], sleep: Callable[[float], None]) -> Clock:
    """Let a manager wait on a clock of its own."""
    clock = Clock()

    def wait(seconds: float) -> None:
        clock.now += seconds
        sleep(seconds)

    lead.patience.say, lead.patience._clock, lead.patience._sleep = said.append, clock, wait
    return clock


def test_a_trial_that_found_the_disk_full_is_run_again_when_there_is_room(
    tmp_path: Path, manager: Lead, disk: Disk
) -> None:
    study, said = ListStudy(spec(0), spec(1)), list[str]()
    lead = manager(tmp_path, study, Clock())
    patient(lead, said, lambda seconds: setattr(disk, "free", GB))  # room comes while it waits
    assert lead.next() is not None
    lead.run.weights_folder(0).mkdir(parents=True)  # half of its weights were written
    lead.on_failure(0, FULL)
    assert not lead.run.weights_folder(0).exists()
    again = lead.next()
    assert again is not None
    assert again.number == 0
    assert (lead.run.records(), study.told, lead.fault) == ([], [], None)
    assert said[0].startswith("No space left on device; no trial starts until there is room on the disk of")
    assert "No space left on device; the search waits up to 30 min, and looks again meanwhile" in said
    assert any(message.startswith("the search goes on after") for message in said)


def test_while_other_trials_run_none_starts_and_nothing_waits(
    tmp_path: Path, manager: Lead, disk: Disk
) -> None:
    lead = manager(tmp_path, ListStudy(spec(0), spec(1), spec(2)), Clock())
    patient(lead, [], lambda seconds: pytest.fail("it waits although trials run"))
    lead.next()
    lead.next()
    lead.on_failure(0, FULL)
    assert lead.next() is None
    assert not lead.is_over
    disk.free = GB
    found = lead.next()
    assert found is not None
    assert found.number == 0


def test_a_disk_that_stays_full_ends_the_search_resumable(tmp_path: Path, manager: Lead, disk: Disk) -> None:
    lead = manager(tmp_path, ListStudy(spec(0)), Clock())
    clock = patient(lead, [], lambda seconds: None)
    lead.next()
    lead.on_failure(0, FULL)
    assert lead.next() is None
    assert lead.is_over
    assert 1800 <= clock.now < 1830
    said = str(lead.fault)
    assert said.startswith("no trial can keep its results: No space left on device, and did not come back")
    assert said.endswith(f"Make room, then go on with: orchestrate resume {tmp_path}")
    assert lead.run.records() == []


def test_trials_that_wait_for_room_do_not_count_as_ones_that_could_not_run(
    tmp_path: Path, manager: Lead, disk: Disk
) -> None:
    disk.free = GB
    lead = manager(tmp_path, ListStudy(*map(spec, range(4))), Clock())
    for _ in range(3):
        assert lead.next() is not None
        lead.on_failure(0, FULL)
    lead.next()
    lead.on_failure(0, TrialFailure("environment", "weights are gone"))
    assert lead.fault is None
    assert [record.number for record in lead.run.records()] == [0]


def test_a_trial_that_never_fits_ends_the_search(tmp_path: Path, manager: Lead, disk: Disk) -> None:
    disk.free = GB  # on another disk there is none
    lead = manager(tmp_path, ListStudy(spec(0)), Clock())
    for _ in range(room._MOST_LOSSES):
        assert lead.next() is not None
        lead.on_failure(0, FULL)
    assert lead.next() is None
    assert "6 times in a row: No space left on device" in str(lead.fault)
    assert disk.asked == [16_000_000 << place for place in range(5)]  # ever more must fit


def test_a_trial_that_waits_with_its_results_keeps_others_from_starting_and_is_heard(
    tmp_path: Path, manager: Lead, disk: Disk
) -> None:
    clock = Clock()
    lead = manager(tmp_path, ListStudy(spec(0), spec(1)), clock)
    lead.next()
    lead.on_worker_start(0)
    clock.now = 500.0
    for _ in range(3):
        lead.on_waiting(0, "No space left on device")
    assert lead.next() is None
    assert lead.running.keys() == {0}
    clock.now = 1000.0
    assert lead.hung() == []
    disk.free = GB
    found = lead.next()
    assert found is not None
    assert found.number == 1


def test_a_trial_that_waits_for_the_disk_of_another_machine_keeps_nobody_from_starting(
    tmp_path: Path, manager: Lead, disk: Disk
) -> None:
    clock = Clock()
    lead = manager(tmp_path, ListStudy(spec(0), spec(1)), clock)
    lead.next()
    lead.on_worker_start(0)
    clock.now = 500.0
    lead.on_waiting(0, "No space left on device", is_elsewhere=True)
    clock.now = 1000.0
    assert lead.hung() == []
    assert lead.next() is not None
    assert lead.running.keys() == {0, 1}


def test_a_record_is_written_when_there_is_room(
    tmp_path: Path, manager: Lead, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = ListStudy(spec(0))
    lead = manager(tmp_path, study, Clock())
    tries = []

    def full_at_first(run: RunFolder, record: object) -> None:
        tries.append(record)
        if len(tries) < 3:
            raise OSError(errno.ENOSPC, "No space left on device", "record.json")

    monkeypatch.setattr(RunFolder, "add_record", full_at_first)
    said: list[str] = []
    patient(lead, said, lambda seconds: None)
    lead.next()
    lead.on_stop(0, "pruner")
    assert len(tries) == 3
    assert [record.cause for record in study.told] == ["pruner"]
    assert said[0].startswith("No space left on device: record.json; the search waits up to 30 min")


def test_weights_of_losers_go_first_and_the_best_and_those_of_ensembles_stay(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    run = RunFolder(tmp_path)
    for number, value in enumerate((0.9, 0.5, 0.8, 0.6, 0.7, 0.4)):
        weighty(run, number, value)
    run.write_json(run.ensemble_file("mean"), {"trials": [0, 5]})
    (run.ensembles / "broken.json").write_text("{")
    assert trials_of_ensembles(run) == {0, 5}
    weights = KeptWeights(run, make_search(keep_weights=12), run.records(), Patience())
    assert weights.free(BLOCKS // 2) >= BLOCKS
    assert has_weights(run) == [0, 2, 3, 4, 5]  # 1 was the worst that no ensemble needs
    weights.free(100 * BLOCKS)
    assert has_weights(run) == [0, 2, 4, 5]  # three best, and a member
    assert len([number for number in has_weights(run) if number != 5]) == FEWEST_KEPT
    assert weights.free(100 * BLOCKS) == 0


def test_better_trials_take_no_weights_of_what_was_built_or_tested(
    tmp_path: Path, make_search: Callable[..., SearchRecord]
) -> None:
    run = RunFolder(tmp_path)
    run.write_search(make_search(keep_weights=2, store=str(tmp_path / "store")))
    for number, value in enumerate((0.5, 0.6, 0.7)):
        weighty(run, number, value)
    run.write_json(run.ensemble_file("best"), {"trials": [0]})
    look = TestAccess.of(
        np.array(["p1"]),
        run=run.path,
        by="orchestrate evaluate own --trial 1",
        when=datetime.now(UTC),
        model="trial 1",
        trials=(1,),
        threshold=0.5,
    )
    record_access(run, look.opened)
    weights = KeptWeights(run, run.search(), run.records(), Patience())
    for number, value in ((3, 0.9), (4, 0.8), (5, 0.65)):
        weighty(run, number, value)
        weights.add(complete(number, value).model_copy(update={"has_weights": True}))
    assert has_weights(run) == [0, 1, 3, 4]  # the two best, a member and a tested model


def test_a_disk_without_a_byte_left_is_relieved_by_the_weights_of_losers(
    tmp_path: Path, make_search: Callable[..., SearchRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, written = RunFolder(tmp_path), RunFolder.write_record
    for number in range(5):
        weighty(run, number, 0.5 + 0.1 * number)

    def write(self: RunFolder, record: TrialRecord) -> None:
        if all((self.weights_folder(number) / "0.safetensors").exists() for number in range(5)):
            raise OSError(errno.ENOSPC, "No space left on device")
        written(self, record)

    monkeypatch.setattr(RunFolder, "write_record", write)
    weights = KeptWeights(run, make_search(keep_weights=12), run.records(), Patience())
    assert weights.free(1) >= BLOCKS
    assert has_weights(run) == [1, 2, 3, 4]


def test_room_that_cannot_even_be_noted_is_looked_for_again(
    tmp_path: Path, make_search: Callable[..., SearchRecord], disk: Disk
) -> None:
    def fail(needed: int) -> int:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    keeper = RoomKeeper(RunFolder(tmp_path), make_search(store=str(tmp_path)), fail, Patience())
    keeper.filled("No space left on device")
    assert keeper.shortage() == "Disk quota exceeded"
    disk.free = 10**12
    assert keeper.shortage() is None


def test_the_budget_is_kept_by_weights_then_by_features_and_then_nothing_starts(
    tmp_path: Path, make_search: Callable[..., SearchRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, store = RunFolder(tmp_path / "runs" / "task" / "own"), tmp_path / "store"
    features = store / "prefix" / "key" / "view" / "tap.npy"
    features.parent.mkdir(parents=True)
    features.write_bytes(bytes(BLOCKS))
    monkeypatch.setattr(room, "_LOOK_SECONDS", 0.0)

    def keeper(budget: float) -> RoomKeeper:
        search = make_search(disk_gb=budget / GB, runs=tmp_path / "runs", store=str(store))
        weights = KeptWeights(run, search, run.records(), Patience())
        return RoomKeeper(run, search, weights.free, Patience(0.0))

    for number in range(5):
        weighty(run, number, number / 10)
    taken = disk_usage([tmp_path])
    assert keeper(2 * taken).shortage() is None
    limit = run.store_limit()
    assert limit is not None
    assert BLOCKS < limit < 2 * taken  # what features may grow to

    assert keeper(taken - BLOCKS // 2).shortage() is None
    assert has_weights(run) == [1, 2, 3, 4]
    assert features.exists()

    assert keeper(taken - 2.2 * BLOCKS).shortage() is None
    assert has_weights(run) == [2, 3, 4]
    assert not features.exists()

    short = keeper(BLOCKS)
    assert short.shortage() == (
        "runs and store take 0.0003 of the 0.0001 GB of --disk-gb, and hold nothing that this search could "
        "remove"
    ).replace("0.0003", f"{disk_usage([tmp_path]) / GB:.3g}")
    assert run.store_limit() == 0
    assert short.holds_back(is_idle=False)
    with pytest.raises(OutOfPatienceError, match="did not come back within 0 s"):
        short.holds_back(is_idle=True)


def test_a_file_that_is_reached_twice_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/a").write_bytes(os.urandom(BLOCKS))
    os.link(tmp_path / "runs/a", tmp_path / "runs/b")
    once = disk_usage([tmp_path / "runs"])
    assert BLOCKS <= once < 2 * BLOCKS
    assert disk_usage([tmp_path / "runs", tmp_path, tmp_path / "gone"]) == once
