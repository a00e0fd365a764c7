"""The traces that faults of the chaos must leave, so that none passes that nobody noticed."""

import random
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from list_study import complete
from simulated_run import make_run
from simulated_trials import simulate

from benchmarks.chaos import files
from benchmarks.chaos.arena import Arena, Driver
from benchmarks.chaos.disks import keeps_features
from benchmarks.chaos.files import KINDS, TOGETHER
from benchmarks.chaos.stops import faults_of_clock
from results.run.damage import damaged_weights
from results.run.records import TrialRecord
from trainables.features.feature_use import FeatureUse
from trainables.runtime.checkpoint import write_fold_weights


def ended(hours: float, *, seconds: float | None = 1.0) -> TrialRecord:
    """A trial that ended so many hours ahead, by its own clock."""
    at = datetime.fromtimestamp(time.time() + 3600 * hours, UTC)
    return complete(0, 0.5).model_copy(update={"finished_at": at, "wall_seconds": seconds})


def test_a_clock_that_was_moved_shows_in_the_records() -> None:
    assert faults_of_clock([ended(0), ended(-1.01), ended(0.95)], injected=2) == []


def test_a_clock_that_never_moved_is_found() -> None:
    back, ahead = faults_of_clock([ended(0), ended(-0.1)], injected=2)
    assert "not moved back" in back
    assert "not moved ahead" in ahead
    assert faults_of_clock([ended(0)], injected=0) == []


@pytest.mark.parametrize("seconds", [-3500.0, 3700.0])
def test_a_trial_whose_time_took_part_in_the_move_is_found(seconds: float) -> None:
    assert faults_of_clock([ended(-1.01, seconds=seconds), ended(0.95)], injected=2) == [
        f"trial 0 took {seconds:.0f} s"
    ]


@pytest.mark.parametrize(("note", "kept"), [("", True), ("the disk is full", False)])
def test_features_are_kept_where_the_record_has_no_reason_against_it(note: str, kept: bool) -> None:
    use = FeatureUse("stored views", "top", 1, 1, 0, note=note)
    assert keeps_features(complete(0, 0.5).model_copy(update={"prefix": use})) is kept


def test_what_is_spoilt_differs_from_what_was_there(tmp_path: Path) -> None:
    path, arena = tmp_path / "features.npy", Arena(tmp_path / "arena", seed=0)
    path.write_bytes(bytes(500) + b"x" + bytes(500))
    assert files._spoil(path, arena) == path.read_bytes() != bytes(500) + b"x" + bytes(500)
    path.write_bytes(bytes(100))
    with pytest.raises(ValueError, match="nothing that could be damaged"):
        files._spoil(path, arena)


def test_every_kind_of_damage_has_its_turn() -> None:
    assert sorted(kind for together in TOGETHER for kind in together) == sorted(KINDS)


class _Damaged:
    """An arena whose search has ended, and whose resumes notice nothing unless they are told to."""

    is_late = False
    patience = 1.0

    def __init__(self, folder: Path, *, resumes: bool) -> None:
        self.folder, self.resumes = folder, resumes

    def search(self, name: str, trials: int) -> Any:
        return SimpleNamespace(wait=lambda seconds: 0)

    def finish(self, name: str, *options: str) -> list[str]:
        if self.resumes:
            (self.folder / "noticed").touch()
        return []

    def run(self, name: str) -> Any:
        return SimpleNamespace(path=self.folder, records=list)

    def log(self, name: str) -> Path:
        return self.folder / "log"

    def judged(self, name: str, before: Any, *, trials: int) -> Any:
        from benchmarks.chaos.arena import Verdict

        return Verdict([], [], [])


@pytest.mark.parametrize("resumes", [True, False])
def test_damage_that_no_resume_notices_is_not_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumes: bool
) -> None:
    def inject(arena: Arena, name: str) -> files.Damage:
        return files.Damage([(tmp_path / "noticed").exists])

    monkeypatch.setattr(files, "KINDS", {"a split": inject, "no file": lambda arena, name: files.Damage()})
    monkeypatch.setattr(files, "TOGETHER", (("a split",), ("no file",)))
    arena: Any = _Damaged(tmp_path, resumes=resumes)
    split, nothing = files.damage(arena, {"a split": 1, "no file": 1}, 12)
    assert split.is_good is resumes
    assert ("nobody noticed it" in split.remark) is not resumes
    assert (nothing.injected, nothing.is_good) == (0, False)


def test_damaged_weights_are_noticed_once_the_trial_is_without_them(tmp_path: Path) -> None:
    run = make_run(tmp_path, dict(enumerate(simulate(2).values())))
    for number in (0, 1):
        write_fold_weights(run.weights_folder(number), [{"bias": torch.zeros(3)}])
    arena: Any = SimpleNamespace(random=random.Random(0), run=lambda name: run)
    done = files._weights(arena, "damage")
    (damaged,) = damaged_weights(run)
    assert (done.again, [noticed() for noticed in done.noticed]) == ([], [False])
    run.discard_weights(damaged)
    assert [noticed() for noticed in done.noticed] == [True]
    run.discard_weights(1 - damaged)
    assert files._weights(arena, "damage") == files.Damage()


def test_what_a_driver_says_is_found_wherever_its_lines_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("trial 3 waits; no trial starts until\n  there is room on the disk of /run")
    driver = Driver(process=cast("subprocess.Popen[bytes]", None), log=log, begun=0.0)  # never asked
    assert driver.has_said("until there is room on the disk")
    assert not driver.has_said("search space", "nothing of the kind")
