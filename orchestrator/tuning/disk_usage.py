"""What folders take on their disks, and what a disk budget leaves for stored features."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from results.run.run_folder import RunFolder
from trainables.common.files import write_atomically
from trainables.features.stored_files import features_folder

_BLOCK_BYTES: Final = 512  # unit of `st_blocks`


def disk_usage(folders: Iterable[Path]) -> int:
    """Return the bytes that folders take on their disks; a file that is reached twice counts once."""
    seen = set[tuple[int, int]]()
    total = 0
    for folder in folders:
        for place, _, names in os.walk(folder):
            for name in names:
                try:
                    found = os.lstat(os.path.join(place, name))  # noqa: PTH118 - a Path each takes most time
                except OSError:  # removed meanwhile
                    continue
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    total += found.st_blocks * _BLOCK_BYTES
    return total


def write_feature_limit(run: RunFolder, store: Path, *, budget: int, taken: int) -> None:
    """Tell the workers that read a run how much their features may take.

    Args:
        run: The run folder, or the copy of it that a machine has.
        store: Folder of the store.
        budget: Disk budget in bytes.
        taken: Bytes that everything under the budget takes, stored features included.
    """
    features = disk_usage([features_folder(store)])
    limit, before = max(0, budget - taken + features), run.store_limit()
    if before is None or abs(before - limit) > limit // 50:
        write_atomically(run.store_limit_file, f"{limit}\n")
