"""Leaderboard of a run's trials with confidence intervals, from records and out-of-fold predictions only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal

import numpy as np
from rich.table import Table

from results.errors import ScoreError
from results.run.prediction_costs import read_costs
from results.run.records import OutOfFold, TrialRecord
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, SplitName, caption_of, interval_header
from results.scores.auc_interval import auc_interval
from results.scores.comparison import confidence_set
from results.scores.cost_columns import COST_COLUMNS, cost_of_trial, said_of_costs
from results.scores.cross_fitting import fewest_patients
from results.scores.fold_scores import collapsed_folds, fold_areas, out_of_fold_metrics
from results.scores.interval import Interval
from results.scores.metric import Metric
from results.scores.metric_interval import metric_interval
from results.scores.metrics import majority_baseline, metric_named
from results.scores.ranking import BY_AUC, Objectives, objectives_of
from results.scores.selection import selected_again
from results.tables import csv_text, result_table
from trainables.common.errors import OneClassError
from trainables.common.text import count_text
from trainables.config.baseline import BASELINE_TEXT, is_baseline
from trainables.config.trial_config import flatten
from trainables.config.unit_config import ATTENTION, PLURALS, UnitName
from trainables.estimators.registry import ESTIMATORS

_DECISION_METRICS: Final = ("f2", "f1", "accuracy", "balanced_accuracy", "recall", "precision")
FEW_PATIENTS: Final = 10  # of one class; below, a table says so
OPTIMISTIC: Final = "†"  # behind the number of a trial, in tables
OPTIMISTIC_NOTE: Final = (
    "too high: held-out labels chose the epoch (training.checkpoint_metric=metric or "
    "training.early_stopping_scope=fold), so its rank is not a fair one."
)
_STATES_IN_ORDER: Final = ("complete", "pruned", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the leaderboard; a value is None if the trial did not get that far.

    Attributes:
        rank: Rank from 1, for complete trials only.
        trial: Trial number; None for the majority baseline.
        cause: Reason why a trial was pruned or failed.
        metric: Name of the metric that the search optimises, the first of several.
        value: Value of that metric, which ranks the trials; see `results.scores.fold_scores`.
        low: Lower end of the 95 % interval of `value` over patients and training parts; `high` is the upper
            one. It takes the trial as given: that rank 1 was selected by its score is corrected in
            `selected_value`. None for trials that are not complete.
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
        is_baseline: True for a closed-form head on colour and intensity only, the simplest explanation.
        tied: True for the trials that may be the best, False for those that are worse: the model confidence
            set at 95 %, by `metric`, of the trials that keep the requirements. None for rows that were not
            compared.
        selected_value: For rank 1, the metric of the best trial chosen anew without each fold, which its
            selection does not raise; `selected_low` and `selected_high` are the ends of its 95 % interval.
            None for other rows, and where there are too few patients.
        fewest_patients: Number of patients of the smallest class among these predictions.
        epochs: Number of epochs that were run; `best_epoch` is the one kept.
        ms_per_image: Milliseconds of one image on one core, measured on the exported graph of the trial with
            all its fold models; None where it was not measured. `gpu_ms_per_image` is that on a GPU, and
            `megabytes` the size of the file in 10^6 bytes.
        settings: Main settings of the configuration, as text.
        split: Name of the kind of split: `grouped split`, or `naive split` if patients lie in several folds
            and scores are too high.
    """

    rank: int | None
    trial: int | None
    state: Literal["complete", "pruned", "failed", "baseline"]
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
    epochs: int | None = None
    best_epoch: int | None = None
    wall_seconds: float | None = None
    trained_parameters: int | None = None
    ms_per_image: float | None = None
    gpu_ms_per_image: float | None = None
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

    Args:
        run: Folder of the search, finished or not.

    Returns:
        Complete trials by what the search optimises and requires (of equals, the one with fewer trained
        parameters), the majority baseline, then pruned and failed trials without a rank. Trials whose files
        are damaged are left out; `RunFolder.damage` names them.

    Raises:
        RunError: If this is not a run folder, or a complete trial lost its predictions.
        DataError: If two complete trials do not hold the same images in the same folds.
    """
    search = run.search()
    objectives, seed = objectives_of(search), search.request.seed
    records, costs = _ranked(run.records(), objectives), read_costs(run)
    complete = [record for record in records if record.state == "complete"]
    readable = list(run.readable_predictions(complete))
    predictions = [own for _, own in readable]
    values = [objectives.values_of(record) for record, _ in readable]
    may_be_best = _may_be_best(predictions, values, objectives, seed)
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
    if predictions:
        rows.append(_constant_row(predictions[0], search.split_name, objectives))
    return rows + [
        Row(rank=None, split=search.split_name, **_row_of(record, objectives))
        for record in records
        if record.state != "complete"
    ]


def rows_as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as plain dictionaries of numbers, text, lists and None."""
    return [{**asdict(row), "collapsed": list(row.collapsed), "missed": list(row.missed)} for row in rows]


