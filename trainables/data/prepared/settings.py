"""Settings of a preparation: what is the same for every image of a set."""

import hashlib
from dataclasses import dataclass
from typing import Any, Final

from trainables.common.errors import ConfigError
from trainables.data.mammogram.preparation import Preparation
from trainables.data.prepared.identity import hashed

_OF_NOBODY: Final = "which key these ids are hashed with"  # a text that is no id


@dataclass(frozen=True, slots=True)
class Settings:
    """What is done to every image.

    Attributes:
        size: Height and width of the prepared images, in pixels; None keeps the most frequent size, or with
            `mm_per_px` the largest one, to which the others are filled up with black.
        mm_per_px: Side of a prepared pixel in millimetres; None resamples to a size alone. Images whose files
            do not state the spacing of their pixels are then left out.
        steps: How whole mammograms are made ready; None leaves them as they are, but for their size. A set
            with `mm_per_px` declares its scale as a step, whatever its images are.
        allows_for_processing: Read DICOM images whose pixels are meant for further processing, too.
        key: Key of the hashes that stand for patients, examinations and names; None keeps these.
        is_strict: Stop at the first image that cannot be used.
        workers: Number of processes; it changes nothing in the set.

    Raises:
        ConfigError: If a number is out of range.
    """

    size: tuple[int, int] | None = None
    mm_per_px: float | None = None
    steps: Preparation | None = None
    allows_for_processing: bool = False
    key: bytes | None = None
    is_strict: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        if self.size is not None and not all(8 <= side <= 16384 for side in self.size):
            raise ConfigError(f"a size must be 8 to 16384 pixels a side, found {self.size[0]}x{self.size[1]}")
        if self.mm_per_px is not None and not 0.01 <= self.mm_per_px <= 10:
            raise ConfigError(f"a pixel must measure 0.01 to 10 mm, found {self.mm_per_px:g}")
        if self.workers < 1:
            raise ConfigError(f"the number of processes must be at least 1, found {self.workers}")

    def as_dict(self) -> dict[str, Any]:
        """What changes the pixels or the table, as plain values; of the key only that there is one."""
        return {
            "size": None if self.size is None else list(self.size),
            "mm_per_px": self.mm_per_px,
            "steps": None if self.steps is None else self.steps.as_dict(),
            "allows_for_processing": self.allows_for_processing,
            "has_hashed_ids": self.key is not None,
        }

    def key_digest(self) -> str:
        """Digest that tells keys apart; it stays within the folder of an unfinished preparation."""
        return "" if self.key is None else hashlib.sha256(b"key of ids:" + self.key).hexdigest()

    def key_id(self) -> str | None:
        """Hash that is the same for every set of one key, and tells nothing of it; None without a key."""
        return None if self.key is None else hashed(_OF_NOBODY, self.key)
