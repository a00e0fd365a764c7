"""Evaluation on the sealed test part: every opening is logged before a score is taken, then scores follow."""

import datetime
import html
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Group, RenderableType
from rich.table import Table

from results.ensembles.ensemble import BEST
from results.errors import RunError
from results.predictors.selected_model import SelectedModel, resolve_model
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, SplitName, caption_of, scored
from results.run.test_accesses import TestAccess, read_accesses, record_access
from results.scores.calibration import calibration_slope
from results.scores.confusion_table import confusion_table
from results.scores.cross_fitting import fewest_patients
from results.scores.decision_rule import BALANCED, OUT_OF_FOLD_DECISIONS
from results.scores.decisions import check_predictions, confusion, decisions
from results.scores.fixed_model import fixed_model_metrics
from results.scores.interval import Interval
from results.scores.leaderboard_table import few_patients_warning
from results.scores.metric import Metric
from results.scores.metrics import majority_baseline, metric_named
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.prevalence import rates_at_prevalence
from results.scores.triage import TriageShares, triage_shares
from results.tables import csv_text, result_table
from trainables.common.errors import OneClassError
from trainables.common.frozen import FrozenModel
from trainables.common.types import FloatArray, IntArray
from trainables.config.unit_config import PLURALS, UnitName

if TYPE_CHECKING:  # it takes a second to import, and the command line has no use for it
    import pandas as pd

Predictor = Callable[[IntArray], FloatArray]


class TestEvaluation(FrozenModel):
    """Scores of a model on the test part.

    Attributes:
        model: Name of the model, such as `ensemble average` or `trial 7`.
        trials: Trial numbers of its members.
        threshold: Smallest calibrated positive probability that was called positive.
        thresholds: Metric -> the threshold at which it is shown, where that is another one.
        best_for: Name of the metric that `threshold` was chosen for.
        objectives: Names of the metrics that the search optimises, the main one first.
        refit_digest: Digest of the refitted weights that were scored; None for fold models.
        opening: Number of this opening of these sealed patients, over all runs in the store, from 1; only
            the first one tests a model that was chosen without the test part.
        images: Number of test images.
        groups: Number of patients, or of images where patients are unknown.
        counts: Class -> number of test images.
        fewest_patients: Number of patients of the smallest class; None in files of earlier versions.
        calibration_slope: Slope that the calibrated logits still need, 1 if they are right; None beyond two
            classes, where the classes are separated, and in files of earlier versions.
        metrics: Every metric of `STANDARD`, and those that the search optimises or requires something of but
            for costs, each with its 95 % interval over patients; errors of probabilities are those at the
            prevalence of the data, whatever prevalence was asked for.
        expected: The same metrics out of fold, as they were known before the opening.
        baseline: The same metrics of a model that knows the class shares of the training part and nothing
            else.
        confusion: Counts; rows are the true class, columns the decided one.
        split: Name of the kind of split; with a `naive split` patients of the test part lie in the folds, so
            that scores are too high.
        is_ordinal: True where the classes are in an order of degree.
        operation: What was asked of the decisions.
        rates: At the prevalence that was asked for: positive and negative predictive value (`ppv`, `npv`) and
            `recall_rate`, each with its interval; empty where none was asked for.
        triage: What the rule of two thresholds does to the images; None without one.
        unit: What was scored: images, or the units that they make up, which `images` then counts.
    """

    __test__: ClassVar[bool] = False  # not a test case, whatever pytest makes of the name

    model: str
    trials: tuple[int, ...]
    classes: tuple[str, ...]
    threshold: float
    thresholds: dict[str, float] = Field(default_factory=dict)
    best_for: str = BALANCED
    objectives: tuple[str, ...] = ("auc",)
    refit_digest: str | None = None
    opening: int
    images: int
    groups: int
    counts: dict[str, int]
    fewest_patients: int | None = None
    calibration_slope: float | None = None
    metrics: dict[str, Interval]
    expected: dict[str, float]
    baseline: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    split: SplitName = GROUPED
    is_ordinal: bool = False
    operation: Operation = NOTHING_ASKED
    rates: dict[str, Interval] = Field(default_factory=dict)
    triage: TriageShares | None = None
    unit: UnitName = "image"

    def as_frame(self) -> "pd.DataFrame":
        """Return a row for each metric: on the test part with its interval, out of fold, and by majority."""
        import pandas as pd

        rows = {
            name: {
                "test": found.estimate,
                "test_low": found.low,
                "test_high": found.high,
                "out_of_fold": self.expected[name],
                "majority": self.baseline[name],
            }
            for name, found in self.metrics.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(_title(self))}; look number {self.opening}</p>{self.as_frame().to_html()}"


