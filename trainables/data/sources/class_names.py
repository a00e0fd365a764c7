"""Names of class folders, and the code book that they belong to."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.common.errors import DataError
from trainables.common.text import plain_name
from trainables.config.tasks import FINDINGS, LEFT_OUT, LabelCodes, StoredCodes, Task


@dataclass(frozen=True, slots=True)
class ClassNames:
    """Code book that maps folder names to label codes.

    Attributes:
        label_codes: Name of the code book.
        code_of_name: Plain name of a class folder -> label code.
    """

    label_codes: StoredCodes
    code_of_name: dict[str, int]

    def code(self, folder: Path) -> int:
        """Return the label code of a class folder."""
        return self.code_of_name[plain_name(folder.name)]


def code_books(task: Task, given: LabelCodes | None) -> tuple[ClassNames, ...]:
    """Return the code books that folder names may belong to: class names, numbers and findings.

    Those of an own task are its folders with its class names, and its codes or numbers.

    Args:
        task: Task, whose class names are folder names.
        given: Code book of numbers as names; None reads 0, 1, ... as the task's classes.
    """
    if task.is_own:
        return _own_books(task)
    numbers = len(task.classes) if given in (None, "task") else len(FINDINGS)
    return (
        ClassNames("task", {name: index for index, name in enumerate(task.classes)}),
        ClassNames(given or "task", {str(number): number for number in range(numbers)}),
        ClassNames("pisa", {name: index for index, name in enumerate(FINDINGS)}),
    )


def _own_books(task: Task) -> tuple[ClassNames, ...]:
    place = {name: index for index, name in enumerate(task.classes)}
    names = {plain_name(name): index for name, index in place.items()}
    folders = {folder: place[name] for folder, name in task.folders.items()}
    codes = {plain_name(str(code)): place[name] for code, name in task.codes.items()}
    numbers = {str(index): index for index in place.values()}
    left_out = {plain_name(str(name)): LEFT_OUT for name in task.left_out}
    return (
        ClassNames("own", names | folders | left_out),
        ClassNames("own", (codes or numbers) | left_out),
    )


def class_names(folders: Sequence[Path], task: Task, given: LabelCodes | None) -> ClassNames:
    """Find the code book in which every folder name is a class.

    Args:
        folders: Class folders.
        task: Task, whose class names are folder names.
        given: Code book by the user, or None.

    Raises:
        DataError: If there is none, or it is not the user's; the message holds the nearest name.
    """
    found = {plain_name(folder.name): folder.name for folder in folders}
    books = code_books(task, given)
    for book in books:
        if set(found) <= set(book.code_of_name):
            if not task.is_own and given not in (None, book.label_codes):
                raise DataError(
                    f"the class folders {', '.join(sorted(found.values()))} say what they hold (label codes "
                    f"{book.label_codes}), against --label-codes {given}; leave that option out"
                )
            return book
    known = {name for book in books for name in book.code_of_name}
    strange = sorted(set(found) - known) or sorted(found)
    near = difflib.get_close_matches(strange[0], sorted(known), n=1)
    hint = f"; did you mean {near[0]} for {found[strange[0]]}?" if near and near[0] != strange[0] else ""
    listed = ", ".join(sorted(found.values())[:8])
    raise DataError(f"class folders must be named {expected_names(task)}; found: {listed}{hint}")


def expected_names(task: Task) -> str:
    """Return the names that class folders may have, in words."""
    if task.is_own:
        named = ", ".join(dict.fromkeys((*task.classes, *task.folders)))
        codes = f"its codes ({', '.join(map(str, task.codes))})" if task.codes else "numbers from 0"
        return f"{named}, or {codes}, as task {task.name} says (folders: and left_out: take in others)"
    return (
        f"{' and '.join(task.classes)}, 0 and 1, findings ({', '.join(FINDINGS)}), "
        "or code numbers with --label-codes"
    )
