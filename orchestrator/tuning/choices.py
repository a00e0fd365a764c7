"""Choices that were measured once and are kept in a store: the same on all machines of a search.

They decide speed only, but the order of summation with it, so that machines which measured for themselves
would give records that differ in their last digits. Each choice is named by what it depends on, the processor
included, so that one machine takes over what another of its kind has measured.
"""

import contextlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from trainables.common.files import write_new

# The folder and the names that `trainables.training.execution_mode` gives its files.
FOLDER: Final = "fusion"
_NAME: Final = re.compile(r"[0-9a-f]{24}\.json")
_LONGEST: Final = 4096  # bytes; a choice takes about a hundred


def choices_in(store: Path, *, but: Collection[str] = ()) -> dict[str, bytes]:
    """Return name -> content of the choices of a store, without those that are known."""
    names = [path for path in (store / FOLDER).glob("*.json") if path.name not in but]
    return {path.name: path.read_bytes() for path in names if is_choice(path.name)}


def keep_choices(choices: Mapping[str, bytes], store: Path) -> None:
    """Keep choices in a store; those that it has stay.

    Raises:
        OSError: If the store cannot be written.
    """
    for name, content in choices.items():
        if is_choice(name) and len(content) <= _LONGEST:
            with contextlib.suppress(FileExistsError):
                write_new(store / FOLDER / name, content)


def is_choice(name: str) -> bool:
    """Tell whether a file of this name can hold a choice.

    >>> is_choice("832742ac434f739265c8c607.json"), is_choice("../search.yaml")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None
