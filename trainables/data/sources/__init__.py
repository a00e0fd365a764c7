"""Sources of labelled images. Every `Source` that a module of this folder defines is in `SOURCES`."""

import dataclasses
import difflib
import os
import shutil
import sys
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from trainables.common.discovery import constants_of
from trainables.common.errors import ConfigError, DataError, UnknownNameError
from trainables.common.files import folder_in_progress
from trainables.config.tasks import LabelCodes, Task, UpperFolders
from trainables.data.from_files import FromFiles
from trainables.data.image_array import ARRAY_FILE, read_image_files
from trainables.data.image_survey import surveyed
from trainables.data.patches import PatchSet, RawPatches, store_patch_set
from trainables.data.source import ImageFiles, Source, Stated
from trainables.data.sources.own_codes import by_own_codes

SOURCES: Final[Mapping[str, Source]] = MappingProxyType(
    {source.name: source for source in constants_of(sys.modules[__name__], Source)}
)


def load_patch_set(  # noqa: PLR0913 - what is known about the data, each with its own option
    data: str,
    *,
    task: Task,
    label_codes: LabelCodes | None,
    store: Path,
    source: str | None = None,
    max_value: float | None = None,
    upper_folders: UpperFolders | None = None,
    as_declared: bool = False,
) -> tuple[PatchSet, list[str]]:
    """Load labelled images, check them, and write a copy to the store.

    Args:
        data: `phantom` (or `phantom:subtlety=0.7,patients=80,seed=3`), `wisconsin`, an `.npz` file, a folder
            that holds `train_tensor.npy`, a prepared set, or a folder of image files. A collection that has
            to be prepared first is for `trainables.data.prepared.on_the_way.load_data`.
        task: Task that the labels are for.
        label_codes: Code book of the label numbers; None decides from the numbers or folder names.
        store: Folder of the stored data; the copy is in `<store>/data/<fingerprint>/`.
        source: Name in `SOURCES`; None decides from `data`.
        max_value: Largest value that a pixel can have, as the user states it; None finds the range in use.
        upper_folders: What folders above the class folders are; None decides from their names and content.
        as_declared: Take the whole range of the number type and tie no copies of one picture together, as for
            a search of an earlier version.

    Returns:
        The stored patch set, and sentences to print on decisions, conversions and missing parts.

    Raises:
        UnknownNameError: If there is no such source.
        DataError: If the data are missing or cannot be used, or are images where the task takes a table; the
            message says what to do.
        OneClassError: If fewer than two classes of the task are there.
    """
    data = _as_it_is_spelt(data)
    name = source_of(data) if source is None else source
    if name not in SOURCES:
        raise UnknownNameError("source", name, SOURCES)
    if SOURCES[name].takes_path:
        _check_exists(data)
    try:
        _check_stated_codes(label_codes, task)
        stated = Stated(None if task.is_own else label_codes, upper_folders)
        found, notes = SOURCES[name].load(data, task, stated)
        _check_kind(found, task)
        if upper_folders is not None and not isinstance(found, ImageFiles):
            raise DataError(f"--upper-folders is for folders of images, and {data} is none; leave it out")
        if task.is_own and found.label_codes != "own":
            labels = by_own_codes(found.labels, task, len(found.labels), f"{found.source}: labels", notes)
            found = dataclasses.replace(found, labels=labels, label_codes="own")
        # Refuses a label outside the code book before anything is stored.
        task.classify(found.labels, found.label_codes)
        if found.patients is None:
            notes.append("no patient ids: folds cannot be grouped by patient, so scores may be optimistic")
        if max_value is not None and (not SOURCES[name].takes_path or task.takes_table):
            raise DataError(f"--max-value is for images of your own, and {data} is not: leave it out")
        is_known = as_declared or not SOURCES[name].takes_path
        return _stored(found, notes, store / "data", max_value, is_known=is_known), notes
    except MemoryError as error:
        raise DataError(
            f"{data} needs more memory than this machine has ({error}); give the images as files in class "
            "folders, which are read one by one"
        ) from error


