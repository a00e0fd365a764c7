"""Store of frozen features: computed once per key, read by every fold, epoch, trial and later search.

    <store>/prefix/<key>/key.json            readable description of the key
    <store>/prefix/<key>/<view>/<tap>.npy    one row per image, memory-mapped
    <store>/prefix/<key>/<view>/<tap>.json   size, checksum and compute time
    <store>/prefix/<key>/<view>.lock         held while the view is computed; released when its process ends

A tap is a point after a stage at which features are taken, as a map or averaged over positions. One forward
pass fills every tap that the search may ask for.
"""

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainables.common.files import write_atomically
from trainables.common.remarks import remark_once
from trainables.common.types import FloatArray
from trainables.features.arriving import FeatureSource, LentFeatures
from trainables.features.budget import DiskBudget, view_lock
from trainables.features.extraction import Compute, FillResult, FillTarget, fill
from trainables.features.keys import PrefixKey
from trainables.features.locks import held
from trainables.features.sharing import SharedFolder
from trainables.features.stored_files import (
    PARTIAL,
    Stored,
    discard,
    features_folder,
    meta_path,
    open_stored,
)
from trainables.features.stored_header import DamagedFeaturesError, ExpectedFeatures
from trainables.models.taps import Shape, Tap
from trainables.preprocessing.views import View
from trainables.runtime.lender import FeatureLender


@dataclass(frozen=True, slots=True)
class StoredViews:
    """Features of several views of the same images.

    Attributes:
        arrays: One (images, ...) array per view, float16 or float32, in memory or in a memory-mapped file
            that is not evicted as long as its array exists.
        computed: Number of views that this call computed.
        rebuilt: Number of computed views that replace a damaged file.
        fetched: Number of views that this call copied from the shared folder or another machine.
        seconds: Time of computing in this call, in seconds.
        seconds_per_image: Time of the frozen stages for one image in one view, in seconds, mean over the
            views; for stored features as recorded by the process that computed them.
        notes: Reasons why features could not be stored.
        waited_seconds: Time of this call until other processes had computed, in seconds.
    """

    arrays: tuple[FloatArray, ...]
    computed: int
    rebuilt: int
    fetched: int
    seconds: float
    seconds_per_image: float
    notes: tuple[str, ...]
    waited_seconds: float = 0.0


