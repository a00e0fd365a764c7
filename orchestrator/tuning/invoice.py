"""What a depot offers to machines that do not see the folder of its run, and how they ask for it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainables.data.set_copy import SetFile

Piece: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a machine must have before it can run a trial.

    Attributes:
        run: Run folder on its own machine, for messages.
        host: Name of that machine.
        search: Content of `search.yaml`.
        split: Content of the split manifest.
        small: Path below the copy -> content, of modules and of records of finished trials.
        set_files: Files of the patch set.
        set_id: Fingerprint of the patch set.
        source_files: Path below the copy -> size in bytes, of predictions and weights of finished trials.
    """

    run: str
    host: str
    search: bytes
    split: bytes
    set_id: str
    set_files: tuple[SetFile, ...]
    small: Mapping[str, bytes] = field(default_factory=dict)
    source_files: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WeightsOffer:
    """Pretrained weights of one backbone that the depot can send.

    Attributes:
        name: File name by which `--weights-dir` finds them.
        size: Size in bytes.
        notes: Content of the notes beside the file; None without notes.
    """

    name: str
    size: int
    notes: bytes | None = None


class DepotClient(Protocol):
    """A depot as another machine reaches it."""

    def invoice(self) -> Invoice:
        """Return what a machine must have."""
        ...

    def weights(self) -> Mapping[str, WeightsOffer]:
        """Return backbone -> weights of the search."""
        ...

    def choices(self, known: Collection[str]) -> Mapping[str, bytes]:
        """Return name -> content of measured choices, without those that are known."""
        ...

    def has_score(self) -> bool:
        """Tell whether a trial of the search is complete."""
        ...

    def has_record(self, number: int) -> bool:
        """Tell whether a trial has ended."""
        ...

    def checkpoint_bytes(self, number: int) -> int | None:
        """Return the size of a trial's checkpoint; None without one."""
        ...

    def keep_checkpoint(self, number: int, content: Piece) -> None:
        """Write the checkpoint of a trial whose worker is about to end, unless the trial has ended."""
        ...

    def pieces(self, name: str, size: int) -> Iterator[Piece]:
        """Yield a file of the depot in pieces, in order."""
        ...