def _stored(
    found: RawPatches | ImageFiles,
    notes: list[str],
    folder: Path,
    max_value: float | None,
    *,
    is_known: bool,
) -> PatchSet:
    """Read the image files if need be, find range and copies of pictures unless known, and store the set."""
    if isinstance(found, RawPatches):
        if found.shared_file is not None:
            with folder_in_progress(folder / "reading") as scratch:
                raw = _linked(found, found.shared_file, scratch)
                if not is_known:
                    raw = surveyed(
                        raw, lambda row: f"row {row}", notes, given=max_value, stated=found.max_value
                    )
                return store_patch_set(raw, folder)
        raw = found
        if not is_known and found.images.ndim > 2:
            raw = surveyed(found, lambda row: f"row {row}", notes, given=max_value)
        return store_patch_set(raw, folder)
    with folder_in_progress(folder / "reading") as scratch:
        read = read_image_files(found.files, scratch, notes, max_value=max_value)
        raw = RawPatches(
            images=read.images,
            labels=found.labels,
            label_codes=found.label_codes,
            patients=found.patients,
            is_test=found.is_test,
            is_extra=found.is_extra,
            source=found.source,
            file=scratch / ARRAY_FILE,
            from_files=FromFiles.of(read.shapes.tolist(), resized="in range"),
        )
        if not is_known:
            raw = surveyed(raw, found.names.__getitem__, notes, given=max_value, stated=read.stated_max)
        stored = store_patch_set(raw, folder)
        if len(stored.labels) < len(
            found.names
        ):  # images that were left out since have taken their places along
            return stored
        return dataclasses.replace(stored, names=found.names, file_shapes=read.shapes)


def _linked(found: RawPatches, file: Path, scratch: Path) -> RawPatches:
    """Give the store a second name of a file, which it may take over; a copy on another disk."""
    link = scratch / ARRAY_FILE
    try:
        os.link(file, link)
    except OSError:
        shutil.copyfile(file, link)
    return dataclasses.replace(found, images=np.load(link, mmap_mode="r"), file=link, shared_file=None)


def source_of(data: str) -> str:
    """Return the name of the source that reads `data`.

    Raises:
        DataError: If it does not exist, or no source reads such a file.

    >>> source_of("phantom:subtlety=0.7")
    'phantom'
    """
    if is_built_in(data):
        return data.partition(":")[0]
    _check_exists(data)
    path = Path(data)
    readers = [source for source in SOURCES.values() if source.takes_path and source.reads(path)]
    if readers:
        return max(readers, key=lambda source: source.precedence).name
    known = ", ".join(source.accepts for source in SOURCES.values() if source.takes_path)
    raise DataError(f"no source reads {path.name}; give {known}, or phantom")


def default_data(task: Task) -> str:
    """Name of the built-in data that a task is searched on when no data are given.

    Raises:
        ConfigError: If it is a user's own task, whose images are not built in.

    >>> from trainables.config.tasks import task_named
    >>> default_data(task_named("benign_malignant")), default_data(task_named("wisconsin"))
    ('phantom', 'wisconsin')
    """
    if task.is_own:
        raise ConfigError(
            f"task {task.name} is your own, so it needs data of yours: give them with --data PATH"
        )
    return "wisconsin" if task.takes_table else "phantom"


def is_built_in(data: str) -> bool:
    """True if data are given by name, not by path.

    >>> is_built_in("phantom:seed=3"), is_built_in("wisconsin"), is_built_in("patches.npz")
    (True, True, False)
    """
    source = SOURCES.get(data.partition(":")[0])
    return source is not None and not source.takes_path


def _check_stated_codes(given: LabelCodes | None, task: Task) -> None:
    if task.is_own and given not in (None, "task"):
        raise DataError(
            f"task {task.name} says itself what labels mean (codes: in its definition), against "
            f"--label-codes {given}; leave that option out"
        )


def _check_kind(found: RawPatches | ImageFiles, task: Task) -> None:
    shape = None if isinstance(found, ImageFiles) else found.images.shape[1:]
    is_table = shape is not None and len(shape) == 1
    if is_table == task.takes_table:
        return
    if is_table and shape is not None:
        raise DataError(
            f"task {task.name} takes images, but {found.source} is a table of {shape[0]} "
            "measurements; give images, or search the task wisconsin"
        )
    size = "" if shape is None else f" of {'x'.join(map(str, shape))}"
    raise DataError(
        f"task {task.name} takes a table of measurements, but {found.source} holds images{size}; leave "
        "--data out, or write --data wisconsin"
    )


def _as_it_is_spelt(data: str) -> str:
    """The path whose name looks like the one given, whichever way its accents are encoded."""
    path = Path(data)
    if is_built_in(data) or path.exists() or not path.parent.is_dir():
        return data
    looks_alike = (entry for entry in path.parent.iterdir() if _in_nfc(entry.name) == _in_nfc(path.name))
    return str(next(looks_alike, path))


def _in_nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _check_exists(data: str) -> None:
    path = Path(data)
    if path.exists():
        return
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, [*siblings, "phantom"], n=1, cutoff=0.5)
    hint = f"; did you mean {_sibling(path, near[0])}?" if near else ""
    if not siblings and not path.parent.is_dir():
        hint = f"; there is no folder {path.parent} either"
    raise DataError(f"no data at {data}{hint}")


def _sibling(path: Path, name: str) -> str:
    return name if name == "phantom" else str(path.with_name(name))