@dataclass(slots=True)
class _Tally:
    computed: int = 0
    rebuilt: int = 0
    fetched: int = 0
    seconds: float = 0.0
    waited_seconds: float = 0.0
    costs: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The features that one call asks for: a tap of a key, and the forward pass that computes it."""

    key: PrefixKey
    folder: Path
    tap: Tap
    also: Sequence[Tap]
    compute: Compute
    shape: Shape | None

    @property
    def expected(self) -> ExpectedFeatures:
        return ExpectedFeatures(len(self.key.rows), self.tap, self.key.kind, self.shape)

    @property
    def others(self) -> list[Tap]:
        return [tap for tap in dict.fromkeys(self.also) if tap != self.tap]

    def path(self, view: View, tap: Tap | None = None) -> Path:
        return self.folder / str(view) / f"{tap or self.tap}.npy"


class PrefixStore:
    """A folder of stored features, shared by all processes of a node.

    Args:
        folder: Folder of the store; features are in `prefix` below it.
        budget_bytes: Largest size of the features on disk, in bytes; None for 200 GB, or for 80 % of the free
            space plus their own size if that is smaller.
        shared: Folder that all nodes share; None without one.
        lender: Brings features of other machines; None without one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        budget_bytes: int | None = None,
        shared: Path | None = None,
        lender: FeatureLender | None = None,
    ) -> None:
        self.folder = features_folder(folder)
        self.room = DiskBudget(self.folder, budget_bytes)
        self.shared = SharedFolder(shared) if shared else None
        lent = LentFeatures(lender) if lender else None
        self._sources: list[FeatureSource] = [source for source in (self.shared, lent) if source]

    def views(
        self,
        key: PrefixKey,
        views: Sequence[View],
        tap: Tap,
        *,
        also: Sequence[Tap],
        compute: Compute,
        shape: Shape | None = None,
    ) -> StoredViews:
        """Return the features of some views, and compute those that are missing.

        Views that another process is computing are left to it while there are others to compute, so that
        several workers that need the same key share the work. Features that cannot be stored, for lack of
        disk space or permission, are computed in memory for this call, and a note gives the reason.

        Args:
            key: Key of the features: data, backbone, weights, transform, number type.
            views: Views, in the order of the result.
            tap: Tap of the returned features.
            also: Other taps to fill in the same pass.
            compute: Forward pass, called for each missing view.
            shape: Shape (C, H, W) after the stage of the tap, which stored ones must have; None takes any.

        Raises:
            PrefixError: If the features are not finite, or there is no image.
        """
        wanted = _Wanted(key, self.folder / key.digest(), tap, also, compute, shape)
        found: dict[View, FloatArray] = {}
        tally = _Tally()
        for may_wait in (False, True):
            for view in views:
                if view not in found:
                    array = self._view(wanted, view, tally, may_wait=may_wait)
                    if array is not None:
                        found[view] = array
        return StoredViews(
            arrays=tuple(found[view] for view in views),
            computed=tally.computed,
            rebuilt=tally.rebuilt,
            fetched=tally.fetched,
            seconds=tally.seconds,
            seconds_per_image=sum(tally.costs) / max(1, len(tally.costs)),
            notes=tuple(dict.fromkeys(tally.notes)),
            waited_seconds=tally.waited_seconds,
        )

    def _view(self, wanted: _Wanted, view: View, tally: _Tally, *, may_wait: bool) -> FloatArray | None:
        """Open, fetch or compute one view; None if another process is computing it."""
        path = wanted.path(view)
        with contextlib.suppress(DamagedFeaturesError):  # looked at again when the lock of the view is held
            stored = open_stored(path, wanted.expected)
            if stored is not None:
                return _taken(stored, tally)
        with contextlib.ExitStack() as stack:
            target = FillTarget(path.parent, self.room)
            try:
                asked = time.perf_counter()
                if not stack.enter_context(held(view_lock(path.parent), may_wait=may_wait)):
                    return None
                tally.waited_seconds += time.perf_counter() - asked
                path.parent.mkdir(parents=True, exist_ok=True)
                for leftover in path.parent.glob(f"*{PARTIAL}"):  # of a process that died; we hold the lock
                    leftover.unlink()
            except OSError as error:
                tally.notes.append(_cannot_write(self.folder, error))
                return _computed(wanted, view, (wanted.tap,), None, tally).array
            stored = self._recovered(path, wanted.expected, tally)
            if stored is not None:
                return _taken(stored, tally)
            missing = [tap for tap in wanted.others if not meta_path(wanted.path(view, tap)).exists()]
            filled = _computed(wanted, view, (wanted.tap, *missing), target, tally)
            _describe(wanted)
        if self.shared:
            self.shared.publish(filled.written)
        return filled.array

    def _recovered(self, path: Path, expected: ExpectedFeatures, tally: _Tally) -> Stored | None:
        """Look for the file again, as no other process can write it now: here, then elsewhere."""
        try:
            stored = open_stored(path, expected)
        except DamagedFeaturesError as error:
            remark_once(f"stored features are damaged and are computed again: {error}")
            tally.rebuilt += 1
            with contextlib.suppress(OSError):
                discard(path)
            stored = None
        for source in self._sources:
            if stored is None:
                stored = source.fetch(path, self.room, expected)
                tally.fetched += stored is not None
        return stored


def _taken(stored: Stored, tally: _Tally) -> FloatArray:
    tally.costs.append(stored.meta.seconds_per_image)
    return stored.array


def _computed(
    wanted: _Wanted, view: View, taps: Sequence[Tap], target: FillTarget | None, tally: _Tally
) -> FillResult:
    images = len(wanted.key.rows)
    filled = fill(wanted.compute, view, taps, images=images, kind=wanted.key.kind, target=target)
    tally.computed += 1
    tally.seconds += filled.seconds
    tally.costs.append(filled.seconds / max(1, images))
    tally.notes += [filled.note] if filled.note else []
    return filled


def _describe(wanted: _Wanted) -> None:
    """Write a readable description of the key into its folder."""
    path = wanted.folder / "key.json"
    with contextlib.suppress(OSError):  # for people only; a full disk has been noted by now
        if not path.exists():
            write_atomically(path, json.dumps(wanted.key.describe(), indent=1))


def _cannot_write(folder: Path, error: OSError) -> str:
    return (
        f"the store {folder} cannot be written ({error.strerror or error}): features were computed for this "
        "trial alone and not kept; choose another folder with --store"
    )
