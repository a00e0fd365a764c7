"""Questions to the statistics, asked of simulated data sets: one command line for several benchmarks."""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
Question = Callable[[int], Iterator[Row]]  # of the number of data sets of a row; gives them one by one


def ask(purpose: str, questions: Mapping[str, Question], columns: Mapping[str, str], *, sets: int) -> None:
    """Ask what the command line wants to know, and print each row of the table as soon as it is found.

    Args:
        purpose: What the command is for, in a line.
        questions: Name -> question.
        columns: Key of a row -> heading of its column, in order; the question's name stands before them.
        sets: Number of simulated data sets of a row, unless `--sets` says another.
    """
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--sets", type=int, default=sets, help=f"simulated data sets a row (default: {sets})")
    parser.add_argument("--only", choices=tuple(questions), help="one of the questions")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    headings = ["question", *columns.values()]
    print(f"| {' | '.join(headings)} |\n|{' --- |' * len(headings)}")
    rows = list[Row]()
    for name, question in questions.items():
        if arguments.only in (None, name):
            for row in question(arguments.sets):
                rows.append({"question": name, **row})
                print(as_line(rows[-1], ("question", *columns)), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def as_line(row: Row, columns: Iterable[str]) -> str:
    """Return a row as Markdown; what a question does not measure is left empty.

    >>> as_line({"question": "shares", "width": 0.25}, ("question", "covers", "width"))
    '| shares |  | 0.250 |'
    """
    return f"| {' | '.join(_cell(row.get(name, '')) for name in columns)} |"


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3f}"
