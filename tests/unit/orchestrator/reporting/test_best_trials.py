"""Pictures of the best trials: they cost a search neither its end nor its memory, and are drawn once."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import finished_run
import numpy as np
import pytest
import simulated_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from worker_run import worker_run

from orchestrator.reporting.best_trials import draw_best
from orchestrator.reporting.plots import RowsOf, mistakes_sheet
from orchestrator.reporting.tensorboard import TensorBoardLog
from orchestrator.tuning.session import SearchOutcome, write_reports
from results.run.records import OutOfFold, TrialRecord
from results.run.run_folder import RunFolder
from trainables.data.patches import PatchSet

pytestmark = pytest.mark.slow


def predictions(rows: int = 40) -> OutOfFold:
    positive = np.random.default_rng(0).uniform(size=rows)
    return OutOfFold(
        rows=np.arange(rows),
        labels=np.arange(rows) // 2 % 2,
        folds=np.arange(rows) // 4 % 3,
        groups=np.array([f"p{row // 2}" for row in range(rows)]),
        probabilities=np.stack([1 - positive, positive], axis=1).astype(np.float32),
    )


def outcome_of(run: RunFolder) -> SearchOutcome:
    return SearchOutcome(run, run.search(), tuple(run.records()), is_interrupted=False)


@pytest.fixture
def run(bright_patches: PatchSet, tmp_path: Path) -> RunFolder:
    run = worker_run(bright_patches, tmp_path)
    run.write_out_of_fold(0, predictions())
    run.add_record(
        TrialRecord(
            number=0,
            state="complete",
            value=0.6,
            config={},
            fingerprint=bright_patches.fingerprint,
            seed=0,
            finished_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    )
    return run


def events(run: RunFolder) -> int:
    return sum(path.stat().st_size for path in run.tensorboard.rglob("*tfevents*"))


def test_pictures_are_drawn_once_for_each_end_of_a_trial(run: RunFolder) -> None:
    draw_best(run, run.search(), run.records())
    once = events(run)
    assert once > 0
    draw_best(run, run.search(), run.records())
    assert events(run) == once
    (record,) = run.records()
    run.write_record(record.model_copy(update={"finished_at": datetime(2026, 1, 2, tzinfo=UTC)}))
    draw_best(run, run.search(), run.records())
    assert events(run) > once


def test_the_front_of_a_search_of_several_metrics_is_drawn_for_each_further_one(run: RunFolder) -> None:
    search = run.search()
    asked = ("auc", "ms_per_image", "f2")
    (record,) = run.records()
    run.write_record(record.model_copy(update={"values": {"auc": 0.6, "ms_per_image": 5.0, "f2": 0.8}}))
    for _ in range(2):  # in the place of the picture that was written before
        draw_best(run, search.model_copy(update={"metrics": asked}), run.records())
        assert front_tags(run) == {"front/ms_per_image", "front/f2"}


def front_tags(run: RunFolder) -> set[str]:
    reader = EventAccumulator(str(run.tensorboard / "search"), size_guidance={"images": 0})
    reader.Reload()
    return {tag for tag in reader.Tags()["images"] if tag.startswith("front/")}


def test_data_that_are_gone_cost_pictures_only(tmp_path: Path) -> None:
    run = simulated_run.make_run(tmp_path, {0: predictions()})
    (message,) = write_reports(outcome_of(run))
    assert message.startswith("pictures for TensorBoard could not be written: no stored patch set")
    assert run.leaderboard_file.exists()


def test_a_full_disk_costs_the_reports_only(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("orchestrator.tuning.session.write_atomically", full)
    monkeypatch.setattr("orchestrator.reporting.tensorboard.TensorBoardLog.pictures", full)
    assert write_reports(outcome_of(run)) == [
        "the leaderboard could not be written: [Errno 28] No space left on device",
        "pictures for TensorBoard could not be written: [Errno 28] No space left on device",
    ]


def test_only_the_images_that_are_drawn_are_read() -> None:
    class Watched:
        def __init__(self) -> None:
            self.read: list[int] = []

        def __getitem__(self, row: Any) -> Any:
            self.read.append(int(row))
            return np.random.default_rng(0).uniform(size=(8, 8))

    watched, found = Watched(), predictions(1_000)
    # A stand-in for an array that notes each row that is read; no array can.
    images = RowsOf(watched, found.rows)  # type: ignore[arg-type]
    mistakes_sheet(images, found.labels, found.probabilities, found.rows, ("benign", "malignant"), limit=5)
    assert len(images) == 1_000
    assert len(watched.read) == 5


@pytest.mark.parametrize("with_images", [True, False])
def test_no_image_of_a_patient_is_drawn_where_pictures_are_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_images: bool
) -> None:
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(TensorBoardLog, "pictures", lambda _, number, pictures: drawn.update(pictures))
    run = finished_run.make_run(tmp_path, {0: finished_run.CONFIGS[0]})
    draw_best(run, run.search().with_options(pictures=with_images), run.records())
    assert {"roc", "precision_recall", "confusion"} <= set(drawn)
    assert ("worst_mistakes" in drawn) is with_images
