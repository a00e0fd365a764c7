"""Evaluation on the sealed test part: every opening is logged before a score is taken, then scores follow."""

import datetime
import html
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat
from rich.console import Group, RenderableType
from rich.table import Table

from results.ensembles.ensemble import BEST
from results.errors import RunError
from results.predictors.selected_model import SelectedModel, resolve_model
from results.run.run_folder import RunFolder
from results.run.split_labels import caption_of, scored
from results.run.test_accesses import TestAccess, read_accesses, record_access, unknown_looks
from results.scores.calibration_quality import CalibrationQuality
from results.scores.confusion_table import confusion_table
from results.scores.decision_rule import BALANCED, OUT_OF_FOLD_DECISIONS, said_of_aim
from results.scores.decisions import check_predictions
from results.scores.fixed_model import FixedModelScores, score_fixed_model
from results.scores.fixed_model_table import said_of_looks, said_of_thresholds, scores_table
from results.scores.leaderboard_table import few_patients_warning
from results.scores.metrics import STANDARD, metric_named
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.tables import csv_text
from trainables.common.errors import OneClassError
from trainables.common.types import FloatArray, IntArray
from trainables.config.unit_config import PLURALS, UnitName

if TYPE_CHECKING:  # it takes a second to import, and the command line has no use for it
    import pandas as pd

Predictor = Callable[[IntArray], FloatArray]

_SAME: Final = 1e-9  # of a score out of fold, between the same predictions scored on two machines


class TestEvaluation(FixedModelScores):
    """Scores of a model on the test part.

    Attributes:
        trials: Trial numbers of its members.
        threshold: Smallest calibrated positive probability that was called positive; 0.5 beyond two classes.
        best_for: Name of the metric that `threshold` was chosen for.
        objectives: Names of the metrics that the search optimises, the main one first.
        refit_digest: Digest of the refitted weights that were scored; None for fold models.
        opening: Number of this opening of these sealed patients, over all runs in the store, from 1; only
            the first one tests a model that was chosen without the test part.
        unknown_looks: Sentence on looks of earlier searches that could not be counted; empty for none.
        calibration_slope: Slope that the calibrated logits still need, 1 if they are right, as `calibration`
            has it with its interval; None beyond two classes, where the classes are separated, and in files
            of earlier versions.
    """

    __test__: ClassVar[bool] = False  # not a test case, whatever pytest makes of the name

    trials: tuple[int, ...]
    threshold: FiniteFloat
    best_for: str = BALANCED
    objectives: tuple[str, ...] = ("auc",)
    refit_digest: str | None = None
    opening: int
    unknown_looks: str = ""
    calibration_slope: float | None = None

    @property
    def said_of_look(self) -> str:
        """Say which look this was, as a part of a sentence."""
        if self.unknown_looks:
            return f"look number {self.opening} of those that are known"
        return "the first look" if self.opening == 1 else f"look number {self.opening}"

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
        title = html.escape(str(_metric_table(self).title))
        return f"<p>{title}; look number {self.opening}</p>{self.as_frame().to_html()}"


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
        model_digest=model.digest,
    )
    read_accesses(run, patients=access.seen)  # a damaged log is refused before anything is opened
    record_access(run, access.opened)
    looks = len(
        read_accesses(run, patients=access.seen)
    )  # this one, too: of two at once neither is the first
    evaluation = score_test(
        model,
        predict(test_rows),
        labels,
        groups,
        training_shares=training_shares,
        opening=looks,
        seed=request.seed,
        unit=request.unit,
    )
    evaluation = evaluation.model_copy(update={"unknown_looks": unknown_looks(run)})
    record_access(run, access.ended(evaluation))
    return evaluation


def first_look(run: RunFolder, model: SelectedModel) -> tuple[TestAccess, TestEvaluation] | None:
    """Return the first opening of a run's test part by exactly this model, and its scores; None without one.

    Another refit of its trials, a trial that was run again, an ensemble that was built again, and other
    decisions are other models. An opening that a log of an earlier version tells, which knows no digest of
    the model, is taken for this one's only if its scores out of fold were the same, too.

    Args:
        run: Folder of the search.
        model: The model, with its decisions.

    Raises:
        RunError: If the log of openings is damaged.
    """
    for access in read_accesses(run):
        if access.result is None:
            continue
        found = TestEvaluation.model_validate(access.result)
        if _is_of(access, found, model):
            return access, found
    return None