def evaluate_test(  # noqa: PLR0913 - what is asked, the part, and the circumstances
    run: RunFolder,
    *,
    ensemble: str | None = BEST,
    trial: int | None = None,
    refit: bool = False,
    operation: Operation = NOTHING_ASKED,
    predict: Predictor,
    test_rows: IntArray,
    labels: IntArray,
    groups: NDArray[Any],
    training_shares: FloatArray,
    by: str,
    now: datetime.datetime,
) -> TestEvaluation:
    """Score a model on the test part; the opening is on disk before a label is used for a score.

    Args:
        run: Folder of the search.
        ensemble: Name of the ensemble; not used if a trial is given.
        trial: Number of a single trial, or None.
        refit: Score the models that `orchestrate refit` trained.
        operation: What is asked of the decisions.
        predict: Function from rows (n,) to calibrated probabilities (n, classes).
        test_rows: Rows of the test part, shape (n,).
        labels: Class indices of these rows, shape (n,).
        groups: Patients of these rows, shape (n,).
        training_shares: Share of each class in the training part, shape (classes,).
        by: Command that opens the test part.
        now: Time of the opening.

    Raises:
        RunError: If there is no test image, or the log of openings is damaged.
        DataError: If `predict` returns anything but probabilities of these rows.
        OneClassError: If the test part holds a single class; it stays unopened.
    """
    if not len(test_rows):
        raise RunError(
            f"{run.path} has no test part: no image was sealed; search with a larger --test-share, or see "
            f"its scores out of fold with: {run.command('leaderboard')}"
        )
    request = run.search().request
    if np.ptp(labels) == 0:
        raise OneClassError(
            f"the {PLURALS[request.unit]} of the test part of {run.path} are of one class, and a score needs "
            "two, so that it stays sealed: search with a larger --test-share, or see the scores out of fold "
            f"with: {run.command('leaderboard')}"
        )
    model = resolve_model(run, ensemble=ensemble or BEST, trial=trial, refit=refit, operation=operation)
    access = TestAccess.of(
        groups,
        run=run.path,
        by=by,
        when=now,
        model=model.name,
        trials=model.trials,
        threshold=model.threshold,
        refit_digest=model.refit_digest,
    )
    before = len(read_accesses(run, patients=access.seen))
    record_access(run, access.opened)
    evaluation = score_test(
        model,
        predict(test_rows),
        labels,
        groups,
        training_shares=training_shares,
        opening=before + 1,
        seed=request.seed,
    ).model_copy(update={"unit": request.unit})
    record_access(run, access.ended(evaluation))
    return evaluation


