"""Leaderboard of a run's trials with confidence intervals, from records and out-of-fold predictions only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from results.errors import ScoreError
from results.run.baseline_record import read_baseline
from results.run.prediction_costs import read_costs
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, SplitName
from results.scores.auc_interval import auc_interval
from results.scores.cost_columns import cost_of_trial
from results.scores.cross_fitting import fewest_patients
from results.scores.fold_scores import (
    collapsed_folds,
    fold_areas,
    objective_values,
    out_of_fold_metrics,
)
from results.scores.interval import Interval
from results.scores.joint_comparison import confidence_set
from results.scores.metric_interval import metric_interval
from results.scores.metrics import majority_baseline, metric_named
from results.scores.ranking import MOST_COMPARED, Objectives, objectives_of
from results.scores.selection import best_again
from results.scores.settings_text import labelled_settings, settings_text
from trainables.common.errors import OneClassError
from trainables.config.baseline import BASELINE_TEXT, REFERENCE_TEXT, is_baseline
from trainables.data.group_names import GroupUnit, group_unit

_DECISION_METRICS: Final = ("f2", "f1", "accuracy", "balanced_accuracy", "recall", "precision")
_STATES_IN_ORDER: Final = ("complete", "pruned", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the leaderboard; a value is None if the trial did not get that far.

    Attributes:
        rank: Rank from 1, for complete trials only.
        trial: Trial number; None for the majority baseline, and for the reference on colour and intensity
            only.
        cause: Reason why a trial was pruned or failed.
        metric: Name of the metric that the search optimises, the first of several.
        value: Value of that metric, which ranks the trials; see `results.scores.fold_scores`.
        low: Lower end of the 95 % interval of `value` over patients and training parts; `high` is the upper
            one. It takes the trial as given: that rank 1 was selected by its score is corrected in
            `selected_value`. None for trials that are not complete, or too far behind to be compared.
        values: Metric -> value, for the other metrics that the search optimises or requires something of.
        is_on_front: With several metrics, True if no other trial that keeps the requirements is better in all
            of them; None for a search of one metric, and for trials without a rank.
        missed: Requirements that the trial does not keep, such as `recall 0.85 < 0.9`.
        auc: Mean over folds of the AUC within each fold. Pooling the folds would compare scores of different
            models, each with its own calibration.
        auc_low: Lower end of its 95 % interval over patients and training parts.
        auc_sd: Standard deviation of the AUC over folds (n - 1).
        f2: This and the other decision metrics pool all images, each decided by a threshold that was chosen
            on the other folds: for F1, F2 and what the search optimises the best for that metric, else
            that of the model.
        collapsed: 0-based folds that give every image the same score.
        is_optimistic: True if held-out labels chose the trial's epoch, by the metric itself or fold by fold:
            its scores are too high, and no rank of it is a fair one.
        is_baseline: True for a closed-form head on colour and intensity only, the simplest explanation: a
            trial, or the reference of a search without such a trial, whose state is `reference`.
        tied: True for the trials that may be the best, False for those that are worse: the model confidence
            set at 95 %, by `metric`, of the trials that keep the requirements. None for rows that were not
            compared.
        selected_value: For rank 1, the metric of the best trial chosen anew without each fold, which its
            selection does not raise; `selected_low` and `selected_high` are the ends of its 95 % interval.
            None for other rows, and where there are too few patients.
        fewest_patients: Number of patients of the smallest class among these predictions, or of what
            `group_unit` names.
        group_unit: `patient`; where patients are not known `image`, or `image group`.
        epochs: Number of epochs that were run; `best_epoch` is the one kept.
        ms_per_image: Milliseconds of one image on one core, measured on the exported graph of the trial with
            all its fold models; None where it was not measured. `gpu_ms_per_image` is that on a GPU,
            where `gpu_runtime` computed (`onnxruntime` or `torch`), and `megabytes` the size of the file in
            10^6 bytes.
        settings: Main settings of the configuration, as text.
        split: Name of the kind of split: `grouped split`, or `naive split` if patients lie in several folds
            and scores are too high.
    """

    rank: int | None
    trial: int | None
    state: Literal["complete", "pruned", "failed", "reference", "baseline"]
    cause: str | None = None
    metric: str = "auc"
    value: float | None = None
    low: float | None = None
    high: float | None = None
    values: dict[str, float | None] = field(default_factory=dict)
    is_on_front: bool | None = None
    missed: tuple[str, ...] = ()
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    auc_sd: float | None = None
    f2: float | None = None
    f1: float | None = None
    accuracy: float | None = None
    balanced_accuracy: float | None = None
    recall: float | None = None
    precision: float | None = None
    collapsed: tuple[int, ...] = ()
    is_optimistic: bool = False
    is_baseline: bool = False
    tied: bool | None = None
    selected_value: float | None = None
    selected_low: float | None = None
    selected_high: float | None = None
    fewest_patients: int | None = None
    group_unit: GroupUnit = "patient"
    epochs: int | None = None
    best_epoch: int | None = None
    wall_seconds: float | None = None
    trained_parameters: int | None = None
    ms_per_image: float | None = None
    gpu_ms_per_image: float | None = None
    gpu_runtime: str | None = None
    megabytes: float | None = None
    settings: str = ""
    split: SplitName = GROUPED

    @property
    def interval(self) -> str:
        """Text such as `0.71 [0.66, 0.76]`, without brackets if there is no interval."""
        digits = metric_named(self.metric).digits
        if self.value is None:
            return "-"
        if self.low is None or self.high is None:
            return f"{self.value:.{digits}f}"
        return Interval(self.value, self.low, self.high).text(digits)

    def value_of(self, metric: str) -> float | None:
        """Return the value of a metric; None where it is not known."""
        if metric == self.metric:
            return self.value
        found: float | None = self.values.get(metric, getattr(self, metric, None))
        return found


