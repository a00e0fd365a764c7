"""Opening of the sealed test part: no other module scores a model on test labels."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from results.errors import RunError
from results.predictors.test_evaluation import TestEvaluation, evaluate_test
from results.run.records import OuterPlace
from results.run.run_folder import RunFolder
from results.scores.operating_point import NOTHING_ASKED, Operation
from trainables.common.types import FloatArray, IntArray
from trainables.data.patches import TaskRows, open_patch_set, select_rows
from trainables.data.split_record import TEST, read_split
from trainables.data.units import ScoredRows, scored_units, units_of


def open_test_part(
    run: RunFolder,
    *,
    ensemble: str,
    trial: int | None,
    by: str,
    refit: bool = False,
    operation: Operation = NOTHING_ASKED,
) -> TestEvaluation:
    """Predict and score the test part; the opening is logged first.

    Args:
        run: The run folder.
        ensemble: Name of the ensemble.
        trial: Number of a single trial to score instead, or None.
        by: Command that opens the test part.
        refit: Score the models that `orchestrate refit` trained.
        operation: What is asked of the decisions.

    Raises:
        RunError: If the run has no test part.
    """
    from results.predictors.loading import open_row_predictor

    search = run.search()
    _check_is_no_inner_search(run, search.outer)
    if search.repeat is not None:
        raise RunError(
            f"{run.path} trains finalists of another search again; the test part is that search's: see "
            f"{RunFolder(Path(search.repeat.run)).command('evaluate')}"
        )
    patch_set = open_patch_set(*search.data_location)
    split = read_split(run.split_file)
    split.check_fingerprint(patch_set.fingerprint)
    rows = select_rows(patch_set, search.task_definition)
    is_test = split.folds_of(rows) == TEST
    if not is_test.any():
        raise RunError(
            f"{run.path} has no test part: the search was run with --test-share 0. See its scores out of "
            f"fold with: {run.command('leaderboard')}"
        )
    units = units_of(patch_set, rows, search.request.unit, search.task_definition)
    test, training = (scored_part(rows, units, part) for part in (is_test, ~is_test))
    return evaluate_test(
        run,
        ensemble=None if trial is not None else ensemble,
        trial=trial,
        refit=refit,
        operation=operation,
        predict=open_row_predictor(run, ensemble=ensemble, trial=trial, refit=refit, operation=operation),
        test_rows=test.rows,
        labels=test.labels,
        groups=test.groups,
        training_shares=_shares(training.labels, len(search.classes)),
        by=by,
        now=datetime.now(UTC),
    )


def _check_is_no_inner_search(run: RunFolder, outer: OuterPlace | None) -> None:
    if outer is not None:
        again = RunFolder(Path(outer.run))
        raise RunError(
            f"{run.path} is the search without outer fold {outer.fold} of {outer.folds}: what it did not see "
            "is that fold, which the nested score holds, and the sealed part of the outer search. See them "
            f"with: {again.command('nest')}, and: {again.command('evaluate')}"
        )


def scored_part(rows: TaskRows, units: IntArray | None, chosen: NDArray[np.bool_]) -> ScoredRows:
    """Return the images of a part, or the units that they make up.

    Args:
        rows: Rows of the task, of shape (n,).
        units: Unit of each row, or None for single images.
        chosen: True for the rows of the part.
    """
    places = np.flatnonzero(chosen)
    return scored_units(
        rows.rows[places],
        rows.labels[places],
        np.zeros(len(places), dtype=np.int64),
        rows.groups[places],
        None if units is None else units[places],
    )


def _shares(labels: IntArray, classes: int) -> FloatArray:
    """Share of each class, shape (classes,)."""
    return np.bincount(labels, minlength=classes) / len(labels)
