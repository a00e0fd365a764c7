"""Parts that published collections share: finding their table, checking choices, and the finished listing."""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from trainables.common.errors import ConfigError, DataError
from trainables.common.text import count_text
from trainables.config.tasks import TASKS, StoredCodes, Task, task_named
from trainables.data.collections.collection import Choices, Cut, Example, Listing, Problem

DEFAULT_TASK: Final = "benign_malignant"  # of a user's own layout, unless another is asked for
PICTURES: Final = frozenset({".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".pgm", ".bmp"})
_DEPTH: Final = 3  # folders between the one that the user names and a table, as archives nest them
_CUTS: Final[Mapping[str, Cut]] = {"box": "box", "1": "roi_1", "2": "roi_2", "6": "data_set_6"}

ROI_METHODS: Final = {"roi_method": tuple(_CUTS)}


def has_table(*names: str) -> Callable[[Path], bool]:
    """Return a function that tells whether a folder holds one of some tables, at most three folders down.

    Args:
        names: Names of files; case does not matter.
    """

    def reads(path: Path) -> bool:
        return path.is_dir() and find_table(path, names) is not None

    return reads


def find_table(path: Path, names: Iterable[str]) -> Path | None:
    """Return the table of one of some names in a folder or at most three folders down; the nearest one.

    Args:
        path: Folder, or the table itself.
        names: Names of files, in the order in which they are preferred; case does not matter.
    """
    wanted = [name.lower() for name in names]
    if path.is_file():
        return path if path.name.lower() in wanted else None
    level = [path]
    for _ in range(_DEPTH + 1):
        found: dict[str, Path] = {}
        below: list[Path] = []
        for folder in level:
            for entry in _entries(folder):
                if entry.is_dir(follow_symlinks=False):
                    below.append(Path(entry.path))
                elif entry.name.lower() in wanted and entry.is_file():
                    found.setdefault(entry.name.lower(), Path(entry.path))
        for name in wanted:
            if name in found:
                return found[name]
        level = below
    return None


def needed_table(path: Path, choices: Choices, names: Sequence[str], what: str) -> Path:
    """Return the table that the user names, else one of some names.

    Raises:
        DataError: If there is none.
    """
    if choices.table is not None:
        if not choices.table.is_file():
            raise DataError(f"there is no table {choices.table}")
        return choices.table
    if not path.exists():
        raise DataError(f"there is no folder {path}")
    found = find_table(path, names)
    if found is None:
        raise DataError(f"{path} needs {' or '.join(names)}, the table of {what}; it is not there")
    return found


def checked_options(choices: Choices, known: Mapping[str, Sequence[str]] | None = None) -> dict[str, str]:
    """Return the options of a collection, each the first of its values unless chosen.

    Raises:
        DataError: If an option or a value is not known.
    """
    known = known or {}
    for name, value in choices.options.items():
        if name not in known:
            raise DataError(f"this collection has no option {name}; it has: {', '.join(known) or 'none'}")
        if value not in known[name]:
            raise DataError(f"the option {name} must be one of {', '.join(known[name])}; found {value!r}")
    return {name: choices.options.get(name, values[0]) for name, values in known.items()}


def task_option(
    choices: Choices, known: Mapping[str, Sequence[str]] | None = None
) -> tuple[Task, dict[str, str]]:
    """Return the task that is asked for, and the other options.

    Args:
        choices: What the user chooses: a task, or the option `task` with the name of a built-in one, or the
            file of own ones (`tasks.yaml`, of several `tasks.yaml:NAME`); without both `benign_malignant`.
        known: Other options -> their values, the first of which is the default.

    Raises:
        ConfigError: If the file cannot be used, or defines several tasks and none is named.
        DataError: If an option or a value is not known.
        UnknownNameError: If there is no such task.
    """
    known = known or {}
    for name in choices.options:
        if name != "task" and name not in known:
            raise DataError(f"this collection has no option {name}; it has: {', '.join(('task', *known))}")
    others = {name: value for name, value in choices.options.items() if name != "task"}
    options = checked_options(Choices(options=others), known)
    return choices.task or _task_said(choices.options.get("task", DEFAULT_TASK)), options


def _task_said(said: str) -> Task:
    """The built-in task of a name, or an own one of a file."""
    if said in TASKS:
        return TASKS[said]
    file, _, name = said.rpartition(":")
    if _is_file_of_tasks(said):
        file, name = said, ""
    if not _is_file_of_tasks(file):
        return task_named(said)
    from trainables.config.task_file import read_tasks, task_in

    if not name and len(known := read_tasks(Path(file))) > 1:
        raise ConfigError(
            f"{file} defines {', '.join(known)}; say which: --option task={file}:{next(iter(known))}"
        )
    return task_in(Path(file), name or None)


def _is_file_of_tasks(said: str) -> bool:
    return bool(said) and (Path(said).suffix.lower() in (".yaml", ".yml") or Path(said).is_file())


def no_table(choices: Choices) -> None:
    """Refuse a table of labels for a collection whose names or own files hold the labels.

    Raises:
        DataError: If the user names a table.
    """
    if choices.table is not None:
        raise DataError(
            f"this collection reads no table of labels, found --table {choices.table}; leave that option out"
        )


def cut_of(options: Mapping[str, str]) -> Cut:
    """How the regions are cut, by the option `roi_method`."""
    return _CUTS[options["roi_method"]]


def regions_of(choices: Choices, known: Sequence[str]) -> str:
    """Return the regions to take, the first of the known ones unless chosen.

    Raises:
        DataError: If the collection has no such regions.
    """
    if choices.regions is not None and choices.regions not in known:
        raise DataError(f"regions must be {' or '.join(known)} here; found {choices.regions!r}")
    return choices.regions or known[0]


def listing(
    path: Path,
    examples: Iterable[Example],
    codes: StoredCodes,
    *,
    notes: Iterable[str] = (),
    problems: Iterable[Problem] = (),
    classes: tuple[str, ...] = (),
) -> Listing:
    """Bring examples into the order of their names; of two of one name, the first in order of files stays.

    Raises:
        DataError: If there are none.
    """
    unused = list(problems)
    unique: dict[str, Example] = {}
    for example in sorted(examples, key=lambda example: (example.name, str(example.file))):
        if example.name in unique:
            unused.append(Problem(str(example.file), f"is called {example.name}, as another image is"))
        unique.setdefault(example.name, example)
    if not unique:
        why = f": {unused[0].what} {unused[0].reason}" if unused else ""
        raise DataError(f"{path} holds no image that can be used{why}")
    return Listing(tuple(unique.values()), codes, tuple(notes), tuple(unused), classes)


def without_torn_patients(examples: Sequence[Example], notes: list[str]) -> list[Example]:
    """Leave out training images of patients who are in the official test part too; the test part stays whole.

    Args:
        examples: Examples with the part that their authors gave them.
        notes: A sentence on what is left out is added here.
    """
    tested = {example.patient for example in examples if example.is_test}
    kept = [example for example in examples if example.is_test or example.patient not in tested]
    if len(kept) < len(examples):
        torn = {example.patient for example in examples if not example.is_test} & tested
        notes.append(
            f"{count_text(len(torn), 'patient')} of the official training and test parts: the test part "
            f"stays as it is, {count_text(len(examples) - len(kept), 'training example')} left out"
        )
    return kept


def image_size(file: Path) -> tuple[int, int] | None:
    """Return height and width by the header of an image file; None if it cannot be read."""
    from PIL import Image

    from trainables.data.dicom.reading import is_dicom, read_headers
    from trainables.data.image_errors import ImageFileError

    try:
        if is_dicom(file):
            header = read_headers(file)
            return (header.rows, header.columns) if header.rows and header.columns else None
        with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
            return image.height, image.width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, ImageFileError):
        return None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
    return [entry for entry in found if not entry.name.startswith((".", "__MACOSX"))]