def rows_as_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV with a header; None is empty, and collapsed folds are separated by spaces.

    Each of the other metrics that the search optimises or requires something of has a column.
    """
    names = [name.name for name in fields(Row) if name.name != "values"]
    more = [name for name in dict.fromkeys(name for row in rows for name in row.values) if name not in names]
    cells = [
        {**asdict(row), **{name: row.value_of(name) for name in more}, "missed": "; ".join(row.missed)}
        for row in rows
    ]
    return csv_text([{name: own[name] for name in (*names, *more)} for own in cells], [*names, *more])


def other_columns(objectives: Objectives, usual: Sequence[str], *, most: int) -> list[Metric]:
    """Return the metrics that a table shows besides the main one.

    Args:
        objectives: What the search optimises and requires; all of it is shown.
        usual: Names of metrics that are shown where there is room.
        most: Number of columns for which there is room.
    """
    asked = list(objectives.needed[1:])
    room = [name for name in usual if name not in objectives.needed][: max(0, most - len(asked))]
    return [metric_named(name) for name in (*asked, *room)]


def leaderboard_table(
    rows: Sequence[Row],
    limit: int | None = 20,
    objectives: Objectives = BY_AUC,
    unit: UnitName = "image",
) -> Table:
    """Return a table that fits 80 columns.

    Args:
        rows: Rows from `leaderboard`.
        limit: Largest number of trials to show; the best trial on colour and intensity only, and the majority
            baseline, are always shown. None shows all.
        objectives: What the search optimises and requires.
        unit: What was scored.
    """
    table = result_table()
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("trial", justify="right", no_wrap=True)
    split = rows[0].split if rows else GROUPED
    table.add_column(interval_header(split, metric_named(objectives.metrics[0]).header), no_wrap=True)
    has_costs = any(row.ms_per_image is not None for row in rows)
    usual = (*COST_COLUMNS, "auc", "f2") if has_costs else ("auc", "f2", "balanced_accuracy")
    others = other_columns(objectives, usual, most=3 if has_costs else 2)
    for metric in others:
        table.add_column(metric.header, justify="right", no_wrap=True)
    table.add_column("settings")
    trials = [row for row in rows if row.trial is not None]
    shown = {row.trial for row in (trials if limit is None else trials[:limit])} | {None}
    baselines = [row.trial for row in trials if row.is_baseline and row.rank is not None]
    shown |= set(baselines[:1])
    for row in rows:
        if row.trial in shown:
            table.add_row(*_cells(row, others), style="dim" if row.rank is None else None)
    said = _caption(trials, len(shown) - 1, objectives, [metric.name for metric in others])
    if unit != "image":
        said = f"Scores are of {PLURALS[unit]}. {said}"
    if any(row.is_optimistic for row in trials if row.trial in shown):
        said += f" {OPTIMISTIC} {OPTIMISTIC_NOTE}"
    table.caption = caption_of(said, split)
    return table


def _ranked(records: Sequence[TrialRecord], objectives: Objectives) -> list[TrialRecord]:
    """Complete trials, then pruned, then failed ones, each from best to worst."""
    found = []
    for state in _STATES_IN_ORDER:
        own = [record for record in records if record.state == state]
        ties = [
            (np.inf if record.trained_parameters is None else record.trained_parameters, record.number)
            for record in own
        ]
        found += [own[place] for place in objectives.order([objectives.values_of(one) for one in own], ties)]
    return found


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
    text = settings_text(record.config)
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
        "settings": f"{record.recipe}: {text}" if record.recipe else text,
    }


def settings_text(config: dict[str, Any]) -> str:
    """Return backbone, cut, trained stages, optimiser and learning rate as short text.

    A classical model has its own settings in place of the optimiser's, and a table has no backbone.

    >>> settings_text({"model": {"backbone": "vgg16", "cut": "top+1"}, "optimizer": {"name": "adam"}})
    'vgg16 top+1 adam'
    >>> settings_text({"model": {"backbone": "table"}, "classical": {"name": "tree", "depth": 5}})
    'tree depth=5'
    """
    flat = flatten(config)
    if flat.get("classical.name", "none") != "none":
        return _classical_text(flat)
    trained = flat.get("model.trained_stages", 0)
    parts = [
        flat.get("model.backbone"),
        flat.get("model.cut"),
        None if trained == 0 else f"train {trained}",
        flat.get("optimizer.name"),
        f"{flat['optimizer.lr']:.2g}".replace("e-0", "e-") if "optimizer.lr" in flat else None,
        *_combined(flat),
    ]
    return " ".join(str(part) for part in parts if part is not None)


def _classical_text(flat: dict[str, Any]) -> str:
    name, is_table = flat["classical.name"], flat.get("model.backbone") == "table"
    backbone: list[Any]
    if is_baseline(flat):
        backbone = [f"{BASELINE_TEXT},"]
    else:
        also = [f"+ {tap}" for tap in flat.get("model.also") or ()]
        backbone = [] if is_table else [flat.get("model.backbone"), flat.get("model.cut"), *also]
    names = ESTIMATORS[name].settings if name in ESTIMATORS else ()
    own = [(setting, flat.get(f"classical.{setting}")) for setting in names]
    settings = [
        f"{setting}={value if isinstance(value, str) else format(value, '.2g')}"
        for setting, value in own
        if value is not None
    ]
    reduced = [f"pca={flat['classical.pca']}"] if flat.get("classical.pca") else []
    scaled = ["scaled"] if flat.get("classical.standardize") else []
    parts = (*backbone, name, *settings, *reduced, *scaled, *_combined(flat))
    return " ".join(str(part) for part in parts if part is not None)


def _combined(flat: dict[str, Any]) -> list[str]:
    """How the images of a unit are combined, where it is neither the mean nor the head's own attention."""
    rule = flat.get("unit.combine", "mean")
    return [] if rule in ("mean", ATTENTION) else [f"by {rule}"]


