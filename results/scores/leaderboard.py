"""Leaderboard of a run's trials with confidence intervals, from records and out-of-fold predictions only."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

import numpy as np
from rich.table import Table

from results.errors import ScoreError
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.run.split_labels import GROUPED, SplitName, caption_of, interval_header
from results.scores.auc_interval import auc_interval
from results.scores.comparison import confidence_set
from results.scores.cross_fitting import fewest_patients
from results.scores.fold_scores import fold_areas, out_of_fold_metrics
from results.scores.interval import Interval
from results.scores.metrics import collapsed_folds, majority_baseline
from results.scores.ranking import Objective
from results.scores.selection import selected_again
from results.tables import csv_text, result_table
from trainables.common.errors import OneClassError
from trainables.common.text import count_text
from trainables.config.baseline import BASELINE_TEXT, is_baseline
from trainables.config.trial_config import flatten
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
        value: Value of the search metric, mean over folds, which ranks the trials.
        auc: Mean over folds of the AUC within each fold. Pooling the folds would compare scores of different
            models, each with its own calibration.
        auc_low: Lower end of the 95 % interval over patients and training parts. It takes the trial as given:
            that rank 1 was selected by its score is corrected in `selected_auc`.
        auc_sd: Standard deviation of the AUC over folds (n - 1).
        f2: This and the other decision metrics pool all images, each decided by a threshold that was chosen
            on the other folds: for F1 and F2 the best for that metric, else one of good balanced accuracy.
        collapsed: 0-based folds that give every image the same score.
        is_optimistic: True if held-out labels chose the trial's epoch, by the metric itself or fold by fold:
            its scores are too high, and no rank of it is a fair one.
        is_baseline: True for a closed-form head on colour and intensity only, the simplest explanation.
        tied: True for the trials that may be the best, False for those that are worse: the model confidence
            set at 95 %, by AUC. None for rows that were not compared.
        selected_auc: For rank 1, the AUC of the best trial chosen anew without each fold, which its selection
            does not raise; `selected_low` and `selected_high` are the ends of its 95 % interval. None for
            other rows, and where there are too few patients.
        fewest_patients: Number of patients of the smallest class among these predictions.
        epochs: Number of epochs that were run; `best_epoch` is the one kept.
        settings: Main settings of the configuration, as text.
        split: Name of the kind of split: `grouped split`, or `naive split` if patients lie in several folds
            and scores are too high.
    """

    rank: int | None
    trial: int | None
    state: Literal["complete", "pruned", "failed", "baseline"]
    cause: str | None = None
    value: float | None = None
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
    selected_auc: float | None = None
    selected_low: float | None = None
    selected_high: float | None = None
    fewest_patients: int | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    wall_seconds: float | None = None
    trained_parameters: int | None = None
    settings: str = ""
    split: SplitName = GROUPED

    @property
    def interval(self) -> str:
        """Text such as `0.71 [0.66, 0.76]`, without brackets if there is no interval."""
        if self.auc is None:
            return "-"
        if self.auc_low is None or self.auc_high is None:
            return f"{self.auc:.2f}"
        return str(Interval(self.auc, self.auc_low, self.auc_high))


def leaderboard(run: RunFolder) -> list[Row]:
    """Rank the trials of a run.

    Args:
        run: Folder of the search, finished or not.

    Returns:
        Complete trials by the search metric (of equals, the one with fewer trained parameters), the majority
        baseline, then pruned and failed trials without a rank. Trials whose files are damaged are left out;
        `RunFolder.damage` names them.

    Raises:
        RunError: If this is not a run folder, or a complete trial lost its predictions.
        DataError: If two complete trials do not hold the same images in the same folds.
    """
    search = run.search()
    records = sorted(run.records(), key=lambda record: _merit(record, search))
    complete = [record for record in records if record.state == "complete"]
    readable = list(run.readable_predictions(complete))
    predictions = [own for _, own in readable]
    may_be_best = confidence_set(predictions, seed=search.request.seed) if predictions else ()
    rows: list[Row] = []
    for rank, ((record, own), tied) in enumerate(zip(readable, may_be_best, strict=True), start=1):
        row = {**_row_of(record), **_scores(own), "rank": rank, "tied": tied, "split": search.split_name}
        row["collapsed"] = collapsed_folds(own)  # of earlier versions the record knew another rule
        if rank == 1:
            row |= _corrected(predictions, search.request.seed)
        rows.append(Row(**row))
    if predictions:
        rows.append(_majority_row(predictions[0], search.split_name))
    return rows + [
        Row(rank=None, split=search.split_name, **_row_of(record))
        for record in records
        if record.state != "complete"
    ]


def rows_as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as plain dictionaries of numbers, text, lists and None."""
    return [{**asdict(row), "collapsed": list(row.collapsed)} for row in rows]


def rows_as_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV with a header; None is empty, and collapsed folds are separated by spaces."""
    return csv_text([asdict(row) for row in rows], [field.name for field in fields(Row)])


