"""Scores of strata as a table of 80 columns, in sentences, and as rows for CSV."""

from typing import Any, Final

from rich.table import Table

from results.run.split_labels import GROUPED, SplitName, caption_of, scored
from results.scores.metrics import STANDARD
from results.scores.strata_records import Difference, StrataScores, Stratum
from results.tables import csv_text, result_table
from trainables.common.text import count_text

_SHOWN: Final = ("auc", "recall", "specificity")
_COLUMNS: Final = (
    *("column", "value", "images", "patients", "metric", "estimate", "low", "high"),
    *("difference", "p_value", "adjusted", "is_found", "reason", "split"),
)
_WIDEST: Final = 26  # characters of a stratum's name; longer ones are folded


def strata_table(scores: StrataScores, *, title: str = "For whom", split: SplitName = GROUPED) -> Table:
    """Return the strata as a table that fits 80 columns; `*` marks a score that differs from the others'.

    Args:
        scores: Scores of the strata.
        title: Title of the table.
        split: Name of the kind of split, which the scores carry.
    """
    table = result_table(title=scored(title, split), title_justify="left")
    table.add_column("stratum", overflow="fold", max_width=_WIDEST)
    table.add_column("n", justify="right", no_wrap=True)
    for header in ("AUC [95 %]", "Recall", "Spec", "obs / exp"):
        table.add_column(header, justify="right", no_wrap=True)
    for one in scores.strata:
        table.add_row(one.name, str(one.images), *_cells(one), style="bold" if _is_found(one) else None)
    table.caption = caption_of(" ".join(sentences_of(scores)), split)
    return table


def sentences_of(scores: StrataScores) -> list[str]:
    """Say which strata differ, which is the worst, and what cannot be said."""
    said = [f"{text[0].upper()}{text[1:]}." for text in scores.remarks]
    if not scores.strata:
        return said
    said.append(_said_of_found(scores))
    if scores.worst is not None:
        clear = "which the data show" if scores.is_worst_different else "which may be chance"
        said.append(f"The lowest AUC is that of {scores.worst}, {clear}.")
    for site in scores.within_sites:
        said.append(
            f"AUC within one {site.column} {site.within.text()}, of all pairs {site.pooled.text()}"
            f"{': telling them apart adds to it.' if site.difference.low > 0 else '.'}"
        )
    return said


def strata_as_csv(scores: StrataScores, *, split: SplitName = GROUPED) -> str:
    """Return a row for each stratum and metric, as CSV with a header.

    Args:
        scores: Scores of the strata.
        split: Name of the kind of split, which the scores carry.
    """
    rows: list[dict[str, Any]] = []
    for one in scores.strata:
        facts = {"column": one.column, "value": one.value, "images": one.images, "patients": one.patients}
        differences = {own.metric: own for own in one.differences}
        for metric, found in one.metrics.items():
            value = {"metric": metric, "estimate": found.estimate, "low": found.low, "high": found.high}
            rows.append(facts | value | _compared(differences.get(metric)))
        if one.reason:
            rows.append(facts | {"reason": one.reason})
    rows = rows or [{"reason": remark} for remark in scores.remarks]
    return csv_text((row | {"split": split} for row in rows), _COLUMNS)


def _compared(difference: Difference | None) -> dict[str, Any]:
    if difference is None:
        return {}
    return {
        "difference": difference.value,
        "p_value": difference.p_value,
        "adjusted": difference.adjusted,
        "is_found": difference.is_found,
    }


def _said_of_found(scores: StrataScores) -> str:
    found = scores.found
    compared = f"{count_text(scores.comparisons, 'comparison')} corrected for their number (Holm)"
    if not found:
        return f"No stratum differs from the others of its column beyond chance: {compared}."
    named = "; ".join(
        f"{one.name}: {STANDARD[own.metric].header} {own.value:+.2f} against the others"
        for one, own in found[:3]
    )
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"* differs: {named}{more}, of {compared}."


def _is_found(one: Stratum) -> bool:
    return any(own.is_found for own in one.differences)


def _cells(one: Stratum) -> list[str]:
    found = {own.metric for own in one.differences if own.is_found}
    cells = []
    for name in _SHOWN:
        value = one.metrics.get(name)
        text = "-" if value is None else value.text() if name == "auc" else f"{value.estimate:.2f}"
        cells.append(f"{text}{'*' if name in found else ''}")
    known = one.observed is not None and one.expected is not None
    return [*cells, f"{one.observed:.2f} / {one.expected:.2f}" if known else "-"]
