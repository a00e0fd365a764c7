"""Features that come from elsewhere, block by block: kept in the store if they are what they should be."""

import contextlib
import io
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from trainables.common.errors import PrefixError
from trainables.common.progress import worked
from trainables.common.remarks import remark_once
from trainables.features.budget import DiskBudget
from trainables.features.stored_files import Meta, Stored, checked_header, discard, meta_of
from trainables.features.stored_header import DamagedFeaturesError, ExpectedFeatures
from trainables.features.writer import PartialFile
from trainables.runtime.lender import FeatureLender


class FeatureSource(Protocol):
    """Where a store looks for features before it computes them."""

    def fetch(self, path: Path, room: DiskBudget, expected: ExpectedFeatures) -> Stored | None:
        """Copy a file of features to this machine's store; None if it is not there, damaged or does not fit.

        What the file claims about itself is checked before any room is made for it.

        Args:
            path: Destination, `<store>/prefix/<key>/<view>/<tap>.npy`; the lock of the view is held.
            room: Disk budget of this machine's store.
            expected: The features that are asked for.
        """
        ...


class LentFeatures:
    """Features of other machines, which a lender brings; a `FeatureSource`.

    If they cannot be had, they are computed here, after one warning.

    Args:
        lender: Brings them.
    """

    def __init__(self, lender: FeatureLender) -> None:
        self._lender = lender

    def fetch(self, path: Path, room: DiskBudget, expected: ExpectedFeatures) -> Stored | None:
        """Copy a file of another machine to this machine's store, see `FeatureSource`."""
        place = f"{path.parent.parent.name}/{path.parent.name}/{path.name}"
        try:
            offer = self._lender.offer(place)
            if offer is None:
                return None
            meta = meta_of(offer, place)
            blocks = (piece.data for piece in self._lender.pieces(place, meta.bytes))
            return kept(blocks, meta, path, room, expected, place)
        except DamagedFeaturesError as error:
            with contextlib.suppress(OSError):
                discard(path)
            remark_once(f"features of another machine are damaged and are not used: {error}")
        except (OSError, PrefixError) as error:
            remark_once(f"features of another machine did not arrive ({error}); they are computed here")
        return None


def kept(
    blocks: Iterable[bytes | memoryview],
    meta: Meta,
    path: Path,
    room: DiskBudget,
    expected: ExpectedFeatures,
    source: object,
) -> Stored | None:
    """Write features that come in blocks, and open them; None if there is no room for them.

    Args:
        blocks: Content of a file in order; the first block holds the whole header.
        meta: Metadata of the file.
        path: Destination; the lock of its view is held.
        room: Disk budget of this machine's store.
        expected: The features that are asked for.
        source: Where they come from, for messages.

    Raises:
        DamagedFeaturesError: If they are not what the metadata say, or not what is expected.
        OSError: If they cannot be written.
    """
    coming = iter(blocks)
    first: bytes | memoryview = next(coming, b"")
    checked_header(io.BytesIO(first), Path(str(source)), meta, expected)
    path.parent.mkdir(parents=True, exist_ok=True)
    with room.reservation() as reservation:
        if not reservation.make_room(meta.bytes):
            return None
        partial = PartialFile(path, meta.bytes)
    try:
        _write_checked(itertools.chain([first], coming), partial, meta, source)
        return partial.keep(meta, expected)
    except BaseException:
        partial.drop()
        raise


def _write_checked(
    blocks: Iterable[bytes | memoryview], partial: PartialFile, meta: Meta, source: object
) -> None:
    position = 0
    for block in blocks:
        if position + len(block) > meta.bytes:
            break
        partial.write(block, position)
        worked()
        position += len(block)
    if position != meta.bytes or partial.checksum() != meta.crc32:
        raise DamagedFeaturesError(f"{source} does not match its checksum")