def leaderboard(run: RunFolder) -> list[Row]:
    """Rank the trials of a run.

    Of more than `MOST_COMPARED` complete trials the best by their records are compared, and have scores and
    intervals; so has the best on colour and intensity only. The others have what their records hold.

    Args:
        run: Folder of the search, finished or not.

    Returns:
        Complete trials by what the search optimises and requires (of equals, the one with fewer trained
        parameters), the reference on colour and intensity only where no complete trial is one, the majority
        baseline, then pruned and failed trials without a rank. Trials whose files are damaged are left out;
        `damaged_trials` names them.

    Raises:
        RunError: If this is not a run folder.
        DataError: If two complete trials do not hold the same images in the same folds.
    """
    search = run.search()
    objectives, seed = objectives_of(search), search.request.seed
    records, costs = _ranked(run.records(), objectives), read_costs(run)
    complete = [record for record in records if record.state == "complete"]
    readable = list(run.readable_predictions(complete[:MOST_COMPARED]))
    others = complete[MOST_COMPARED:]
    predictions = [own for _, own in readable]
    values = [objectives.values_of(record) for record in (*(record for record, _ in readable), *others)]
    may_be_best = _may_be_best(predictions, values[: len(readable)], objectives, seed)
    on_front = objectives.is_on_front(values) if len(objectives.metrics) > 1 else [None] * len(values)
    rows: list[Row] = []
    for place, (record, own) in enumerate(readable):
        row = {**_row_of(record, objectives), **_scores(own, objectives, seed), "rank": place + 1}
        row |= cost_of_trial(record, costs)
        row |= {"tied": may_be_best[place], "is_on_front": on_front[place], "split": search.split_name}
        row["collapsed"] = collapsed_folds(own)  # of earlier versions the record knew another rule
        if place == 0:
            row |= _corrected(readable, objectives, seed)
        rows.append(Row(**row))
    simplest = {own.number: found for own, found in run.readable_predictions(_simplest(rows, others))}
    for place, record in enumerate(others, start=len(readable)):
        row = {**_row_of(record, objectives), "rank": place + 1, "is_on_front": on_front[place]}
        if record.number in simplest:
            row |= _scores(simplest[record.number], objectives, seed)
        rows.append(Row(**row | cost_of_trial(record, costs) | {"split": search.split_name}))
    if not search.task_definition.takes_table and not any(row.is_baseline for row in rows):
        rows += _reference_rows(run, search, objectives, is_needed=bool(rows))
    if predictions:
        rows.append(_constant_row(predictions[0], search.split_name, objectives))
    return rows + [
        Row(rank=None, split=search.split_name, **_row_of(record, objectives))
        for record in records
        if record.state != "complete"
    ]


def _ranked(records: Sequence[TrialRecord], objectives: Objectives) -> list[TrialRecord]:
    """Complete trials, then pruned, then failed ones, each from best to worst."""
    found = []
    for state in _STATES_IN_ORDER:
        found += objectives.rank(record for record in records if record.state == state)
    return found


