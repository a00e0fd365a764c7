"""Files of a run that are made again before a search goes on, and what must prove that they are the same."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from list_study import complete
from split_data import three_folds
from worker_run import CONTEXT, worker_run

from orchestrator.study.method import method_of
from orchestrator.study.study import OptunaStudy
from orchestrator.tuning.rebuild import mend_split, read_points
from orchestrator.tuning.setup import study_place, write_initial_points
from results.errors import RunError
from results.run.records import OutOfFold, SearchRecord
from results.run.run_folder import RunFolder
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint
from search_spaces.registry import space_named
from trainables.common.errors import SplitError
from trainables.data.patches import PatchSet, select_rows
from trainables.data.split_record import read_split

POINTS = [
    InitialPoint("ours", {"model.backbone": "efficientnet_lite0", "training.epochs": epochs})
    for epochs in (3, 4)
]


def run_of(patches: PatchSet, folder: Path, **fields: Any) -> tuple[RunFolder, SearchRecord]:
    """A run whose request gives the split that it has."""
    run = worker_run(patches, folder, folds=3, test_share=0.25, **fields)
    record = run.search().with_options(folds=3, test_share=0.25)
    run.write_search(record)
    return run, record


def mended(run: RunFolder, record: SearchRecord) -> list[str]:
    said: list[str] = []
    mend_split(run, record, said.append)
    return said


def with_finished_trial(run: RunFolder, patches: PatchSet, *, shift: int = 0) -> None:
    """A complete trial whose predictions are in the folds of the split, or in others."""
    split = three_folds(patches)
    rows = select_rows(patches, run.search().task_definition)
    folds = split.folds_of(rows)
    held = folds >= 0
    found = OutOfFold(
        rows=rows.rows[held],
        labels=rows.labels[held],
        folds=(folds[held] + shift) % 3,
        groups=rows.groups[held],
        probabilities=np.full((int(held.sum()), 2), 0.5, dtype=np.float32),
    )
    run.write_out_of_fold(0, found)
    run.add_record(complete(0, 0.7).model_copy(update={"fingerprint": patches.fingerprint}))


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_split_is_made_again_if_it_has_the_digest_of_the_first(
    bright_patches: PatchSet, tmp_path: Path, is_gone: bool
) -> None:
    digest = three_folds(bright_patches).digest
    run, record = run_of(bright_patches, tmp_path, split_digest=digest)
    before = run.split_file.read_bytes()
    if is_gone:
        run.split_file.unlink()
    else:
        run.split_file.write_bytes(before[: len(before) // 2])
    (message,) = mended(run, record)
    assert "made again from data and seed, with the digest of the first" in message
    assert run.split_file.read_bytes() == before
    assert (run.path / "split.json.damaged").exists() is not is_gone
    assert mended(run, record) == []


def test_without_a_digest_the_folds_of_finished_trials_are_the_proof(
    bright_patches: PatchSet, tmp_path: Path
) -> None:
    run, record = run_of(bright_patches, tmp_path)
    with_finished_trial(run, bright_patches)
    before = read_split(run.split_file)
    run.split_file.unlink()
    (message,) = mended(run, record)
    assert "with the folds of 1 finished trials" in message
    assert read_split(run.split_file) == before


def test_a_split_that_nothing_proves_is_not_made_again(bright_patches: PatchSet, tmp_path: Path) -> None:
    run, record = run_of(bright_patches, tmp_path)
    run.split_file.unlink()
    with pytest.raises(SplitError, match=r"no split at .*nothing is left to compare it with"):
        mended(run, record)
    with_finished_trial(run, bright_patches, shift=1)
    with pytest.raises(SplitError, match=r"it would be another one"):
        mended(run, record)
    assert not run.split_file.exists()


def test_a_split_of_another_seed_is_never_taken_for_the_first(
    bright_patches: PatchSet, tmp_path: Path
) -> None:
    run, record = run_of(bright_patches, tmp_path, split_digest=three_folds(bright_patches).digest)
    run.split_file.unlink()
    with pytest.raises(SplitError, match="would be another one"):
        mended(run, record.with_options(seed=1))


def with_study(run: RunFolder, record: SearchRecord, points: Sequence[InitialPoint] = tuple(POINTS)) -> None:
    study = OptunaStudy(
        study_place(run, record).open(is_new=True),
        space_named(record.request.space_name),
        SpaceContext.model_validate(CONTEXT),
        {},
        method_of(record),
    )
    study.enqueue(points)


def test_damaged_points_are_made_again_from_the_study(bright_patches: PatchSet, tmp_path: Path) -> None:
    run, record = run_of(bright_patches, tmp_path)
    with_study(run, record)
    write_initial_points(run, POINTS)
    run.initial_points_file.write_text("[1]")
    said: list[str] = []
    found = read_points(run, record, said.append)
    assert [point.recipe for point in found] == ["ours", "ours"]
    assert [dict(point.settings)["training.epochs"] for point in found] == [3, 4]
    assert "made again from the study; what was there is initial_points.json.damaged" in said[0]
    assert len(json.loads(run.initial_points_file.read_text())) == 2
    assert [point.recipe for point in read_points(run, record, said.append)] == ["ours", "ours"]
    assert len(said) == 1


def test_points_whose_file_is_gone_are_made_again_from_the_study(
    bright_patches: PatchSet, tmp_path: Path
) -> None:
    run, record = run_of(bright_patches, tmp_path)
    with_study(run, record)
    said: list[str] = []
    found = read_points(run, record, said.append)
    assert [(point.recipe, dict(point.settings)["training.epochs"]) for point in found] == [
        ("ours", 3),
        ("ours", 4),
    ]
    assert said == [f"{run.initial_points_file} was gone: made again from the study"]
    assert len(json.loads(run.initial_points_file.read_text())) == 2


def test_a_run_of_an_earlier_version_has_no_points_to_try_first(
    bright_patches: PatchSet, tmp_path: Path
) -> None:
    run, record = run_of(bright_patches, tmp_path)
    said: list[str] = []
    assert read_points(run, record, said.append) == ()
    with_study(run, record, points=())
    assert read_points(run, record, said.append) == ()
    assert said == []
    assert not run.initial_points_file.exists()


@pytest.mark.parametrize("content", ["[1]", pytest.param("[" * 100_000, id="deep")])
def test_points_that_neither_file_nor_study_holds_are_named(
    bright_patches: PatchSet, tmp_path: Path, content: str
) -> None:
    run, record = run_of(bright_patches, tmp_path)
    run.initial_points_file.write_text(content)
    with pytest.raises(RunError, match=r"initial_points\.json is damaged .*study\.log does not hold them"):
        read_points(run, record, lambda message: None)