def _is_of(access: TestAccess, found: TestEvaluation, model: SelectedModel) -> bool:
    asked, was_asked = model.rule.operation, found.operation
    known = (access.model, access.trials, access.threshold, access.refit_digest)
    wanted = (model.name, model.trials, model.threshold, model.refit_digest)
    if known != wanted or (was_asked.at, was_asked.prevalence) != (asked.at, asked.prevalence):
        return False
    if access.model_digest is not None:
        return access.model_digest == model.digest
    names = STANDARD.keys() & found.expected.keys() & model.metrics.keys()
    return bool(names) and all(
        math.isclose(found.expected[name], model.metrics[name], rel_tol=_SAME) for name in names
    )


def score_test(  # noqa: PLR0913 - what was predicted, and by which model
    model: SelectedModel,
    probabilities: FloatArray,
    labels: IntArray,
    groups: NDArray[Any],
    *,
    training_shares: FloatArray,
    opening: int = 1,
    seed: int,
    unit: UnitName = "image",
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
        unit: What is scored.

    Raises:
        DataError: If the shapes do not fit, or a probability is not a number in [0, 1].
        OneClassError: If `labels` holds a single class.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    check_predictions(labels, probabilities)
    scores = score_fixed_model(
        labels,
        probabilities,
        model.at_prevalence_of_data(probabilities),
        groups,
        classes=model.classes,
        rule=model.rule,
        training_shares=training_shares,
        also=[metric_named(name) for name in model.objectives.shown],
        seed=seed,
    )
    quality: CalibrationQuality | None = scores["calibration"]
    return TestEvaluation(
        **scores,
        unit=unit,
        model=model.name,
        trials=model.trials,
        threshold=model.threshold,
        best_for=model.rule.best_for,
        objectives=model.objectives.metrics,
        refit_digest=model.refit_digest,
        opening=opening,
        calibration_slope=None if quality is None or quality.slope is None else quality.slope.estimate,
        expected=model.metrics,
        split=model.split,
        is_ordinal=model.is_ordinal,
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


def _metric_table(evaluation: TestEvaluation) -> Table:
    table = scores_table(
        evaluation,
        name=scored(evaluation.model, evaluation.split),
        place="the test part",
        here="test [95 %]",
        main=evaluation.objectives[0],
        split=evaluation.split,
    )
    looks = said_of_looks(evaluation.opening, evaluation.group_unit, "over all runs in the store")
    if evaluation.unknown_looks:
        said = evaluation.unknown_looks
        looks = f"{said[0].upper()}{said[1:]}; of those known: look number {evaluation.opening}."
    warning = few_patients_warning(evaluation.fewest_patients, evaluation.group_unit)
    asked = _said_of_operation(evaluation)
    caption = (
        f"{_said_of_decisions(evaluation)}{looks} Intervals are over {evaluation.group_unit}s. "
        f"{_said_of_calibration(evaluation)}{asked}{warning}"
    )
    table.caption = caption_of(caption.strip(), evaluation.split)
    return table


def _said_of_calibration(evaluation: TestEvaluation) -> str:
    if evaluation.calibration is not None:
        return f"{evaluation.calibration.text} "
    slope = evaluation.calibration_slope  # of an earlier version
    return "" if slope is None else f"Calibration slope {slope:.2f} (1 is calibrated). "


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


def _said_of_decisions(evaluation: TestEvaluation) -> str:
    """At which thresholds it decides, and what the model's own is best for."""
    if len(evaluation.classes) > 2:
        return ""
    at, best = evaluation.operation.at, ""
    if at is not None or evaluation.best_for != BALANCED:
        aim = said_of_aim(evaluation.best_for, at)
        best = f"best for {aim}" if at is None else f"the one for {aim} out of fold"
    others = said_of_thresholds(evaluation.thresholds, evaluation.threshold, evaluation.metrics)
    said = ", ".join(part for part in (f"Decisions at {evaluation.threshold:.3f}", best, others) if part)
    return f"{said}; {OUT_OF_FOLD_DECISIONS}. "
