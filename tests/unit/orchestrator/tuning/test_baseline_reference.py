"""A search without a trial on colour and intensity only has a reference, which is no trial of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import records
from finished_run import make_run, noise_patches
from unit_run import make_unit_run

from orchestrator.api.ranked import RankedTrials
from orchestrator.tuning import reference
from orchestrator.tuning.reference import keep_reference
from orchestrator.tuning.setup import write_initial_points
from results.run.baseline_record import BaselineRecord, read_baseline
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.scores.leaderboard import leaderboard
from results.scores.leaderboard_table import leaderboard_table
from search_spaces.enqueue import InitialPoint
from search_spaces.recipes.ours import BASELINE
from trainables.config.tasks import task_named
from trainables.data.patches import select_rows, store_patch_set
from trainables.data.phantom import make_phantom
from trainables.data.split_record import write_split
from trainables.data.splits import make_split

TEXTURE = {"model.backbone": "texture", "classical.name": "logistic", "training.augmentation": "none"}
COLOUR = {**TEXTURE, "model.backbone": "intensity", "classical.standardize": True, "classical.c": 0.1}
BACKBONES = ("texture", "intensity", "efficientnet_lite0")


@pytest.fixture
def said() -> list[str]:
    return []


def kept(run: RunFolder, said: list[str], **options: Any) -> tuple[BaselineRecord, OutOfFold | None] | None:
    keep_reference(run, run.search(), said.append, **options)
    return read_baseline(run)


def scored(found: tuple[BaselineRecord, OutOfFold | None] | None) -> OutOfFold:
    assert found is not None
    record, predictions = found
    assert record.error is None
    assert predictions is not None
    return predictions


def test_it_predicts_what_a_trial_of_the_same_head_predicts_in_the_same_folds(
    tmp_path: Path, said: list[str]
) -> None:
    held = make_run(tmp_path / "held", {0: TEXTURE}, backbones=BACKBONES, folds=3)
    free = make_run(tmp_path / "free", {0: COLOUR}, backbones=BACKBONES, folds=3)
    ours, theirs = scored(kept(held, said)), free.out_of_fold(0)
    assert len(said) == 1
    assert "sees colour and intensity only" in said[0]
    for name in ("rows", "labels", "folds", "groups"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-6)
    assert kept(free, said) is None  # its trial is the baseline
    assert kept(free, said, has_begun=True, records=free.records()) is None
    assert len(said) == 1


def test_it_is_a_row_of_the_leaderboard_without_a_number_or_a_rank_and_no_member(
    tmp_path: Path, said: list[str]
) -> None:
    run = make_run(tmp_path, {0: TEXTURE}, backbones=BACKBONES, folds=3)
    (before,) = [row for row in leaderboard(run) if row.is_baseline]
    assert (before.state, before.value) == ("reference", None)
    assert "orchestrate resume" in before.settings
    keep_reference(run, run.search(), said.append)
    rows = leaderboard(run)
    (found,) = [row for row in rows if row.is_baseline]
    assert (found.rank, found.trial, found.state, found.tied) == (None, None, "reference", None)
    assert found.low is not None
    assert found.high is not None
    assert found.value is not None
    assert found.low < found.value == found.auc <= found.high
    assert found.settings.startswith("colour and intensity only, logistic c=0.1 scaled (reference, no trial")
    assert leaderboard_table(rows, limit=0).row_count == 2  # it and the majority are always shown
    assert [record.number for record in run.records()] == [0]
    built = RankedTrials(run).build_ensembles(methods=["average"])
    assert {number for one in built for number in one.pool} == {0}
    verdict = RankedTrials(run).against_baseline()
    assert verdict is not None
    assert "reference, no trial of this search" in verdict.sentence()


def test_a_first_point_that_will_be_the_baseline_is_waited_for_and_replaced_if_it_fails(
    tmp_path: Path, said: list[str]
) -> None:
    run = make_run(tmp_path, {1: TEXTURE}, backbones=BACKBONES)
    write_initial_points(run, [InitialPoint("colour-intensity", BASELINE), InitialPoint("other", TEXTURE)])
    assert kept(run, said) is None
    complete = run.record(1)
    assert complete is not None
    failed = complete.model_copy(
        update={"number": 0, "state": "failed", "cause": "lost_worker", "value": None, "config": BASELINE}
    )
    run.write_record(failed)
    assert len(scored(kept(run, said, has_begun=True)).rows) == len(run.out_of_fold(1).rows)


def test_a_first_point_that_fixed_settings_make_another_one_is_not_waited_for(
    tmp_path: Path, said: list[str]
) -> None:
    run = make_run(tmp_path, {}, backbones=BACKBONES)
    write_initial_points(run, [InitialPoint("colour-intensity", BASELINE)])
    run.write_search(run.search().with_options(fixed_params={"model.also": ["texture/top"]}))
    assert len(scored(kept(run, said)).rows) > 0


def test_a_resume_makes_again_what_is_damaged_missing_or_of_other_data_and_nothing_else(
    tmp_path: Path, said: list[str]
) -> None:
    run = make_run(tmp_path, {}, backbones=BACKBONES)
    first = scored(kept(run, said))
    written = (run.baseline / "record.json").stat().st_mtime_ns
    assert kept(run, said) is not None
    assert (run.baseline / "record.json").stat().st_mtime_ns == written
    (run.baseline / "oof.npz").write_bytes(b"spoilt")
    assert read_baseline(run) is None
    np.testing.assert_array_equal(scored(kept(run, said)).probabilities, first.probabilities)
    (run.baseline / "oof.npz").unlink()
    np.testing.assert_array_equal(scored(kept(run, said)).probabilities, first.probabilities)
    run.write_search(run.search().model_copy(update={"fingerprint": "f" * 64}))
    assert read_baseline(run) is None


def test_why_there_is_none_is_recorded_shown_and_tried_again_at_the_next_start(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, {0: TEXTURE}, backbones=BACKBONES)

    def fails(*arguments: object, **options: object) -> OutOfFold:
        raise RuntimeError("no room on the disk\nat all")

    with monkeypatch.context() as patched:
        patched.setattr(reference, "_predictions", fails)
        found = kept(run, said)
        kept(run, said, has_begun=True)  # the same session tries once
    assert found is not None
    assert (found[0].error, found[1]) == ("no room on the disk", None)
    assert said == ["the leaderboard will have no score of colour and intensity only: no room on the disk"]
    (row,) = [row for row in leaderboard(run) if row.is_baseline]
    assert row.settings == "colour and intensity only: no room on the disk"
    assert RankedTrials(run).against_baseline() is None
    assert len(scored(kept(run, said)).rows) > 0


def test_one_that_takes_long_comes_after_the_last_trial(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, {}, backbones=BACKBONES)
    monkeypatch.setattr(reference, "_SECONDS", 0.0)
    assert kept(run, said) is None
    assert said == []
    assert len(scored(kept(run, said, has_begun=True)).rows) > 0


def test_of_breasts_it_has_a_prediction_for_each_breast(tmp_path: Path, said: list[str]) -> None:
    run = make_unit_run(tmp_path)
    for number in range(4):
        run.record_file(number).unlink()  # those on intensity
    ours, theirs = scored(kept(run, said)), run.out_of_fold(4)
    np.testing.assert_array_equal(ours.rows, theirs.rows)
    np.testing.assert_array_equal(ours.folds, theirs.folds)


def test_of_a_hold_out_it_predicts_what_is_held_out(tmp_path: Path, said: list[str]) -> None:
    run = make_run(tmp_path, {0: TEXTURE}, backbones=BACKBONES, holdout=0.3)
    np.testing.assert_array_equal(scored(kept(run, said)).rows, run.out_of_fold(0).rows)


@pytest.mark.parametrize("task_name", ["five_class", "idc"])
def test_it_is_there_whatever_the_classes_and_the_backbones_of_the_search(
    tmp_path: Path, said: list[str], task_name: str
) -> None:
    task, store = task_named(task_name), tmp_path / "store"
    raw = (
        noise_patches("uint8", colours=True) if task_name == "idc" else make_phantom(patients=40, size_px=32)
    )
    patch_set = store_patch_set(raw, store / "data")
    split = make_split(
        select_rows(patch_set, task),
        fingerprint=patch_set.fingerprint,
        task=task_name,
        folds=2,
        test_share=0.2,
        seed=0,
    )
    run = RunFolder(tmp_path / "runs" / task_name / "small")
    facts: dict[str, Any] = {"fingerprint": patch_set.fingerprint, "store": str(store), "folds": 2}
    run.write_search(records.search_record(task=task_name, classes=task.classes, **facts))
    write_split(run.split_file, split)
    assert scored(kept(run, said)).probabilities.shape[1] == len(task.classes)


def test_a_table_has_neither_colour_nor_intensity(tmp_path: Path, said: list[str]) -> None:
    run = make_run(tmp_path, {0: TEXTURE}, backbones=BACKBONES)
    run.write_search(records.search_record(**_facts_of(run), task="wisconsin"))
    assert kept(run, said) is None
    assert said == []
    assert [row.state for row in leaderboard(run)] == ["complete", "baseline"]


def _facts_of(run: RunFolder) -> dict[str, Any]:
    search = run.search()
    return {"fingerprint": search.fingerprint, "store": search.store, "folds": search.folds}


def test_after_the_time_of_a_search_it_has_no_more_than_half_a_minute(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, {}, backbones=BACKBONES)
    search = run.search()
    run.write_search(
        search.model_copy(update={"request": search.request.model_copy(update={"minutes": 1.0})})
    )
    monkeypatch.setattr(reference, "_SECONDS", 0.0)
    assert kept(run, said, has_begun=True) is None
    assert said == []
    assert len(scored(kept(run, said, is_last=True)).rows) > 0  # a resume that has no trial left to run
