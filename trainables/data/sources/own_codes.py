"""Labels of a user's own task: from the numbers or texts that data hold to class indices."""

import difflib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.common.errors import DataError
from trainables.common.text import count_text, plain_name
from trainables.common.types import IntArray
from trainables.config.task_checks import are_names_and_numbers, code_text, codes_in_listed_order
from trainables.config.tasks import LEFT_OUT, Task
from trainables.data.columns import decoded_text
from trainables.data.sources.checks import parse_labels

_LISTED = 8  # labels that a message names


def by_own_codes(labels: NDArray[Any], task: Task, count: int, where: str, notes: list[str]) -> IntArray:
    """Return the class index of every label, by the codes of an own task.

    Args:
        labels: Numbers or texts, shape (count,).
        task: Own task. Labels are its codes, or class names in any case; without codes also numbers from 0
            in the order in which its classes were listed. No label is a class name where a code that is
            spelt like one stands for another class.
        count: Number of images.
        where: File and array, for messages, such as "biopsies.npz: labels".
        notes: Sentences on the codes and on rows that are left out are added here.

    Returns:
        Class indices, int64, shape (count,); `LEFT_OUT` for labels that the task leaves out.

    Raises:
        DataError: If there is not one label an image, or a label is neither a code nor left out.

    >>> density = Task("density", ("fatty", "dense"), codes={1: "fatty", 2: "dense"}, left_out=(9,))
    >>> by_own_codes(np.array([1, 2, 9]), density, 3, "labels", [])
    array([ 0,  1, -1])
    """
    texts = _texts(labels, count, where)
    book, counts = _CodeBook.of(task), Counter(texts)
    found = {text: index for text in counts if (index := book.index(text)) is not None}
    unknown = [text for text in counts if text not in found]
    if unknown:
        raise DataError(_about_unknown(unknown, counts, book.codes, task, where))
    codes = ((code, index) for code, index in book.codes.items() if index != LEFT_OUT)
    listed = ", ".join(f"{code}={task.classes[index]}" for code, index in codes)
    notes.append(f"label codes: those of task {task.name} ({listed})")
    left_out = {text: number for text, number in counts.items() if found[text] == LEFT_OUT}
    if left_out:
        rows, named = count_text(sum(left_out.values()), "row"), ", ".join(sorted(left_out))
        notes.append(f"left out, as task {task.name} says: {rows} with label {named}")
    return np.array([found[text] for text in texts], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class _CodeBook:
    """Codes in their form -> class index, and plain names of classes that labels may be, too -> the same."""

    codes: Mapping[str, int]
    names: Mapping[str, int]
    form: Callable[[str], str]

    @classmethod
    def of(cls, task: Task) -> "_CodeBook":
        place = {name: index for index, name in enumerate(task.classes)}
        are_names = not task.codes or are_names_and_numbers(task.codes, task.classes)
        form = plain_name if are_names else code_text
        listed = task.codes or codes_in_listed_order(task.classes)
        codes = {form(str(code)): place[name] for code, name in listed.items()}
        names = {plain_name(name): index for name, index in place.items()}
        left_out = {form(str(one)): LEFT_OUT for one in task.left_out}
        coded = (codes | left_out).items()
        is_clear = all(names.get(plain_name(code), index) == index for code, index in coded)
        return cls(codes | left_out, names if is_clear else {}, form)

    def index(self, label: str) -> int | None:
        """Class index of a label, `LEFT_OUT` for one that is left out, None for one that is not known."""
        return self.codes.get(self.form(label), self.names.get(plain_name(label)))


def _texts(labels: NDArray[Any], count: int, where: str) -> list[str]:
    if labels.dtype.kind not in "US":
        return list(map(str, parse_labels(labels, count, where).tolist()))
    if labels.shape != (count,):
        raise DataError(
            f"{where} must hold one label an image: there are {count} images, "
            f"and labels of shape {labels.shape}"
        )
    return [code_text(text) for text in decoded_text(labels, where).tolist()]


def _about_unknown(
    unknown: list[str], counts: Mapping[str, int], book: Mapping[str, int], task: Task, where: str
) -> str:
    rows = count_text(sum(counts[text] for text in unknown), "row")
    listed = ", ".join(map(repr, unknown[:_LISTED])) + (", ..." if len(unknown) > _LISTED else "")
    near = difflib.get_close_matches(unknown[0], list(book), n=1)
    hint = f"; did you mean {near[0]!r} for {unknown[0]!r}?" if near else "."
    kind = "codes" if task.codes else "classes"
    return (
        f"{where}: {rows} hold {listed}, which task {task.name} does not know{hint} Its {kind}: "
        f"{', '.join(book)}. Add them to codes: in its definition, or to left_out: to leave those rows out"
    )
