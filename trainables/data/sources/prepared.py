"""Data source of a prepared set: its images are memory-mapped, its labels put to the task's question."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from trainables.common.errors import DataError
from trainables.common.text import plain_name
from trainables.config.tasks import Task
from trainables.data.declared_steps import check_can_be_repeated
from trainables.data.patches import RawPatches
from trainables.data.patient_gaps import note_patient_gaps
from trainables.data.prepared_set import PreparedSet, is_prepared_set, open_prepared_set
from trainables.data.source import Source, Stated
from trainables.data.sources.own_codes import by_own_codes


def load_prepared(data: str, task: Task, stated: Stated) -> tuple[RawPatches, list[str]]:
    """Open a prepared set.

    Args:
        data: Path of its folder.
        task: Task; labels that are class indices must be those of its classes.
        stated: What the user says; a prepared set states its label codes itself.

    Returns:
        The patches, and messages on what is left out and under which licence.

    Raises:
        DataError: If it is damaged, its labels do not answer the task's question, the patients of many
            images are unknown while others are known, or its scale is not declared.
    """
    found = open_prepared_set(Path(data))
    check_can_be_repeated(data, found.facts)
    raw, notes = found.as_patches(), _notes(found)
    if stated.label_codes not in (None, found.label_codes):
        raise DataError(
            f"{data} states its label codes itself, {found.label_codes}, against --label-codes "
            f"{stated.label_codes}; leave that option out"
        )
    return _for_task(raw, found, task, notes), notes


def _notes(found: PreparedSet) -> list[str]:
    notes = [f"licence: {found.facts['licence']}"] if found.facts["licence"] else []
    problems = int(found.facts["problems"])
    if problems:
        notes.append(
            f"{problems} of the collection were left out when the set was prepared: see problems.csv"
        )
    return [*notes, *note_patient_gaps(found.table)]


def _for_task(raw: RawPatches, found: PreparedSet, task: Task, notes: list[str]) -> RawPatches:
    """Express class indices in the classes of the task."""
    if found.label_codes not in ("task", "own"):
        return raw
    names = np.array([found.classes[label] for label in raw.labels.tolist()])
    place = {plain_name(name): index for index, name in enumerate(task.classes)}
    unknown = [name for name in found.classes if plain_name(name) not in place]
    if task.is_own and (unknown or found.label_codes == "task"):  # codes may give other names a meaning
        labels = by_own_codes(names, task, len(names), f"{found.folder.name}: labels", notes)
        _note_lacking(found, task, set(labels.tolist()), notes)
        return replace(raw, labels=labels, label_codes="own")
    if unknown:
        raise DataError(
            f"{found.folder.name} holds the classes {', '.join(found.classes)}, and task {task.name} asks "
            f"for {', '.join(task.classes)}; search another task, or define your own of these classes"
        )
    _note_lacking(found, task, {place[plain_name(name)] for name in found.classes}, notes)
    labels = np.array([place[plain_name(name)] for name in names.tolist()], dtype=np.int64)
    return replace(raw, labels=labels, label_codes="own" if task.is_own else raw.label_codes)


def _note_lacking(found: PreparedSet, task: Task, known: set[int], notes: list[str]) -> None:
    """Warn of classes of the task that the set was not prepared for, so that no image has one of them."""
    lacking = [name for index, name in enumerate(task.classes) if index not in known]
    if lacking:
        notes.append(
            f"WARNING: {found.folder.name} was prepared for the classes {', '.join(found.classes)}, so that "
            f"none of its images is {' or '.join(lacking)}: rows of such a label were left out if there were "
            f"any, and scores say nothing of {'that class' if len(lacking) == 1 else 'those classes'}"
        )


PREPARED = Source("prepared", load_prepared, "a prepared set", is_prepared_set, precedence=3)
