"""The closing summary of a search."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.reporting.time_left import busy_seconds
from results.run.records import TrialRecord
from results.run.split_labels import GROUPED, NAIVE, NAIVE_WARNING, SplitName, scored
from trainables.common.text import clock_text, count_text, printable

_STATES: Final = ("complete", "pruned", "failed")


def closing_summary(
    *,
    records: Sequence[TrialRecord],
    metric: str,
    best: tuple[int, float, str] | None,
    folder: str,
    commands: Sequence[str],
    notes: Sequence[tuple[str, str]] = (),
    split: SplitName = GROUPED,
) -> RenderableType:
    """Return the closing summary of a search.

    Args:
        records: Records of all trials that ended.
        metric: Metric that the search optimised.
        best: Number, value and configuration of the best complete trial; None if there is none.
        folder: Run folder, as the user would type it.
        commands: Commands to suggest next.
        notes: Further lines: a label of at most nine letters, and its text; those without text are left out.
        split: Name of the kind of split, which the best value carries.
    """
    lines = [f"{_ended_text(records)}; these ran for {clock_text(busy_seconds(records))}"]
    if best is None:
        lines.append("best      none: no trial is complete")
    else:
        number, value, text = best
        complete = sum(record.state == "complete" for record in records)
        luck = f", the best of {complete}" if complete > 1 else ""
        lines.append(f"best      trial {number}: {scored(metric, split)} {value:.3f}{luck}  {text}")
    if split == NAIVE:
        lines.append(f"beware    {NAIVE_WARNING}")
    lines += [f"{label:<10}{text}" for label, text in notes if text]
    lines.append(f"kept in   {folder}")
    next_lines = [f"{'next' if index == 0 else '':<10}{command}" for index, command in enumerate(commands)]
    return Group(
        *(_hanging(line) for line in lines),
        # A folded command could not be copied.
        *(Text(line, no_wrap=True, overflow="ignore") for line in next_lines),
    )


def causes_text(causes: Counter[str]) -> str:
    """Causes in brackets, most frequent first; a single one needs no count.

    >>> causes_text(Counter(collapse=2, nan=1)), causes_text(Counter(collapse=2)), causes_text(Counter())
    (' (2 collapse, 1 nan)', ' (collapse)', '')
    """
    if len(causes) < 2:
        return "".join(f" ({cause})" for cause in causes)
    return f" ({', '.join(f'{count} {cause}' for cause, count in causes.most_common())})"


def _ended_text(records: Sequence[TrialRecord]) -> str:
    parts = []
    for state in _STATES:
        those = [record for record in records if record.state == state]
        causes = Counter(str(record.cause) for record in those if record.cause)
        parts.append(f"{len(those)} {state}{causes_text(causes)}")
    return f"{count_text(len(records), 'trial')} ended: {', '.join(parts)}"


def _hanging(line: str) -> RenderableType:
    """A line whose continuation is indented to its text, behind the label of ten columns."""
    line = printable(line)
    if line[9:10] != " ":
        return Text(line)
    grid = Table.grid()
    grid.add_column(width=10)
    grid.add_row(Text(line[:10]), Text(line[10:], overflow="fold"))
    return grid
