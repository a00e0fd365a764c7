"""What lies inside the best trials, for TensorBoard: graph, weights, kernels, curves, points, and contrast.

Of each of the best trials come graph, weight histograms, first kernels and the precision-recall curve; of the
very best the effect of contrast and the projector's points. All of it is bounded, and what a trial has not
(a closed-form head no kernels, a table no images) is left out.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from orchestrator.reporting.html_page import small_copy
from orchestrator.reporting.inner_plots import contrast_picture, kernels_picture
from orchestrator.reporting.tensorboard import TensorBoardLog
from orchestrator.reporting.tensorboard_values import (
    graph_event,
    histogram_value,
    pr_curve_value,
    sprite_sheet,
    write_projector,
)
from results.ensembles.members import align, kind_of
from results.ensembles.nested import nested_predictions
from results.errors import ScoreError
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.fold_scores import fold_areas
from trainables.common.errors import OneClassError, OrchestrateError
from trainables.common.types import FloatArray, IntArray
from trainables.data.patches import PatchSet

MOST_HISTOGRAMS: Final = 24  # of a trial, the largest tensors
MOST_POINTS: Final = 512  # of the projector
MOST_MEMBERS: Final = 12  # of the averaged ensemble that grows
_CONTRASTS: Final = (1.0, 1.25, 1.5, 1.8, 2.0)  # those of source system 003, and no change
_THRESHOLDS: Final = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
_MOST_SECONDS: Final = 4.0  # of each of the two kinds that run the model on many images
_LEAST_SECONDS: Final = 1.5  # a model takes about as long to be built
_SPRITE: Final = 32  # pixels


class Allowance:
    """A time that looks into models may take together; a look begins only while enough of it is left.

    Args:
        seconds: The time.
        clock: Function that returns seconds; injected for tests.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._until = clock, clock() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._until - self._clock()


def draw_inside(
    log: TensorBoardLog,
    run: RunFolder,
    search: SearchRecord,
    record: TrialRecord,
    own: OutOfFold,
    allowance: Allowance,
) -> None:
    """Append graph, weight histograms, first kernels and the precision-recall curve of a trial.

    Args:
        log: Event files of the search.
        run: The run folder.
        search: Record of the search.
        record: Record of the trial, which is complete.
        own: Its out-of-fold predictions.
        allowance: Time for opening the model; the curve needs none.
    """
    if len(search.classes) == 2:
        scores = np.asarray(own.probabilities[:, 1])
        log.values(record.number, [pr_curve_value("precision_recall/out_of_fold", own.labels, scores)])
    if not _has_model(run, record) or allowance.left < _LEAST_SECONDS:
        return
    from results.predictors.inner_view import inner_view  # it imports torch

    try:
        found = inner_view(run, record.number, int(own.rows[0]))
    except OrchestrateError:
        return  # weights or data are gone; the curves stand all the same
    log.event(record.number, graph_event(found.layers, seconds=log.clock()))
    largest = sorted(found.weights.items(), key=lambda pair: -pair[1].size)[:MOST_HISTOGRAMS]
    log.values(record.number, [histogram_value(f"weights/{name}", values) for name, values in largest])
    if found.kernels is not None:
        log.pictures(record.number, {"first_kernels": kernels_picture(found.kernels)})


def draw_best_inside(
    log: TensorBoardLog,
    run: RunFolder,
    search: SearchRecord,
    record: TrialRecord,
    own: OutOfFold,
    patch_set: PatchSet,
    allowance: Allowance,
) -> None:
    """Append the effect of contrast on the best trial's calls, and write its features for the projector.

    Args:
        log: Event files of the search.
        run: The run folder.
        search: Record of the search.
        record: Record of the best trial.
        own: Its out-of-fold predictions.
        patch_set: The data.
        allowance: Time for all of it.
    """
    if not _has_model(run, record) or allowance.left < _LEAST_SECONDS:
        return
    seconds = min(_MOST_SECONDS, allowance.left / 2)
    from results.predictors.inner_view import features_of_images, predictions_by_contrast

    try:
        if len(search.classes) == 2 and search.request.unit == "image":
            places, found = predictions_by_contrast(run, record.number, own, _CONTRASTS, seconds=seconds)
            labels = own.labels[places]
            pairs = [_recall_and_precision(labels, found[factor]) for factor in _CONTRASTS]
            recall, precision = (np.array([pair[place] for pair in pairs]) for place in (0, 1))
            picture = contrast_picture(recall, precision, _CONTRASTS, _THRESHOLDS, len(labels))
            log.pictures(record.number, {"contrast_and_threshold": picture})
        random = np.random.default_rng(0)
        chosen = np.sort(random.permutation(len(own.rows))[:MOST_POINTS])
        features, rows = features_of_images(run, record.number, own.rows[chosen], seconds=seconds)
    except OrchestrateError:
        return
    kept = chosen[: len(rows)]
    columns = {
        "row": rows.tolist(),
        "class": [search.classes[label] for label in own.labels[kept]],
        "fold": own.folds[kept].tolist(),
        f"probability of {search.classes[-1]}": [f"{one:.3f}" for one in own.probabilities[kept, -1]],
    }
    sprites = None
    if search.request.pictures:
        pictures = [small_copy(patch_set, int(row), side=_SPRITE) for row in rows]
        sprites = (sprite_sheet(pictures, _SPRITE), _SPRITE)
    write_projector(log.trial_folder(record.number), f"trial {record.number}", features, columns, sprites)


def draw_growth(
    log: TensorBoardLog, search: SearchRecord, readable: Sequence[tuple[TrialRecord, OutOfFold]]
) -> None:
    """Write the AUC of the average of members, by their number, as a curve of the search.

    They are chosen anew without each fold before it is predicted, so that the curve is a fair one.

    Args:
        log: Event files of the search.
        search: Record of the search.
        readable: Complete trials with their predictions.
    """
    if len(readable) < 2:
        return
    kinds = {record.number: kind_of(record.config) for record, _ in readable}
    pool = align({record.number: own for record, own in readable}, kinds=kinds)
    found = []
    try:
        for members in range(1, min(MOST_MEMBERS, len(readable)) + 1):
            nested = nested_predictions(pool, "average", max_members=members, seed=search.request.seed)
            found.append(float(np.mean(fold_areas(nested))))
    except (ScoreError, OneClassError):
        return  # too few patients to hold any out
    log.write_search_events(
        "average",
        scalars=[("average_of_best_trials/auc", step, value) for step, value in enumerate(found, start=1)],
    )


def _has_model(run: RunFolder, record: TrialRecord) -> bool:
    return record.has_weights and run.weights_folder(record.number).is_dir()


def _recall_and_precision(labels: IntArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Recall and precision at each threshold, shape (thresholds,) each."""
    called = scores[:, None] >= np.array(_THRESHOLDS)
    hits = (called & (labels == 1)[:, None]).sum(axis=0)
    calls = called.sum(axis=0)
    precision = np.divide(hits, calls, out=np.full(len(_THRESHOLDS), np.nan), where=calls > 0)
    return hits / max(int((labels == 1).sum()), 1), precision
