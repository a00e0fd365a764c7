"""The evaluation on other data as tables of 80 columns, and as CSV."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results.scores.confusion_table import confusion_table
from results.scores.decision_rule import OUT_OF_FOLD_DECISIONS
from results.scores.leaderboard_table import few_patients_warning
from results.scores.metrics import metric_named
from results.scores.outside import OutsideEvaluation
from results.scores.strata_table import sentences_of, strata_table
from results.tables import csv_text, result_table
from trainables.config.unit_config import PLURALS


def outside_table(evaluation: OutsideEvaluation) -> RenderableType:
    """Return metrics, confusion matrix and strata as tables that fit 80 columns."""
    strata = evaluation.strata
    last = strata_table(strata) if strata.strata else Text(" ".join(sentences_of(strata)))
    confused = confusion_table(evaluation.classes, evaluation.confusion, is_ordinal=evaluation.is_ordinal)
    return Group(_metric_table(evaluation), confused, last)


def outside_as_csv(evaluation: OutsideEvaluation) -> str:
    """Return one row for each metric, as CSV with a header; JSON has strata, calibration and shift, too."""
    columns = ("model", "data", "metric", "value", "low", "high", "out_of_fold", "majority")
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
            }
            for name, found in evaluation.metrics.items()
        ),
        columns,
    )


def _metric_table(evaluation: OutsideEvaluation) -> Table:
    counts = ", ".join(f"{number} {name}" for name, number in evaluation.counts.items())
    table = result_table(
        title=f"{evaluation.model} on {evaluation.data}: {evaluation.images} {PLURALS[evaluation.unit]} of "
        f"{evaluation.groups} patients ({counts})",
        title_justify="left",
    )
    for header in ("metric", "here [95 %]", "out of fold", "majority"):
        table.add_column(header, no_wrap=True, justify="left" if header == "metric" else "right")
    for name, found in evaluation.metrics.items():
        metric = metric_named(name)
        table.add_row(
            metric.header,
            found.text(metric.digits),
            metric.text(evaluation.expected.get(name)),
            metric.text(evaluation.baseline.get(name)),
            style="bold" if name == evaluation.main else None,
        )
    table.caption = " ".join(part for part in _said_of(evaluation) if part)
    return table


def _said_of(evaluation: OutsideEvaluation) -> list[str]:
    look = (
        "The first look at these patients."
        if evaluation.look == 1
        else f"Look number {evaluation.look} at these patients, with any model of this store."
    )
    decided = (
        ""
        if evaluation.threshold is None
        else f"Decisions at {evaluation.threshold:.3f}, chosen out of fold for {evaluation.chosen_for}"
        f"{_said_of_others(evaluation)}; {OUT_OF_FOLD_DECISIONS}."
    )
    return [
        decided,
        look,
        "Intervals are over these patients.",
        "" if evaluation.calibration is None else evaluation.calibration.text,
        _said_of_rates(evaluation),
        "" if evaluation.triage is None else evaluation.triage.text,
        "" if evaluation.shift is None else evaluation.shift.text,
        few_patients_warning(evaluation.fewest_patients).strip(),
    ]


def _said_of_others(evaluation: OutsideEvaluation) -> str:
    """Which metrics judge decisions at other thresholds."""
    own = [
        metric_named(name).header for name, at in evaluation.thresholds.items() if at != evaluation.threshold
    ]
    return f", those of {' and '.join(own)} at thresholds of their own" if own else ""


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
