"""Evaluation on the sealed test part: every opening is logged before a label is used, then scores follow."""

import datetime
import json
import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.table import Table

from results.ensembles.build import BEST
from results.errors import RunError
from results.predictors.selected_model import SelectedModel, resolve_model
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, SplitName, caption_of, scored
from results.scores.bootstrap import Interval, Statistic, bootstrap_interval, fold_auc_statistic
from results.scores.metrics import METRICS, check_predictions, confusion, decisions, majority_baseline
from results.tables import csv_text, result_table
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray

Predictor = Callable[[IntArray], FloatArray]
_RESAMPLES: Final = 1000


class TestEvaluation(FrozenModel):
    """Scores of a model on the test part.

    Attributes:
        model: Name of the model, such as `ensemble average` or `trial 7`.
        trials: Trial numbers of its members.
        threshold: Smallest calibrated positive probability that was called positive.
        opening: Number of this opening of the test part in the run, from 1; only the first one tests a model
            that was chosen without the test part.
        images: Number of test images.
        groups: Number of patients, or of images where patients are unknown.
        counts: Class -> number of test images.
        metrics: Every metric of `METRICS` with its 95 % interval over resampled patients.
        expected: The same metrics out of fold, as they were known before the opening.
        baseline: The same metrics of a model that knows the class shares and nothing else.
        confusion: Counts; rows are the true class, columns the decided one.
        split: Name of the kind of split; with a `naive split` patients of the test part lie in the folds, so
            that scores are too high.
    """

    __test__: ClassVar[bool] = False  # not a test case, whatever pytest makes of the name

    model: str
    trials: tuple[int, ...]
    classes: tuple[str, ...]
    threshold: float
    opening: int
    images: int
    groups: int
    counts: dict[str, int]
    metrics: dict[str, Interval]
    expected: dict[str, float]
    baseline: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    split: SplitName = GROUPED


class TestAccess(FrozenModel):
    """One time that the test part was read.

    Attributes:
        opening: Name that ties a result to its opening.
        when: Time of the opening, with time zone.
        by: Command that opened the test part.
        images: Number of test images.
        result: Scores of the model; None if the command failed after the opening.
    """

    __test__: ClassVar[bool] = False  # not a test case, whatever pytest makes of the name

    opening: str
    when: datetime.datetime
    by: str
    model: str
    trials: tuple[int, ...]
    threshold: float
    images: int
    result: TestEvaluation | None = None


def evaluate_test(  # noqa: PLR0913 - what is asked, the part, and the circumstances
    run: RunFolder,
    *,
    ensemble: str | None = BEST,
    trial: int | None = None,
    refit: bool = False,
    predict: Predictor,
    test_rows: IntArray,
    labels: IntArray,
    groups: NDArray[Any],
    by: str,
    now: datetime.datetime,
    resamples: int = _RESAMPLES,
) -> TestEvaluation:
    """Score a model on the test part; the opening is on disk before a label is used.

    Args:
        run: Folder of the search.
        ensemble: Name of the ensemble; not used if a trial is given.
        trial: Number of a single trial, or None.
        refit: Score the models that `orchestrate refit` trained.
        predict: Function from rows (n,) to calibrated probabilities (n, classes).
        test_rows: Rows of the test part, shape (n,).
        labels: Class indices of these rows, shape (n,).
        groups: Patients of these rows, shape (n,).
        by: Command that opens the test part.
        now: Time of the opening.
        resamples: Number of bootstrap resamples of patients.

    Raises:
        RunError: If there is no test image, or the log of openings is damaged.
        DataError: If `predict` returns anything but probabilities of these rows.
        OneClassError: If the test part holds a single class.
    """
    if not len(test_rows):
        raise RunError(f"{run.path} has no test part: no image was sealed; search with a larger --test-share")
    model = resolve_model(run, ensemble=ensemble or BEST, trial=trial, refit=refit)
    before = len(read_accesses(run))
    opening = TestAccess(
        opening=uuid.uuid4().hex,
        when=now,
        by=by,
        model=model.name,
        trials=model.trials,
        threshold=model.threshold,
        images=len(test_rows),
    )
    record_access(run, opening.model_dump(mode="json", exclude={"result"}))
    evaluation = score_test(
        model,
        predict(test_rows),
        labels,
        groups,
        opening=before + 1,
        resamples=resamples,
        seed=run.search().request.seed,
    )
    record_access(run, {"opening": opening.opening, "result": evaluation.model_dump(mode="json")})
    return evaluation


