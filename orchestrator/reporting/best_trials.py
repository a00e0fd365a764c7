"""Pictures of the best finished trials, for TensorBoard."""

import json
from pathlib import Path
from typing import Final

import numpy as np

from orchestrator.reporting.inner_pictures import Allowance, draw_best_inside, draw_growth, draw_inside
from orchestrator.reporting.plots import (
    RowsOf,
    class_curves_picture,
    confusion_picture,
    front_picture,
    mistakes_sheet,
    pr_curve_picture,
    roc_curve_picture,
)
from orchestrator.reporting.tensorboard import TensorBoardLog
from orchestrator.reporting.time_left import busy_seconds
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.split_labels import marks
from results.scores.decision_rule import cross_fit, deciding_metric
from results.scores.decisions import confusion
from results.scores.metrics import metric_named
from results.scores.ranking import MOST_COMPARED, Objectives, objectives_of
from trainables.common.types import IntArray
from trainables.data.patches import PatchSet

BEST_TRIALS: Final = 3
SHARE_INSIDE: Final = 0.05  # of the time that the trials took, for looks into their models


def draw_best(run: RunFolder, search: SearchRecord, complete: list[TrialRecord]) -> None:
    """Write what the best trials look like, outside and inside, unless that was written for them before.

    A search of several metrics also gets a picture of its front, for the first metric and each other one.

    Raises:
        DataError: If the stored copy of the data is gone.
        RunError: If predictions cannot be read.
        OSError: If the pictures cannot be written.
    """
    drawn, objectives = _drawn(run), objectives_of(search)
    best = objectives.rank(complete)[:BEST_TRIALS]
    left = [record for record in best if drawn.get(str(record.number)) != str(record.finished_at)]
    log = TensorBoardLog(run.tensorboard, metric=search.metric, split=search.split_name)
    if len(objectives.metrics) > 1:
        log.write_search_events("pictures", pictures=_front_pictures(search, complete, objectives))
    patch_set = run.patch_set() if left else None
    if left:
        compared = objectives.rank(complete)[:MOST_COMPARED]
        draw_growth(log, search, list(run.readable_predictions(compared)))
    clock = Allowance(SHARE_INSIDE * busy_seconds(complete))
    for record, found in run.readable_predictions(left):
        log.pictures(record.number, _pictures(search, found, patch_set))
        draw_inside(log, run, search, record, found, clock)
        if patch_set is not None and record.number == best[0].number and not patch_set.is_table:
            draw_best_inside(log, run, search, record, found, patch_set, clock)
        drawn[str(record.number)] = str(record.finished_at)
        run.write_json(_drawn_file(run), drawn)


def _front_pictures(
    search: SearchRecord, complete: list[TrialRecord], objectives: Objectives
) -> dict[str, bytes]:
    """Tag -> PNG file, for the first metric against each other one."""
    values = [objectives.values_of(record) for record in complete]
    points = np.array(
        [[np.nan if (own := one.get(name)) is None else own for name in objectives.metrics] for one in values]
    ).reshape(len(complete), len(objectives.metrics))
    on_front = np.array(objectives.is_on_front(values), dtype=bool)
    mark = marks(is_synthetic=search.is_synthetic, split=search.split_name)
    numbers = [record.number for record in complete]
    return {
        f"front/{name}": front_picture(
            points[:, [place, 0]],
            on_front,
            numbers,
            (metric_named(name), metric_named(objectives.metrics[0])),
            mark=mark,
        )
        for place, name in enumerate(objectives.metrics)
        if place > 0
    }


def _decided(search: SearchRecord, found: OutOfFold) -> IntArray:
    """Decisions at the threshold that the model would have, shape (images,)."""
    deciding = deciding_metric(search.metrics)
    fitted = cross_fit(found, searched=search.metrics, metrics=[metric_named(deciding)])
    return fitted.decided[deciding]


def _drawn_file(run: RunFolder) -> Path:
    return run.tensorboard / "pictures.json"


def _drawn(run: RunFolder) -> dict[str, str]:
    """Trial number -> the end of the trial that its pictures show."""
    try:
        return {str(number): str(end) for number, end in json.loads(_drawn_file(run).read_bytes()).items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}


def _pictures(search: SearchRecord, found: OutOfFold, patch_set: PatchSet | None) -> dict[str, bytes]:
    """Tag -> PNG file, for one trial."""
    matrix = confusion(found.labels, _decided(search, found), len(search.classes))
    mark = marks(is_synthetic=search.is_synthetic, split=search.split_name)
    is_binary = len(search.classes) == 2
    title = "Confusion at cross-fitted thresholds" if is_binary else "Confusion, most probable class"
    pictures = {
        **_curves(search, found, mark),
        "confusion": confusion_picture(matrix, search.classes, title=title, mark=mark),
    }
    if search.request.pictures and patch_set is not None and not patch_set.is_table:
        images = RowsOf(patch_set.images, found.rows)
        pictures["worst_mistakes"] = mistakes_sheet(
            images, found.labels, found.probabilities, found.rows, search.classes, mark=mark
        )
    return pictures


def _curves(search: SearchRecord, found: OutOfFold, mark: str) -> dict[str, bytes]:
    """Tag -> PNG file of curves: ROC and precision-recall of two classes, ROC of each class of more."""
    if len(search.classes) > 2:
        of_classes = class_curves_picture(
            found.labels, found.probabilities, found.folds, search.classes, mark=mark
        )
        return {"roc": of_classes}
    return {
        "roc": roc_curve_picture(found.labels, found.probabilities, found.folds, mark=mark),
        "precision_recall": pr_curve_picture(found.labels, found.probabilities, found.folds, mark=mark),
    }