def leaderboard_table(rows: Sequence[Row], limit: int | None = 20) -> Table:
    """Return a table that fits 80 columns.

    Args:
        rows: Rows from `leaderboard`.
        limit: Largest number of trials to show; the best trial on colour and intensity only, and the majority
            baseline, are always shown. None shows all.
    """
    table = result_table()
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("trial", justify="right", no_wrap=True)
    split = rows[0].split if rows else GROUPED
    table.add_column(interval_header(split), no_wrap=True)
    for header in ("F2", "BAcc"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("settings")
    trials = [row for row in rows if row.trial is not None]
    shown = {row.trial for row in (trials if limit is None else trials[:limit])} | {None}
    baselines = [row.trial for row in trials if row.is_baseline and row.rank is not None]
    shown |= set(baselines[:1])
    for row in rows:
        if row.trial in shown:
            table.add_row(*_cells(row), style="dim" if row.rank is None else None)
    said = _caption(trials, len(shown) - 1)
    if any(row.is_optimistic for row in trials if row.trial in shown):
        said += f" {OPTIMISTIC} {OPTIMISTIC_NOTE}"
    table.caption = caption_of(said, split)
    return table


def _merit(record: TrialRecord, search: SearchRecord) -> tuple[float, ...]:
    """Sort key: best first."""
    merit = Objective(search.metric).merit(record.value)
    size = np.inf if record.trained_parameters is None else record.trained_parameters
    return (_STATES_IN_ORDER.index(record.state), -merit, size, record.number)


def _row_of(record: TrialRecord) -> dict[str, Any]:
    text = settings_text(record.config)
    return {
        "trial": record.number,
        "state": record.state,
        "cause": record.cause,
        "value": record.value,
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
    return " ".join(str(part) for part in (*backbone, name, *settings, *reduced, *scaled) if part is not None)


def _scores(predictions: OutOfFold) -> dict[str, Any]:
    areas = fold_areas(predictions)
    found, interval = out_of_fold_metrics(predictions), auc_interval(predictions)
    return {
        "auc": interval.estimate,
        "auc_low": interval.low,
        "auc_high": interval.high,
        "auc_sd": float(np.std(areas, ddof=1)) if len(areas) > 1 else None,
        "fewest_patients": fewest_patients(predictions.labels, predictions.groups),
        **{name: found[name] for name in _DECISION_METRICS},
    }


def _corrected(predictions: list[OutOfFold], seed: int) -> dict[str, float]:
    """Score of the selection itself; nothing where too few patients are left to hold any out."""
    try:
        found = auc_interval(selected_again(predictions, seed=seed))
    except (ScoreError, OneClassError):
        return {}
    return {"selected_auc": found.estimate, "selected_low": found.low, "selected_high": found.high}


def _majority_row(predictions: OutOfFold, split: SplitName) -> Row:
    found = majority_baseline(predictions.labels, predictions.probabilities.shape[1])
    return Row(
        rank=None,
        trial=None,
        state="baseline",
        auc=found["auc"],
        settings="always the majority class",
        split=split,
        f2=found["f2"],
        f1=found["f1"],
        accuracy=found["accuracy"],
        balanced_accuracy=found["balanced_accuracy"],
        recall=found["recall"],
        precision=found["precision"],
    )


def _cells(row: Row) -> list[str]:
    rank = "" if row.rank is None else f"{row.rank}{'=' if row.tied else '<'}"
    trial = "" if row.trial is None else f"{row.trial}{OPTIMISTIC if row.is_optimistic else ''}"
    outcome = f"{row.state}: {row.cause or 'unknown'}" if row.state in ("pruned", "failed") else row.interval
    collapsed = f" (collapsed in fold {', '.join(map(str, row.collapsed))})" if row.collapsed else ""
    scores = [_two_digits(row.f2), _two_digits(row.balanced_accuracy)]
    return [rank, trial, outcome, *scores, f"{row.settings}{collapsed}"]


def _two_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _caption(trials: Sequence[Row], shown: int) -> str:
    if not trials:
        return "No trial has ended yet."
    hidden = f"{len(trials) - shown} more trials not shown. " if len(trials) > shown else ""
    first = trials[0]
    if first.rank != 1:
        return hidden.strip()
    said = "= may be the best (95 % confidence set), < worse. F2 is at its own best threshold. "
    if first.selected_auc is not None and first.selected_low is not None and first.selected_high is not None:
        chosen = Interval(first.selected_auc, first.selected_low, first.selected_high)
        said += f"Rank 1 was selected by its score: selected anew without each fold, the best has {chosen}. "
    return f"{hidden}{said}{few_patients_warning(first.fewest_patients)}".strip()


def few_patients_warning(patients: int | None) -> str:
    """Return a sentence if a class has fewer than ten patients; empty otherwise."""
    if patients is None or patients >= FEW_PATIENTS:
        return ""
    return f"Only {count_text(patients, 'patient')} of one class: every number is rough. "