def score_test(
    model: SelectedModel,
    probabilities: FloatArray,
    labels: IntArray,
    groups: NDArray[Any],
    *,
    opening: int = 1,
    resamples: int = _RESAMPLES,
    seed: int,
) -> TestEvaluation:
    """Compute all metrics with intervals; pure.

    Args:
        model: Model with its threshold and out-of-fold scores.
        probabilities: Calibrated probabilities, shape (images, classes).
        labels: Class indices, shape (images,).
        groups: Patient of each image, shape (images,).
        opening: Number of times that the test part has been opened, this time included.
        resamples: Number of bootstrap resamples of patients.
        seed: Random seed of the resamples.

    Raises:
        DataError: If the shapes do not fit, or a probability is not a number in [0, 1].
        OneClassError: If `labels` holds a single class.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    check_predictions(labels, probabilities)
    classes = len(model.classes)
    decided = decisions(probabilities, model.threshold)
    return TestEvaluation(
        model=model.name,
        trials=model.trials,
        classes=model.classes,
        threshold=model.threshold,
        opening=opening,
        images=len(labels),
        groups=len(np.unique(groups)),
        counts={name: int((labels == index).sum()) for index, name in enumerate(model.classes)},
        metrics={
            name: bootstrap_interval(
                groups, _statistic(name, labels, probabilities, decided), resamples=resamples, seed=seed
            )
            for name in METRICS
        },
        expected=model.metrics,
        baseline=majority_baseline(labels, classes),
        confusion=tuple(map(tuple, confusion(labels, decided, classes).tolist())),
        split=model.split,
    )


def record_access(run: RunFolder, entry: Mapping[str, Any]) -> None:
    """Append one line to the log of openings; it is on the disk when this returns.

    Args:
        run: Folder of the search.
        entry: Plain values of the line; `opening` names the opening that it belongs to.
    """
    is_new = not run.openings_file.exists()
    with run.openings_file.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        _flush_folder(run)


def read_accesses(run: RunFolder) -> list[TestAccess]:
    """Return every time that the test part was read, oldest first.

    Raises:
        RunError: If a line of the log cannot be read; the log is evidence, so it is never repaired silently.
    """
    if not run.openings_file.exists():
        return []
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(run.openings_file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            found.setdefault(entry["opening"], {}).update(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(run, f"line {number}") from error
    try:
        return [TestAccess.model_validate(entry) for entry in found.values()]
    except ValidationError as error:
        raise _damaged(run, str(error.errors()[0]["loc"])) from error


def evaluation_as_json(evaluation: TestEvaluation) -> dict[str, Any]:
    """Return the evaluation as plain values."""
    return evaluation.model_dump(mode="json")


def evaluation_as_csv(evaluation: TestEvaluation) -> str:
    """Return one row for each metric, as CSV with a header."""
    columns = ("model", "metric", "test", "test_low", "test_high", "out_of_fold", "majority", "split")
    return csv_text(
        (
            {
                "model": evaluation.model,
                "metric": name,
                "test": found.estimate,
                "test_low": found.low,
                "test_high": found.high,
                "out_of_fold": evaluation.expected[name],
                "majority": evaluation.baseline[name],
                "split": evaluation.split,
            }
            for name, found in evaluation.metrics.items()
        ),
        columns,
    )


def evaluation_table(evaluation: TestEvaluation) -> RenderableType:
    """Return metrics and confusion matrix as tables that fit 80 columns."""
    return Group(_metric_table(evaluation), _confusion_table(evaluation))


def _statistic(name: str, labels: IntArray, probabilities: FloatArray, decided: IntArray) -> Statistic:
    if name == "auc":
        return fold_auc_statistic(labels, probabilities)
    if METRICS[name].needs_threshold:
        return _decision_statistic(name, labels, decided, probabilities.shape[1])
    return _probability_statistic(name, labels, probabilities)


def _decision_statistic(name: str, labels: IntArray, decided: IntArray, classes: int) -> Statistic:
    cells = np.eye(classes * classes, dtype=np.int64)[labels * classes + decided]

    def values(counts: IntArray) -> FloatArray:
        matrices = (counts @ cells).reshape(-1, classes, classes)
        has_two = (matrices.sum(axis=2) > 0).sum(axis=1) > 1
        return np.where(has_two, METRICS[name].function(matrices), np.nan)

    return values


def _probability_statistic(name: str, labels: IntArray, probabilities: FloatArray) -> Statistic:
    def value(counts: IntArray) -> float:
        drawn = np.repeat(np.arange(len(labels)), counts)
        if np.ptp(labels[drawn]) == 0:
            return float("nan")
        return float(METRICS[name].function(labels[drawn], probabilities[drawn]))

    return lambda counts: np.array([value(one) for one in counts])


def _damaged(run: RunFolder, where: str) -> RunError:
    return RunError(
        f"{run.openings_file} is damaged at {where}; it is the record of who looked at the test part: "
        "restore it from a backup, or mend that line by hand"
    )


def _flush_folder(run: RunFolder) -> None:
    # The name of a new file is safe on the disk only after its folder is flushed, too.
    descriptor = os.open(run.path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _metric_table(evaluation: TestEvaluation) -> Table:
    table = result_table(
        title=_title(evaluation),
        title_justify="left",
    )
    for header in ("metric", "test [95 %]", "out of fold", "majority"):
        table.add_column(header, no_wrap=True, justify="left" if header == "metric" else "right")
    for name, found in evaluation.metrics.items():
        expected, baseline = evaluation.expected[name], evaluation.baseline[name]
        header = scored(METRICS[name].header, evaluation.split)
        table.add_row(header, str(found), f"{expected:.2f}", f"{baseline:.2f}")
    first = "The first look at it." if evaluation.opening == 1 else f"Look number {evaluation.opening} at it."
    threshold = f"Decisions at {evaluation.threshold:.3f}. " if len(evaluation.classes) == 2 else ""
    table.caption = caption_of(f"{threshold}{first} Intervals resample patients.", evaluation.split)
    return table


def _title(evaluation: TestEvaluation) -> str:
    counts = ", ".join(f"{number} {name}" for name, number in evaluation.counts.items())
    return (
        f"{scored(evaluation.model, evaluation.split)} on the test part: "
        f"{evaluation.images} images of {evaluation.groups} patients "
        f"({counts})"
    )


def _confusion_table(evaluation: TestEvaluation) -> Table:
    table = result_table(padding=(0, 1))
    table.add_column("true \\ called", no_wrap=True)
    for name in evaluation.classes:
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in zip(evaluation.classes, evaluation.confusion, strict=True):
        table.add_row(name, *map(str, row))
    return table
