"""What a stored set says of how its images came from files, which is no part of its fingerprint."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainables.common.files import write_atomically
from trainables.data.declared_whites import WHITES
from trainables.data.from_files import FROM_FILES, FromFiles


def beside_content(
    preparation: Mapping[str, Any] | None, whites: Sequence[float], from_files: FromFiles | None = None
) -> dict[str, Any]:
    """Return what is known, by name, as it reads back from JSON, which has no tuples.

    Args:
        preparation: Steps by which whole mammograms were made ready; None for none.
        whites: White of images of 16 bits that do not state it; empty where it is not known.
        from_files: Sizes of the files, and how images were resized; None where it is not known.

    >>> beside_content({"size": (8, 8)}, [])
    {'preparation': {'size': [8, 8]}}
    """
    said: dict[str, Any] = {} if preparation is None else {"preparation": dict(preparation)}
    said |= {WHITES: list(whites)} if whites else {}
    said |= {} if from_files is None else {FROM_FILES: from_files.model_dump(mode="json")}
    plain: dict[str, Any] = json.loads(json.dumps(said))
    return plain


def add_to_stored(said: Mapping[str, Any], place: Path) -> None:
    """Replace what a stored set says; a search that opens it meanwhile reads the old content or the new.

    Args:
        said: What `beside_content` returned.
        place: Folder of the set.

    Raises:
        OSError: If it cannot be written.
    """
    meta = json.loads((place / "meta.json").read_text())
    write_atomically(place / "meta.json", json.dumps({**meta, **said}, indent=1) + "\n")
