"""Data of a search: what a source reads, or a published collection, prepared into the store first."""

from pathlib import Path
from typing import Final

from trainables.common.cores import count_cpus
from trainables.common.errors import UnknownNameError
from trainables.config.tasks import LabelCodes, Task, UpperFolders
from trainables.data.collections import COLLECTIONS
from trainables.data.collections.collection import Choices, Collection
from trainables.data.collections.parts import DEFAULT_TASK
from trainables.data.mammogram.preparation import Preparation
from trainables.data.patches import PatchSet
from trainables.data.prepared.engine import Progress, prepare
from trainables.data.prepared.identity import hashed
from trainables.data.prepared.settings import Settings
from trainables.data.prepared_set import is_prepared_set
from trainables.data.sources import SOURCES, is_built_in, load_patch_set
from trainables.data.sources.folder import holds_classes_of

_FOLDER: Final = "prepared"  # within the store
_NO_KEY: Final = b"name of the folder in the store"


def load_data(  # noqa: PLR0913 - what is known about the data, as for `load_patch_set`
    data: str,
    *,
    task: Task,
    label_codes: LabelCodes | None,
    store: Path,
    source: str | None = None,
    max_value: float | None = None,
    upper_folders: UpperFolders | None = None,
    as_declared: bool = False,
    progress: Progress = lambda done, total: None,
) -> tuple[PatchSet, list[str]]:
    """Load the data of a search; a raw collection is prepared as `data prepare` does without options.

    The labels of a user's own layout are read for the task, each task in a set of its own.

    Args:
        data: As for `load_patch_set`, or the path of a published collection.
        task: Task that the labels are for.
        label_codes: Code book of the label numbers; None decides from the data.
        store: Folder of the stored data.
        source: Name in `SOURCES` or `COLLECTIONS`; None decides from `data`.
        max_value: Largest value that a pixel can have, as the user states it.
        upper_folders: What folders above the class folders are.
        as_declared: As for `load_patch_set`.
        progress: Told how many images of how many are prepared.

    Raises:
        UnknownNameError: If there is no such source or collection.
        DataError: If the data are missing or cannot be used.
    """
    if source is not None and source not in {**SOURCES, **COLLECTIONS}:
        raise UnknownNameError("source", source, {**SOURCES, **COLLECTIONS})
    collection = collection_of(data, source, task)
    notes = list[str]()
    if collection is not None:
        folder, notes = _prepared(collection, Path(data), task, store, progress)
        data, source = str(folder), "prepared"
    patch_set, more = load_patch_set(
        data,
        task=task,
        label_codes=label_codes,
        store=store,
        source=source,
        max_value=max_value,
        upper_folders=upper_folders,
        as_declared=as_declared,
    )
    return patch_set, [*notes, *(note for note in more if note not in notes)]


def collection_of(data: str, source: str | None = None, task: Task | None = None) -> Collection | None:
    """Return the collection that must be prepared before a search; None for what is read directly.

    A published collection is known by the names of its files. Where the user has sorted these into class
    folders, the folders say what is asked, and no published collection is read.

    Args:
        data: As for `load_patch_set`, or the path of a published collection.
        source: Name in `SOURCES` or `COLLECTIONS`; None decides from `data`.
        task: Task that the labels are for; None leaves open whether folders are classes.
    """
    if source is not None:
        return None if source in SOURCES else COLLECTIONS[source]
    path = Path(data)
    if is_built_in(data) or not path.exists() or is_prepared_set(path):
        return None
    reading = [one for one in COLLECTIONS.values() if one.reads(path)]
    if task is not None and any(not one.is_general for one in reading) and holds_classes_of(path, task):
        reading = [one for one in reading if one.is_general]
    found = min(reading, key=lambda one: (one.is_general, one.is_read_directly), default=None)
    return None if found is None or found.is_read_directly else found


def _prepared(
    collection: Collection, path: Path, task: Task, store: Path, progress: Progress
) -> tuple[Path, list[str]]:
    asked = Choices(task=task) if collection.is_general else Choices()
    own = "" if asked.task is None or task.name == DEFAULT_TASK else f"-{task.name}"
    folder = store / _FOLDER / f"{collection.name}-{hashed(str(path.resolve()), _NO_KEY)}{own}"
    settings = Settings(steps=Preparation(), workers=processes())
    done = prepare(collection, path, folder, asked, settings, progress=progress, replaces=True)
    notes = [f"{path} is read as {collection.title}; orchestrate data prepare {collection.name} has options"]
    if done.problems:
        notes.append(
            f"WARNING: {len(done.problems)} of it cannot be used, such as {done.problems[0].what}, "
            f"which {done.problems[0].reason}; all are in {folder / 'problems.csv'}"
        )
    return folder, [*notes, *done.notes]


def processes() -> int:
    """Number of processes that prepare images: one a core that this program may use."""
    return count_cpus()
