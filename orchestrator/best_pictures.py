"""Pictures of the best finished trials, for TensorBoard."""

from pathlib import Path
from typing import Final

from orchestrator.pictures import confusion_picture, mistakes_sheet, pr_curve_picture, roc_curve_picture
from orchestrator.tensorboard import TensorBoardLog
from results.metrics import confusion, cross_fitted_decisions
from results.records import SearchRecord, TrialRecord
from results.store import RunFolder
from trainables.data.patches import open_patch_set

BEST_TRIALS: Final = 3


def draw_best(run: RunFolder, search: SearchRecord, complete: list[TrialRecord]) -> None:
    """Write ROC, PR curve, confusion matrix and worst mistakes of the best trials."""
    images = open_patch_set(Path(search.store) / "data", search.fingerprint).images
    best = sorted(complete, key=lambda record: -(record.value or 0.0))[:BEST_TRIALS]
    log = TensorBoardLog(run.tensorboard, metric=search.metric)
    for record in best:
        found = run.out_of_fold(record.number)
        matrix = confusion(found.labels, cross_fitted_decisions(found), len(search.classes))
        synthetic = search.is_synthetic
        positive = found.probabilities
        log.pictures(
            record.number,
            {
                "roc": roc_curve_picture(found.labels, positive, found.folds, synthetic=synthetic),
                "precision_recall": pr_curve_picture(
                    found.labels, positive, found.folds, synthetic=synthetic
                ),
                "confusion": confusion_picture(
                    matrix, search.classes, title="Confusion at cross-fitted thresholds", synthetic=synthetic
                ),
                "worst_mistakes": mistakes_sheet(
                    images[found.rows],
                    found.labels,
                    positive,
                    found.rows,
                    search.classes,
                    synthetic=synthetic,
                ),
            },
        )
