"""A folder shared by the nodes of a cluster: features that one node has computed, the others copy.

It has the layout of a store. Features are never read in place: they are copied to the node's own store and
checked on the way, so that nothing depends on how a network file system locks or caches. If the folder
fails, trials continue without it, after one warning.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from trainables.common.errors import PrefixError
from trainables.common.files import write_atomically
from trainables.common.remarks import remark_once
from trainables.features.arriving import kept
from trainables.features.budget import DiskBudget
from trainables.features.stored_files import (
    PARTIAL,
    Meta,
    Stored,
    discard,
    features_folder,
    meta_path,
    read_meta,
)
from trainables.features.stored_header import DamagedFeaturesError, ExpectedFeatures

_BLOCK_BYTES: Final = 1 << 22


class SharedFolder:
    """The shared folder, as one node sees it; a `FeatureSource`.

    Args:
        folder: Path given by the user; it must exist, since a missing one may be a disk that is not mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._damaged: set[Path] = set()
        self._is_writable = True

    def fetch(self, path: Path, room: DiskBudget, expected: ExpectedFeatures) -> Stored | None:
        """Copy a file of the folder to this node's store, see `FeatureSource`."""
        source = self._counterpart(path)
        try:
            if not self._is_there():
                return None
            return self._copied(source, read_meta(source), path, room, expected)
        except FileNotFoundError:
            return None
        except DamagedFeaturesError as error:
            self._damaged.add(source)
            with contextlib.suppress(OSError):
                discard(path)
            remark_once(f"shared features are damaged and are not used: {error}")
        except OSError as error:
            remark_once(f"shared store {self.folder} cannot be read ({error}); features are computed here")
        return None

    def publish(self, paths: Sequence[Path]) -> None:
        """Copy files of features to the shared folder, unless undamaged copies are there.

        Args:
            paths: Files in this node's store.
        """
        try:
            for path in paths:
                if self._is_writable and self._is_there():
                    self._publish(path)
        except OSError as error:
            self._is_writable = False
            remark_once(
                f"shared store {self.folder} cannot be written ({error}); what this node computes stays here"
            )

    def _is_there(self) -> bool:
        if self.folder.is_dir():
            return True
        remark_once(f"shared store {self.folder} is not there; each node computes its own features")
        return False

    def _counterpart(self, path: Path) -> Path:
        return features_folder(self.folder) / path.parent.parent.name / path.parent.name / path.name

    def _copied(
        self, source: Path, meta: Meta, path: Path, room: DiskBudget, expected: ExpectedFeatures
    ) -> Stored | None:
        with source.open("rb") as file:
            blocks = iter(lambda: file.read(_BLOCK_BYTES), b"")
            return kept(blocks, meta, path, room, expected, source)

    def _publish(self, path: Path) -> None:
        place = self._counterpart(path)
        if place not in self._damaged and meta_path(place).exists():
            return
        try:
            meta = read_meta(path)
            described = (path.parent.parent / "key.json").read_bytes()
            file = path.open("rb")
        except (FileNotFoundError, PrefixError):
            return  # evicted, or being replaced; somebody will compute it again
        key_file = place.parent.parent / "key.json"
        if not key_file.exists():
            write_atomically(key_file, described)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f"{place.name}.{uuid.uuid4().hex}{PARTIAL}")
        with file:
            try:
                with partial.open("wb") as copy:
                    shutil.copyfileobj(file, copy, _BLOCK_BYTES)
                    copy.flush()
                    os.fsync(copy.fileno())
                meta_path(place).unlink(missing_ok=True)
                partial.replace(place)
            finally:
                partial.unlink(missing_ok=True)
        write_atomically(meta_path(place), meta.as_json())
        self._damaged.discard(place)
