"""What a machine lends of the features in its store, to machines of a search that have no GPU. Knows no Ray.

Files are asked for by their place in a store, never by paths, so a server hands out features alone.
"""

import os
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from orchestrator.tuning.depot import PIECE_BYTES
from orchestrator.tuning.invoice import Piece
from trainables.common.errors import MachineError
from trainables.features.stored_files import features_folder, meta_path

_PARTS: Final = 3  # key, view, file of a tap


class FeatureServer:
    """The features in the store of one machine.

    Args:
        store: Folder of the store.
    """

    def __init__(self, store: Path) -> None:
        self._folder = features_folder(store)

    def offer(self, place: str) -> str | None:
        """Return the metadata of a file of features, as text; None if it is not there.

        Args:
            place: `<key>/<view>/<tap>.npy`.

        Raises:
            MachineError: If no store has such a place.
        """
        path = self._path(place)
        try:
            text = meta_path(path).read_text()
            os.utime(meta_path(path))  # what is lent is in use, and not the first to be evicted
        except FileNotFoundError:
            return None
        return text if path.is_file() else None

    def piece(self, place: str, start: int) -> Piece:
        """Return a part of a file.

        Args:
            place: Place of the file.
            start: First byte; at most `PIECE_BYTES` follow.

        Raises:
            MachineError: If no store has such a place.
            OSError: If the file is not there any more.
        """
        return np.fromfile(self._path(place), dtype=np.uint8, count=PIECE_BYTES, offset=start)

    def _path(self, place: str) -> Path:
        path = PurePosixPath(place)
        parts = path.parts
        if (
            len(parts) != _PARTS
            or path.suffix != ".npy"
            or any(part.startswith((".", "/")) for part in parts)
        ):
            raise MachineError(f"a store has no features at {place!r}")
        return self._folder / path
