"""Room on the disk of a search: a budget for runs and store together, and a pause while the disk is full.

While there is no room no trial starts; those that run go on, and one that has ended keeps its results in
memory until they can be written. Room is made of what can be missed: weights of losing trials, then stored
features, which are computed again.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator.study.patience import OutOfPatienceError, Patience, disk_reason
from orchestrator.tuning.disk_usage import disk_usage, write_feature_limit
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.common.files import LEAST_BYTES, is_disk_full, reserve
from trainables.features.budget import GB, DiskBudget, evict
from trainables.features.stored_files import features_folder

_LOOK_SECONDS: Final = 10.0
_SHARE_OF_LOOKING: Final = 0.02  # of the time at most, where a run folder has very many files
_MOST_LOSSES: Final = 6  # of trials in a row: there is room here, and it is another disk that is full


class NoRoomError(Exception):
    """There is no room on the disk for further trials, for now."""


class RoomKeeper:
    """Looks after the room of a search.

    Args:
        run: Run folder of the search.
        search: Request and facts of the search.
        free_weights: Function that removes weights of losing trials, at least as many bytes as it is given
            if there are as many, and returns how many it has removed.
        patience: How long room is waited for.
        clock: Function that returns seconds; injected for tests.
    """

    def __init__(
        self,
        run: RunFolder,
        search: SearchRecord,
        free_weights: Callable[[int], int],
        patience: Patience,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.run, self.search, self.patience, self._clock = run, search, patience, clock
        self._free_weights = free_weights
        gigabytes = search.request.disk_gb
        self._budget = None if gigabytes is None else round(gigabytes * GB)
        self._store = Path(search.store)
        self._folders = (search.request.runs, run.path, self._store)
        self._full: str | None = None  # what a full disk refused
        self._losses = 0  # of trials in a row, for want of room
        self._measured_at, self._pause = -float("inf"), _LOOK_SECONDS
        self._short: str | None = None  # what the last look at the budget found

    def filled(self, reason: str, *, is_lost: bool = False) -> None:
        """Note that something could not be written for want of room.

        Args:
            reason: What was refused.
            is_lost: A trial has lost its work with it, and is to be run again.
        """
        if self._full is None:
            self._full = reason
            self.patience.say(f"{reason}; no trial starts until there is room on the disk of {self.run.path}")
        self._losses += is_lost

    def is_written(self) -> None:
        """Note that a trial has written its results."""
        self._losses = 0
        self._measured_at = -float("inf")  # they take room

    @property
    def _needed(self) -> int:
        """Bytes that must fit before the disk counts as free: more, where what was free was not enough."""
        return LEAST_BYTES << max(0, self._losses - 1)

    def shortage(self) -> str | None:
        """Look for room, and make some if there is none; returns what is amiss, None if trials may start.

        Looks are rare, so that it may be asked often.
        """
        if self._full is None and self._budget is None:
            return None
        if self._clock() - self._measured_at < self._pause:
            return self._full or self._short
        begun = time.monotonic()
        try:
            self._short = self._over_budget()
            self._full = self._still_full()
        except OSError as error:
            if (reason := disk_reason(error)) is None:
                raise
            self._full = reason  # not even what makes room could be noted
        self._pause = max(_LOOK_SECONDS, (time.monotonic() - begun) / _SHARE_OF_LOOKING)
        self._measured_at = self._clock()
        return self._full or self._short

    def holds_back(self, *, is_idle: bool) -> bool:
        """Tell whether no trial may start for now.

        Args:
            is_idle: No trial runs, so that nothing is lost by waiting here until one may start.

        Raises:
            OutOfPatienceError: If there is none in time.
            KeyboardInterrupt: If the user interrupts the wait.
        """

        if self._losses >= _MOST_LOSSES:
            raise OutOfPatienceError(f"{self._losses} times in a row: {self._full or 'the disk was full'}")
        if self.shortage() is None:
            return False
        if is_idle:
            self._wait()
        return not is_idle

    def _wait(self) -> None:
        def look() -> None:
            self._measured_at = -float("inf")
            reason = self.shortage()
            if reason is not None:
                raise NoRoomError(reason)

        self.patience.done(look, lambda error: str(error) if isinstance(error, NoRoomError) else None)

    def _over_budget(self) -> str | None:
        """Keep runs and store below their budget; returns how far beyond they are all the same."""
        if self._budget is None:
            return None
        taken = disk_usage(self._folders)
        if taken > self._budget:
            taken -= self._free_weights(taken - self._budget)
        if taken > self._budget:
            taken -= self._free_features(taken - self._budget)
        write_feature_limit(self.run, self._store, budget=self._budget, taken=taken)
        if taken <= self._budget:
            return None
        return (
            f"runs and store take {taken / GB:.3g} of the {self._budget / GB:.3g} GB of --disk-gb, and hold "
            "nothing that this search could remove"
        )

    def _still_full(self) -> str | None:
        """Look whether as much can be written as was needed; if not, remove weights of losing trials."""
        if self._full is None or self._fits():
            if self._full is not None:
                self.patience.say("there is room on the disk again; trials start")
            return None
        self._free_weights(self._needed)
        return None if self._fits() else self._full

    def _fits(self) -> bool:
        try:
            reserve(self.run.path, self._needed)
        except OSError as error:
            if not is_disk_full(error):
                raise
            return False
        return True

    def _free_features(self, needed: int) -> int:
        """Remove stored features that nobody reads, the least recently used first; returns their bytes."""
        folder = features_folder(self._store)
        if not folder.is_dir():
            return 0
        freed = 0
        with DiskBudget(folder).reservation() as reservation:
            for file in reservation.files:
                if freed >= needed:
                    break
                if evict(file.path):
                    freed += file.bytes
        return freed


def trials_of_ensembles(run: RunFolder) -> set[int]:
    """Return the numbers of all trials that a built ensemble of a run needs."""
    return set[int]().union(*members_of_ensembles(run).values())


def members_of_ensembles(run: RunFolder) -> dict[str, set[int]]:
    """Return name -> numbers of the trials that it needs, for each built ensemble of a run."""
    found: dict[str, set[int]] = {}
    for path in sorted(run.ensembles.glob("*.json")):
        try:
            found[path.stem] = {int(number) for number in json.loads(path.read_bytes())["trials"]}
        except (OSError, ValueError, KeyError, TypeError):  # damaged: those who use it will say so
            continue
    return found
