"""Labels of a table, row by row: class names or numbers of a task, findings, or the codes of an own task."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainables.common.errors import DataError
from trainables.common.text import plain_name
from trainables.config.task_checks import code_text
from trainables.config.tasks import FINDINGS, StoredCodes, Task
from trainables.data.sources.own_codes import by_own_codes

_WHOLE_NUMBER: Final = re.compile(r"[+-]?\d+")
_LISTED: Final = 8  # numbers that a message names


@dataclass(frozen=True, slots=True)
class TableLabels:
    """Labels of a table.

    Attributes:
        label_codes: Code book of the labels.
        values: Label code of each row; `LEFT_OUT` where an own task leaves the row out, None where the label
            is empty or a word that is not known.
        classes: Names of the classes where labels are class indices; empty where they are findings.
    """

    label_codes: StoredCodes
    values: tuple[int | None, ...]
    classes: tuple[str, ...]


def read_labels(texts: Sequence[str], task: Task, table: str, notes: list[str]) -> TableLabels:
    """Read the labels of a table by the code book in which most of them are known.

    A word that is not known may be misspelt, and is a matter of its row. A number that is none of the code
    book's says that the numbers mean something else, so that those that are known would get a wrong class.

    Args:
        texts: Labels as they stand, one a row.
        task: Task whose class names, numbers or codes they may be.
        table: Name of the table, for messages.
        notes: Sentences on the codes of an own task and on rows that it leaves out are added here.

    Raises:
        DataError: If they hold whole numbers that are none of the code book's, or labels that an own task
            does not know.
    """
    if task.is_own:
        return _by_own_codes(texts, task, table, notes)
    forms = [plain_name(code_text(text)) for text in texts]
    classes = {plain_name(name): code for code, name in enumerate(task.classes)}
    numbers = {str(code): code for code in range(len(task.classes))}
    findings = {plain_name(name): code for code, name in enumerate(FINDINGS)}
    books: list[tuple[StoredCodes, Mapping[str, int]]] = [("task", classes | numbers), ("pisa", findings)]
    if task.classes == FINDINGS:
        books.reverse()  # as findings they answer every task, and can be joined with those of others
    label_codes, book = max(books, key=lambda one: sum(form in one[1] for form in forms))
    whole = {code for text in texts if _WHOLE_NUMBER.fullmatch(code := code_text(text))}
    if not whole <= set(book):
        raise DataError(_about_numbers(whole, task, table, label_codes))
    return TableLabels(
        label_codes, tuple(map(book.get, forms)), task.classes if label_codes == "task" else ()
    )


def _by_own_codes(texts: Sequence[str], task: Task, table: str, notes: list[str]) -> TableLabels:
    filled = [row for row, text in enumerate(texts) if text]
    values: list[int | None] = [None] * len(texts)
    if filled:
        own = np.array([texts[row] for row in filled])
        found = by_own_codes(own, task, len(filled), f"{table}: labels", notes)
        for row, value in zip(filled, found.tolist(), strict=True):
            values[row] = value
    return TableLabels("own", tuple(values), task.classes)


def _about_numbers(whole: set[str], task: Task, table: str, label_codes: StoredCodes) -> str:
    found = sorted(whole, key=int)
    listed = ", ".join(found[:_LISTED]) + (", ..." if len(found) > _LISTED else "")
    known = "the other labels are findings"
    if label_codes == "task":
        numbered = ", ".join(f"{number} {name}" for number, name in enumerate(task.classes))
        known = f"task {task.name} numbers its classes {numbered}"
    return (
        f"{table}: the labels hold {listed}, and {known}, so that it is open what the numbers mean; write "
        "class names or findings, such as mass_malignant, in their place, name the task whose numbers they "
        "are, or say in a task of your own what each means (codes:); rows with an empty label are left out"
    )
