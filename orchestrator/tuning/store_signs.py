"""Signs of a folder, by which another machine tells that it sees this very one and none of the same path."""

import contextlib
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from trainables.common.errors import ConfigError
from trainables.common.files import is_seen_folder
from trainables.features.stored_files import features_folder

RULE: Final = "must be a folder that all machines of the search see"
REMEDY: Final = "mount the same folder on all of them, or leave --shared-store out"
_MOST_SIGNS: Final = 64  # stored features that must be there where no mark can be left


@dataclass(frozen=True, slots=True)
class Signs:
    """Files by which a machine tells that it sees this very folder.

    Attributes:
        folder: The folder.
        names: Their names in it.
    """

    folder: Path
    names: tuple[str, ...]


@contextlib.contextmanager
def signs_in(folder: Path) -> Iterator[Signs]:
    """Yield signs of a folder: a mark that is taken away afterwards, or what it holds if it is read-only.

    Args:
        folder: The folder, as the machine of the run folder sees it.

    Raises:
        ConfigError: If it is not there, or has nothing to be told by.
    """
    mark, here = folder / f".mark-{uuid.uuid4().hex}", socket.gethostname()
    try:
        mark.touch()
    except OSError as error:
        if not is_seen_folder(folder):
            raise ConfigError(
                f"--shared-store {folder} {RULE}, but on {here}, where the search was started, it is not "
                f"there: {REMEDY}"
            ) from error
        signs = _stored(folder)
        if not signs.names:
            raise ConfigError(
                f"--shared-store {folder} cannot be written on {here} ({error.strerror}) and holds no "
                "features: let it be written there, or leave --shared-store out"
            ) from error
        yield signs
        return
    try:
        yield Signs(folder, (mark.name,))
    finally:
        with contextlib.suppress(OSError):
            mark.unlink(missing_ok=True)


def _stored(folder: Path) -> Signs:
    """Names of stored features, which are digests of what they were computed from."""
    with contextlib.suppress(OSError):
        found = islice(features_folder(folder).iterdir(), _MOST_SIGNS)
        return Signs(folder, tuple(path.relative_to(folder).as_posix() for path in found))
    return Signs(folder, ())


def fault_here(signs: Signs) -> str:
    """Return what is wrong with the folder as this machine sees it; empty if it is the one with the signs.

    Args:
        signs: Signs from `signs_in` of another machine.
    """
    try:
        for name in signs.names:
            (signs.folder / name).stat()
    except (FileNotFoundError, NotADirectoryError):
        return "it is another folder" if is_seen_folder(signs.folder) else "it is not there"
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    return ""
