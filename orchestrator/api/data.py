"""Data sets from Python: `audit_data` and `describe_data`. They print nothing by themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from orchestrator.api.requests import completed
from orchestrator.audit.audit import OF_A_SEARCH, WHOLE
from orchestrator.audit.examined_set import ExaminedSet
from orchestrator.audit.stored_audits import audit_once
from orchestrator.description.page import description_page
from orchestrator.description.set_description import SetDescription, describe_set
from orchestrator.preflight.search_data import read_images, split_images, store_of
from orchestrator.request import SearchRequest
from results.run.audit_record import AuditRecord
from trainables.common.errors import SplitError
from trainables.common.files import write_atomically
from trainables.config.tasks import Task
from trainables.data.patches import PatchSet, select_rows
from trainables.data.split_record import Split

_TASK_FILES: Final = (".yaml", ".yml")


def audit_data(
    data: str | Path,
    task: Task | str,
    *,
    is_whole: bool = False,
    notify: Callable[[str], None] | None = None,
    **options: Any,
) -> AuditRecord:
    """Audit a data set: copies, patients in two parts, doubtful labels, one-sided origins, and shortcuts.

    The sealed test part is compared with the others, but no shortcut is scored on it.

    Args:
        data: Path of the data, or the name of built-in ones.
        task: A task, its name, or a YAML file that defines it.
        is_whole: Look at more images of a large set than a search does.
        notify: Function called with remarks on the data.
        options: Options of a search that read and split data, such as `label_codes`, `folds` or `store`.

    Returns:
        What was found; `lines()` says it in five lines.

    Raises:
        OrchestrateError: If the data cannot be read.
        OSError: If the store cannot be written.
    """
    request, patch_set = _opened(data, task, notify, options)
    split = _split(request, patch_set, notify)
    examined = ExaminedSet.of(patch_set, request.task_definition, split)
    return audit_once(examined, store_of(request), WHOLE if is_whole else OF_A_SEARCH)


def describe_data(
    data: str | Path,
    task: Task | str,
    out: str | Path | None = None,
    *,
    notify: Callable[[str], None] | None = None,
    **options: Any,
) -> SetDescription:
    """Describe a data set: counts, histograms, sizes, samples of each class, and odd images.

    Args:
        data: Path of the data, or the name of built-in ones.
        task: A task, its name, or a YAML file that defines it.
        out: HTML file to write; None writes none. It holds small copies of images.
        notify: Function called with remarks on the data.
        options: Options of a search that read data, such as `label_codes` or `store`.

    Raises:
        OrchestrateError: If the data cannot be read.
        OSError: If the file or the store cannot be written.
    """
    request, patch_set = _opened(data, task, notify, options)
    examined = ExaminedSet.of(patch_set, request.task_definition, None)
    description = describe_set(examined)
    if out is not None:
        write_atomically(Path(out), description_page(description, patch_set))
    return description


def _opened(
    data: str | Path, task: Task | str, notify: Callable[[str], None] | None, options: dict[str, Any]
) -> tuple[SearchRequest, PatchSet]:
    given: dict[str, Any] = {"data": str(data), **options}
    if isinstance(task, Task):
        given |= {"task": task.name} | ({"own_task": task} if task.is_own else {})
    else:
        given["own_task" if task.endswith(_TASK_FILES) else "task"] = task
    request = completed(given)
    say = notify or (lambda _: None)
    patch_set, notes = read_images(request, say)
    for note in notes:
        say(note)
    return request, patch_set


def _split(request: SearchRequest, patch_set: PatchSet, notify: Callable[[str], None] | None) -> Split | None:
    """The split that a search would make; None where it would refuse to, which is said."""
    try:
        return split_images(request, patch_set, select_rows(patch_set, request.task_definition))
    except SplitError as error:
        if notify is not None:
            notify(f"WARNING: no search can split these data: {error}")
        return None
