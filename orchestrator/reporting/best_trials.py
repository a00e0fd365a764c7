"""Pictures of the best finished trials, for TensorBoard."""

from typing import Final

from orchestrator.reporting.plots import (
    confusion_picture,
    mistakes_sheet,
    pr_curve_picture,
    roc_curve_picture,
)
from orchestrator.reporting.tensorboard import TensorBoardLog
from results.run.records import SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.split_labels import marks
from results.scores.metrics import confusion, cross_fitted_decisions
from results.scores.ranking import Objective

BEST_TRIALS: Final = 3


def draw_best(run: RunFolder, search: SearchRecord, complete: list[TrialRecord]) -> None:
    """Write ROC, PR curve, confusion matrix and worst mistakes of the best trials."""
    patch_set = run.patch_set()
    best = Objective(search.metric).rank(complete)[:BEST_TRIALS]
    log = TensorBoardLog(run.tensorboard, metric=search.metric, split=search.split_name)
    for record in best:
        found = run.out_of_fold(record.number)
        matrix = confusion(found.labels, cross_fitted_decisions(found), len(search.classes))
        mark = marks(is_synthetic=search.is_synthetic, split=search.split_name)
        positive = found.probabilities
        pictures = {
            "roc": roc_curve_picture(found.labels, positive, found.folds, mark=mark),
            "precision_recall": pr_curve_picture(found.labels, positive, found.folds, mark=mark),
            "confusion": confusion_picture(
                matrix, search.classes, title="Confusion at cross-fitted thresholds", mark=mark
            ),
        }
        if search.request.pictures and not patch_set.is_table:
            pictures["worst_mistakes"] = mistakes_sheet(
                patch_set.images[found.rows],
                found.labels,
                positive,
                found.rows,
                search.classes,
                mark=mark,
            )
        log.pictures(record.number, pictures)
