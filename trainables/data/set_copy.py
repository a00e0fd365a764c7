"""Copy of a stored patch set on another machine: which files it has, and whether the copy is the same set."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.common.errors import DataError
from trainables.common.files import folder_in_progress, replace_folder
from trainables.data.patches import PatchSet, RawPatches, fingerprint_of, open_patch_set


@dataclass(frozen=True, slots=True)
class SetFile:
    """A file of a stored set.

    Attributes:
        name: Name in the folder of the set, such as `images.npy`.
        bytes: Size in bytes.
    """

    name: str
    bytes: int


def files_of_set(folder: Path, fingerprint: str) -> tuple[SetFile, ...]:
    """Return the files of a stored set.

    Args:
        folder: Folder of all stored sets.
        fingerprint: Fingerprint of the set.

    Raises:
        DataError: If the set is not there, or its files are damaged.
    """
    open_patch_set(folder, fingerprint)
    place = folder / fingerprint
    found = sorted(path for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
    return tuple(SetFile(path.name, path.stat().st_size) for path in found)


def has_set(folder: Path, fingerprint: str) -> bool:
    """Tell whether a set is stored in a folder, whole as far as its headers tell."""
    with contextlib.suppress(DataError):
        open_patch_set(folder, fingerprint)
        return True
    return False


def copy_set(
    files: Sequence[SetFile], folder: Path, fingerprint: str, write: Callable[[SetFile, Path], None]
) -> None:
    """Store a set that comes from another machine, whole or not at all.

    Args:
        files: Files of the set.
        folder: Folder of all stored sets on this machine.
        fingerprint: Fingerprint that the set must have.
        write: Writes one file to a path, from wherever it comes.

    Raises:
        DataError: If what came is not that set.
        OSError: If the folder cannot be written.
    """
    place = folder / fingerprint
    with folder_in_progress(place) as temporary:
        # A set is opened below the name of its fingerprint.
        draft = temporary / fingerprint
        draft.mkdir()
        for file in files:
            write(file, draft / _checked_name(file.name))
        check_fingerprint(open_patch_set(temporary, fingerprint))
        replace_folder(place, draft)


def check_fingerprint(patch_set: PatchSet) -> None:
    """Read a whole set, and make sure that its content is what its fingerprint says.

    Raises:
        DataError: If it is not.
    """
    found = fingerprint_of(
        RawPatches(
            images=patch_set.images,
            labels=patch_set.labels,
            label_codes=patch_set.label_codes,
            patients=patch_set.patients,
            partners=patch_set.partners,
            is_test=patch_set.is_test,
            is_extra=patch_set.is_extra,
            max_value=patch_set.max_value,
            duplicate_of=patch_set.duplicate_of,
            columns=patch_set.columns,
        )
    )
    if found != patch_set.fingerprint:
        raise DataError(
            f"the patch set {patch_set.fingerprint[:12]} that came from another machine has the content of "
            f"{found[:12]}; its stored copy there is damaged: delete it and load the data again"
        )


def _checked_name(name: str) -> str:
    if Path(name).name != name or name.startswith("."):
        raise DataError(f"a patch set has no file {name!r}")
    return name
