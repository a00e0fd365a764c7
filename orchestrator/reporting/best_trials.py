"""Pictures of the best finished trials, for TensorBoard."""

import json
from pathlib import Path
from typing import Final

from orchestrator.reporting.plots import (
    RowsOf,
    class_curves_picture,
    confusion_picture,
    mistakes_sheet,
    pr_curve_picture,
    roc_curve_picture,
)
from orchestrator.reporting.tensorboard import TensorBoardLog
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.split_labels import marks
from results.scores.decision_rule import cross_fit
from results.scores.metrics import confusion
from results.scores.ranking import Objective
from trainables.data.patches import PatchSet

BEST_TRIALS: Final = 3


def draw_best(run: RunFolder, search: SearchRecord, complete: list[TrialRecord]) -> None:
    """Write ROC, PR curve, confusion matrix and worst mistakes of the best trials, unless they have them.

    Raises:
        DataError: If the stored copy of the data is gone.
        RunError: If predictions cannot be read.
        OSError: If the pictures cannot be written.
    """
    drawn = _drawn(run)
    best = Objective(search.metric).rank(complete)[:BEST_TRIALS]
    left = [record for record in best if drawn.get(str(record.number)) != str(record.finished_at)]
    log = TensorBoardLog(run.tensorboard, metric=search.metric, split=search.split_name)
    patch_set = run.patch_set() if left else None
    for record, found in run.readable_predictions(left):
        log.pictures(record.number, _pictures(search, found, patch_set))
        drawn[str(record.number)] = str(record.finished_at)
        run.write_json(_drawn_file(run), drawn)


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
    matrix = confusion(found.labels, cross_fit(found).decided["balanced_accuracy"], len(search.classes))
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