def _scores(predictions: OutOfFold, objectives: Objectives, seed: int) -> dict[str, Any]:
    areas = fold_areas(predictions)
    found, interval = out_of_fold_metrics(predictions, objectives), auc_interval(predictions)
    main = objectives.metrics[0]
    own = metric_interval(predictions, main, objectives.metrics, seed=seed)
    return {
        "low": own.low,
        "high": own.high,
        "auc": interval.estimate,
        "auc_low": interval.low,
        "auc_high": interval.high,
        "auc_sd": float(np.std(areas, ddof=1)) if len(areas) > 1 else None,
        "fewest_patients": fewest_patients(predictions.labels, predictions.groups),
        **{name: found[name] for name in _DECISION_METRICS},
    }


def _corrected(
    readable: Sequence[tuple[TrialRecord, OutOfFold]], objectives: Objectives, seed: int
) -> dict[str, float]:
    """Score of the selection itself; nothing where too few patients are left to hold any out."""
    costs = [{name: record.values.get(name, np.inf) for name in objectives.costs} for record, _ in readable]
    trials = [own for _, own in readable]
    try:
        again = selected_again(trials, seed=seed, objectives=objectives, costs=costs)
        found = metric_interval(again, objectives.metrics[0], objectives.metrics, seed=seed)
    except (ScoreError, OneClassError):
        return {}
    return {"selected_value": found.estimate, "selected_low": found.low, "selected_high": found.high}


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


def _cells(row: Row, others: Sequence[Metric]) -> list[str]:
    rank = "" if row.rank is None else f"{row.rank}{_mark(row)}"
    trial = "" if row.trial is None else f"{row.trial}{OPTIMISTIC if row.is_optimistic else ''}"
    outcome = f"{row.state}: {row.cause or 'unknown'}" if row.state in ("pruned", "failed") else row.interval
    collapsed = f" (collapsed in fold {', '.join(map(str, row.collapsed))})" if row.collapsed else ""
    is_scored = row.rank is not None or row.state == "baseline"
    scores = [metric.text(row.value_of(metric.name) if is_scored else None) for metric in others]
    return [rank, trial, outcome, *scores, f"{row.settings}{collapsed}"]


def _mark(row: Row) -> str:
    if row.missed:
        return "!"
    if row.is_on_front is not None:
        return "*" if row.is_on_front else " "
    return "=" if row.tied else "<"


def _caption(trials: Sequence[Row], shown: int, objectives: Objectives, others: Sequence[str]) -> str:
    if not trials:
        return "No trial has ended yet."
    hidden = f"{len(trials) - shown} more trials not shown. " if len(trials) > shown else ""
    first = trials[0]
    if first.rank != 1:
        return hidden.strip()
    said = f"{_said_of_ranks(objectives)}{_said_of_missed(trials, objectives)}"
    if "f2" not in objectives.metrics and "f2" in others:
        said += "F2 is at its own best threshold. "
    low, high = first.selected_low, first.selected_high
    if first.selected_value is not None and low is not None and high is not None:
        chosen, digits = Interval(first.selected_value, low, high), metric_named(first.metric).digits
        said += (
            "Rank 1 was selected by its score: selected anew without each fold, the best has "
            f"{chosen.text(digits)}. "
        )
    if "ms_per_image" in others:
        said += said_of_costs([row.gpu_ms_per_image for row in trials])
    return f"{hidden}{said}{few_patients_warning(first.fewest_patients)}".strip()


def _said_of_ranks(objectives: Objectives) -> str:
    if len(objectives.metrics) > 1:
        return f"* on the front: no other trial is better in all of {', '.join(objectives.metrics)}. "
    return "= may be the best (95 % confidence set), < worse. "


def _said_of_missed(trials: Sequence[Row], objectives: Objectives) -> str:
    if not any(row.missed for row in trials):
        return ""
    asked = ", ".join(
        f"{own.metric} {'>=' if own.is_at_least else '<='} {own.bound:g}" for own in objectives.requirements
    )
    return f"! misses what was required ({asked}), so it ranks behind. "


def few_patients_warning(patients: int | None) -> str:
    """Return a sentence if a class has fewer than ten patients; empty otherwise."""
    if patients is None or patients >= FEW_PATIENTS:
        return ""
    return f"Only {count_text(patients, 'patient')} of one class: every number is rough. "