def score_test(
    model: SelectedModel,
    probabilities: FloatArray,
    labels: IntArray,
    groups: NDArray[Any],
    *,
    training_shares: FloatArray,
    opening: int = 1,
    seed: int,
) -> TestEvaluation:
    """Compute all metrics with intervals; pure.

    Args:
        model: Model with its threshold and out-of-fold scores.
        probabilities: Calibrated probabilities, at the prevalence that was asked for, shape (images,
            classes).
        labels: Class indices, shape (images,).
        groups: Patient of each image, shape (images,).
        training_shares: Share of each class in the training part, shape (classes,).
        opening: Number of times that the test part has been opened, this time included.
        seed: Random seed of the intervals.

    Raises:
        DataError: If the shapes do not fit, or a probability is not a number in [0, 1].
        OneClassError: If `labels` holds a single class.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    check_predictions(labels, probabilities)
    classes = len(model.classes)
    decided = decisions(probabilities, model.threshold)
    of_data = model.at_prevalence_of_data(probabilities)
    rule = model.rule
    return TestEvaluation(
        model=model.name,
        trials=model.trials,
        classes=model.classes,
        threshold=model.threshold,
        thresholds=dict(model.rule.thresholds),
        best_for=model.rule.best_for,
        objectives=model.objectives.metrics,
        refit_digest=model.refit_digest,
        opening=opening,
        images=len(labels),
        groups=len(np.unique(groups)),
        counts={name: int((labels == index).sum()) for index, name in enumerate(model.classes)},
        fewest_patients=fewest_patients(labels, groups),
        calibration_slope=calibration_slope(labels, of_data) if classes == 2 else None,
        metrics=fixed_model_metrics(
            labels,
            probabilities,
            of_data,
            groups,
            threshold_of=rule.threshold_of,
            also=_asked(model),
            seed=seed,
        ),
        expected=model.metrics,
        baseline=majority_baseline(labels, classes, shares=training_shares, also=_asked(model)),
        confusion=tuple(map(tuple, confusion(labels, decided, classes).tolist())),
        split=model.split,
        is_ordinal=model.is_ordinal,
        operation=rule.operation,
        rates={}
        if rule.operation.prevalence is None
        else rates_at_prevalence(labels, decided, groups, rule.operation.prevalence, seed=seed),
        triage=None
        if rule.triage is None
        else triage_shares(labels, rule.triage.outcomes(probabilities[:, 1]), groups),
    )


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
                "out_of_fold": evaluation.expected.get(name),
                "majority": evaluation.baseline.get(name),
                "split": evaluation.split,
            }
            for name, found in evaluation.metrics.items()
        ),
        columns,
    )


def evaluation_table(evaluation: TestEvaluation) -> RenderableType:
    """Return metrics and confusion matrix as tables that fit 80 columns."""
    confused = confusion_table(evaluation.classes, evaluation.confusion, is_ordinal=evaluation.is_ordinal)
    return Group(_metric_table(evaluation), confused)


def _asked(model: SelectedModel) -> list[Metric]:
    """What tables show besides `STANDARD`, but for costs; the main metric first."""
    return [metric_named(name) for name in model.objectives.shown]


def _metric_table(evaluation: TestEvaluation) -> Table:
    table = result_table(
        title=_title(evaluation),
        title_justify="left",
    )
    for header in ("metric", "test [95 %]", "out of fold", "majority"):
        table.add_column(header, no_wrap=True, justify="left" if header == "metric" else "right")
    for name, found in evaluation.metrics.items():
        metric, expected = metric_named(name), evaluation.expected.get(name)
        table.add_row(
            scored(metric.header, evaluation.split),
            found.text(metric.digits),
            metric.text(expected),
            metric.text(evaluation.baseline.get(name)),
            style="bold" if name == evaluation.objectives[0] else None,
        )
    first = (
        "The first look at these patients."
        if evaluation.opening == 1
        else f"Look number {evaluation.opening} at these patients, over all runs in the store."
    )
    threshold = (
        f"Decisions at {evaluation.threshold:.3f}, {_said_of_thresholds(evaluation)}; "
        f"{OUT_OF_FOLD_DECISIONS}. "
        if len(evaluation.classes) == 2
        else ""
    )
    slope = evaluation.calibration_slope
    calibrated = "" if slope is None else f"Calibration slope {slope:.2f} (1 is calibrated). "
    warning = few_patients_warning(evaluation.fewest_patients)
    asked = _said_of_operation(evaluation)
    caption = f"{threshold}{first} Intervals are over patients. {calibrated}{asked}{warning}".strip()
    table.caption = caption_of(caption, evaluation.split)
    return table


def _said_of_operation(evaluation: TestEvaluation) -> str:
    """What was asked of the decisions, and what came of it."""
    asked, said = evaluation.operation, []
    confirmed = {"sensitivity": "recall", "specificity": "specificity"}
    if asked.at is not None and asked.at.aim in confirmed:
        name = confirmed[asked.at.aim]
        said.append(
            f"Asked: {asked.at}; out of fold {evaluation.expected[name]:.2f}, here "
            f"{evaluation.metrics[name].text()}."
        )
    if evaluation.rates:
        rates = ", ".join(
            f"{name.replace('_', ' ')} {value.text(3)}" for name, value in evaluation.rates.items()
        )
        said.append(
            f"At prevalence {asked.prevalence:g}: {rates}; LogLoss and Brier are those at that of the data."
        )
    if evaluation.triage is not None:
        said.append(evaluation.triage.text)
    return "".join(f"{one} " for one in said)


def _said_of_thresholds(evaluation: TestEvaluation) -> str:
    """Which metrics are shown at other thresholds, and what the model's own is best for."""
    own = [metric_named(name).header for name in evaluation.thresholds if name != evaluation.best_for]
    names = " and ".join([", ".join(own[:-1]), own[-1]] if len(own) > 1 else own)
    others = f"{names} at {'their own thresholds' if len(own) > 1 else 'its own threshold'}" if own else ""
    best = "" if evaluation.best_for == BALANCED else f"best for {metric_named(evaluation.best_for).header}"
    if evaluation.operation.at is not None:
        best = f"the one for {evaluation.operation.at} out of fold"
    return ", ".join(part for part in (best, others) if part)


def _title(evaluation: TestEvaluation) -> str:
    counts = ", ".join(f"{number} {name}" for name, number in evaluation.counts.items())
    return (
        f"{scored(evaluation.model, evaluation.split)} on the test part: "
        f"{evaluation.images} {PLURALS[evaluation.unit]} of {evaluation.groups} patients "
        f"({counts})"
    )
