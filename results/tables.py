"""Rows of results as CSV, and the tables of the terminal."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import JustifyMethod
from rich.table import Table

from trainables.common.text import printable

# A spreadsheet takes a cell that begins with one of them for a formula, and runs it.
_FORMULA: Final = ("=", "+", "-", "@")


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as CSV with a header; None is empty, and several values in a cell have spaces between them.

    Texts that a spreadsheet would run as a formula get an apostrophe before them; control characters become
    escapes.

    >>> csv_text([{"trial": 1, "folds": (0, 2), "auc": None}], ["trial", "folds", "auc"])
    'trial,folds,auc\\n1,0 2,\\n'
    >>> csv_text([{"name": "=1+1"}, {"name": "-0.5"}], ["name"])
    "name\\n'=1+1\\n-0.5\\n"
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def result_table(
    *,
    title: str | None = None,
    title_justify: JustifyMethod = "center",
    padding: tuple[int, int] | tuple[int, int, int, int] = (0, 1, 0, 0),
) -> Table:
    """Return an empty table in the style of all results: a ruled header, no frame, texts at the left."""
    return Table(
        title=title,
        title_justify=title_justify,
        padding=padding,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        caption_justify="left",
    )


def _cell(value: Any) -> Any:
    text = " ".join(map(str, value)) if isinstance(value, tuple | list) else value
    if not isinstance(text, str):
        return text
    safe = printable(text, keeps="")
    return f"'{safe}" if safe.startswith(_FORMULA) and not _is_number(safe) else safe


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "-"  # stands for no value
    return True
