"""The evaluation on other data as tables of 80 columns, and as CSV."""

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results.run.split_labels import NAIVE
from results.scores.confusion_table import confusion_table
from results.scores.decision_rule import OUT_OF_FOLD, OUT_OF_FOLD_DECISIONS
from results.scores.fixed_model_table import said_of_looks, said_of_thresholds, scores_table
from results.scores.leaderboard_table import few_patients_warning
from results.scores.outside import OutsideEvaluation
from results.scores.strata_table import sentences_of, strata_table
from results.tables import csv_text


def outside_table(evaluation: OutsideEvaluation) -> RenderableType:
    """Return metrics, confusion matrix and strata as tables that fit 80 columns."""
    strata = evaluation.strata
    last = strata_table(strata) if strata.strata else Text(" ".join(sentences_of(strata)))
    confused = confusion_table(evaluation.classes, evaluation.confusion, is_ordinal=evaluation.is_ordinal)
    return Group(_metric_table(evaluation), confused, last)


def outside_as_csv(evaluation: OutsideEvaluation) -> str:
    """Return one row for each metric, as CSV with a header; JSON has strata, calibration and shift, too.

    `split` is the kind of split that the score out of fold is of.
    """
    columns = ("model", "data", "metric", "value", "low", "high", "out_of_fold", "majority", "split")
    return csv_text(
        (
            {
                "model": evaluation.model,
                "data": evaluation.data,
                "metric": name,
                "value": found.estimate,
                "low": found.low,
                "high": found.high,
                "out_of_fold": evaluation.expected.get(name),
                "majority": evaluation.baseline.get(name),
                "split": evaluation.split,
            }
            for name, found in evaluation.metrics.items()
        ),
        columns,
    )


def _metric_table(evaluation: OutsideEvaluation) -> Table:
    table = scores_table(
        evaluation, name=evaluation.model, place=evaluation.data, here="here [95 %]", main=evaluation.main
    )
    table.caption = " ".join(part for part in _said_of(evaluation) if part)
    return table


def _said_of(evaluation: OutsideEvaluation) -> list[str]:
    return [
        _said_of_decisions(evaluation),
        "" if evaluation.decided_on == OUT_OF_FOLD else _BEFORE,
        said_of_looks(evaluation.look, evaluation.group_unit, "with any model of this store"),
        f"Intervals are over these {evaluation.group_unit}s.",
        "" if evaluation.calibration is None else evaluation.calibration.text,
        _said_of_rates(evaluation),
        "" if evaluation.triage is None else evaluation.triage.text,
        "" if evaluation.shift is None else evaluation.shift.text,
        few_patients_warning(evaluation.fewest_patients, evaluation.group_unit).strip(),
        _NAIVE if evaluation.split == NAIVE else "",
    ]


_BEFORE: Final = (
    "The column out of fold is of calibration and thresholds before they were fitted on the local data."
)
_NAIVE: Final = (
    "The column out of fold is of a naive split, where patients lie in several folds, so that it is too high."
)


def _said_of_decisions(evaluation: OutsideEvaluation) -> str:
    if evaluation.threshold is None:
        return ""
    others = said_of_thresholds(evaluation.thresholds, evaluation.threshold, evaluation.metrics)
    return (
        f"Decisions at {evaluation.threshold:.3f}, chosen {evaluation.decided_on} for "
        f"{evaluation.chosen_for}{f', {others}' if others else ''}; {OUT_OF_FOLD_DECISIONS}."
    )


def _said_of_rates(evaluation: OutsideEvaluation) -> str:
    if not evaluation.rates:
        return ""
    rates = ", ".join(f"{name.replace('_', ' ')} {value.text(3)}" for name, value in evaluation.rates.items())
    return (
        f"Decisions are taken on probabilities at prevalence {evaluation.operation.prevalence:g}; here "
        f"{_share(evaluation):.2f} are positive, and calibration, LogLoss and Brier are those of "
        f"probabilities at this share. At prevalence {evaluation.operation.prevalence:g} {rates}."
    )


def _share(evaluation: OutsideEvaluation) -> float:
    """Share of images of the positive class, which is the last."""
    return evaluation.counts[evaluation.classes[-1]] / evaluation.images