def _simplest(compared: Sequence[Row], others: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The best of the other trials on colour and intensity only, unless a trial that is compared is one."""
    if any(row.is_baseline for row in compared):
        return []
    return [record for record in others if is_baseline(record.config)][:1]


def _may_be_best(
    predictions: Sequence[OutOfFold],
    values: Sequence[Mapping[str, float | None]],
    objectives: Objectives,
    seed: int,
) -> list[bool | None]:
    """The confidence set of the trials that keep the requirements; of all, if none does."""
    able = [place for place, own in enumerate(values) if objectives.violation_of(own) == 0]
    compared = able or list(range(len(values)))
    found: list[bool | None] = [None] * len(values)
    if compared:
        inside = confidence_set([predictions[place] for place in compared], seed=seed, objectives=objectives)
        for place, is_in in zip(compared, inside, strict=True):
            found[place] = is_in
    return found


def _row_of(record: TrialRecord, objectives: Objectives) -> dict[str, Any]:
    values = objectives.values_of(record)
    return {
        "trial": record.number,
        "state": record.state,
        "cause": record.cause,
        "metric": objectives.metrics[0],
        "value": record.value,
        "values": {name: values.get(name) for name in objectives.needed[1:]},
        "missed": objectives.missed(values) if record.state == "complete" else (),
        "collapsed": record.collapsed_folds,
        "is_optimistic": record.is_optimistic,
        "is_baseline": is_baseline(record.config),
        "epochs": record.epochs,
        "best_epoch": record.best_epoch,
        "wall_seconds": record.wall_seconds,
        "trained_parameters": record.trained_parameters,
        "settings": labelled_settings(record),
    }


def _scores(predictions: OutOfFold, objectives: Objectives, seed: int) -> dict[str, Any]:
    areas = fold_areas(predictions)
    found, interval = out_of_fold_metrics(predictions, objectives), auc_interval(predictions)
    main = objectives.metrics[0]
    own = interval if main == "auc" else metric_interval(predictions, main, objectives.metrics, seed=seed)
    return {
        "low": own.low,
        "high": own.high,
        "auc": interval.estimate,
        "auc_low": interval.low,
        "auc_high": interval.high,
        "auc_sd": float(np.std(areas, ddof=1)) if len(areas) > 1 else None,
        "fewest_patients": fewest_patients(predictions.labels, predictions.groups),
        "group_unit": group_unit(predictions.groups),
        **{name: found[name] for name in _DECISION_METRICS},
    }


def _corrected(
    readable: Sequence[tuple[TrialRecord, OutOfFold]], objectives: Objectives, seed: int
) -> dict[str, float]:
    """Score of the selection itself; nothing where too few patients are left to hold any out."""
    try:
        again = best_again(readable, objectives, seed=seed)
        found = metric_interval(again, objectives.metrics[0], objectives.metrics, seed=seed)
    except (ScoreError, OneClassError):
        return {}
    return {"selected_value": found.estimate, "selected_low": found.low, "selected_high": found.high}


def _reference_rows(
    run: RunFolder, search: SearchRecord, objectives: Objectives, *, is_needed: bool
) -> list[Row]:
    """The baseline on colour and intensity only where no trial is one: no candidate, so without a rank.

    A run of an earlier version has none. Its row says so where there are trials that need the comparison.
    """
    found, scores = read_baseline(run), dict[str, Any]()
    if found is None and not is_needed:
        return []
    if found is None:
        text = f"{BASELINE_TEXT}: not scored yet; orchestrate resume does it, at the latest after all trials"
    elif found[1] is None:
        text = f"{BASELINE_TEXT}: {found[0].error}"
    else:
        text = f"{settings_text(found[0].config)} ({REFERENCE_TEXT})"
        values = objective_values(found[1], objectives)
        scores = _scores(found[1], objectives, search.request.seed)
        scores |= {"value": values[objectives.metrics[0]]}
        scores |= {"values": {name: values.get(name) for name in objectives.needed[1:]}}
    row = Row(
        rank=None,
        trial=None,
        state="reference",
        metric=objectives.metrics[0],
        is_baseline=True,
        settings=text,
        split=search.split_name,
        **scores,
    )
    return [row]


def _constant_row(predictions: OutOfFold, split: SplitName, objectives: Objectives) -> Row:
    """The better of two answers that look at no image: the majority class, and the positive class.

    The second is the better one by metrics that forgive false alarms, such as F2.
    """
    asked, classes = [metric_named(name) for name in objectives.needed], predictions.probabilities.shape[1]
    found = majority_baseline(predictions.labels, classes, also=asked)
    answer, metric = "majority", asked[0]
    if classes == 2 and metric.judges_decisions:
        positive = majority_baseline(predictions.labels, classes, also=asked, threshold=0.0)
        if objectives.main.is_better(positive[metric.name], found[metric.name]):
            answer, found = "positive", positive
    return Row(
        rank=None,
        trial=None,
        state="baseline",
        metric=objectives.metrics[0],
        value=found[objectives.metrics[0]],
        values={name: found.get(name) for name in objectives.needed[1:]},
        auc=found["auc"],
        settings=f"always the {answer} class",
        split=split,
        f2=found["f2"],
        f1=found["f1"],
        accuracy=found["accuracy"],
        balanced_accuracy=found["balanced_accuracy"],
        recall=found["recall"],
        precision=found["precision"],
    )
