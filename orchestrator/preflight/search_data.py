"""The images and the split that the request of a search asks for; audits and descriptions take the same."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator.preflight.warm_start import NO_SOURCES, WarmStartSources
from orchestrator.request import SearchRequest
from results.run.run_paths import store_folder
from trainables.common.files import make_private
from trainables.data.grown_split import grow_split
from trainables.data.patches import PatchSet, TaskRows
from trainables.data.prepared.on_the_way import load_data
from trainables.data.split_record import Split
from trainables.data.splits import make_split
from trainables.data.units import with_units

_SECONDS: Final = 15.0  # between two messages


def store_of(request: SearchRequest) -> Path:
    """Return the folder of stored data and features, absolute."""
    return store_folder(request.runs, request.store).resolve()


def make_store(request: SearchRequest) -> Path:
    """Make the folder of stored data and features for this user alone, if it is missing; returns it.

    Where it cannot be made, whoever writes to it says so.
    """
    store = store_of(request)
    with contextlib.suppress(OSError):
        make_private(store)  # its data name patients
    return store


def read_images(request: SearchRequest, notify: Callable[[str], None]) -> tuple[PatchSet, list[str]]:
    """Read the images that a request names, or prepare the collection that lies there.

    Args:
        request: Options of a search.
        notify: Function called with messages while a collection is prepared.

    Returns:
        The stored patch set, and sentences on decisions, conversions and missing parts.

    Raises:
        UnknownNameError: If there is no such source or collection.
        DataError: If the data are missing or cannot be used.
    """
    return load_data(
        str(request.data),
        task=request.task_definition,
        label_codes=request.label_codes,
        store=make_store(request),
        source=request.source,
        max_value=request.max_value,
        upper_folders=request.upper_folders,
        progress=messages_of_progress(notify),
    )


def split_images(
    request: SearchRequest,
    patch_set: PatchSet,
    rows: TaskRows,
    *,
    sources: WarmStartSources = NO_SOURCES,
) -> Split:
    """Split as a request says.

    Args:
        request: Options of a search.
        patch_set: The images.
        rows: Rows that have a part in the task.
        sources: What the search builds on, whose split is taken over.

    Raises:
        SplitError: If the rows cannot be split so.
        DataError: If the set does not tell the units of its images.
    """
    rows = with_units(patch_set, rows, request.unit, request.task_definition)
    seed = request.seed if request.split_seed is None else request.split_seed
    if sources.grown is not None:
        return grow_split(
            rows,
            fingerprint=patch_set.fingerprint,
            task=request.task_definition,
            like=sources.grown.split,
            known=sources.grown.known,
            test_share=request.test_share,
            seed=seed,
        )
    return make_split(
        rows,
        fingerprint=patch_set.fingerprint,
        task=request.task_definition,
        folds=request.fold_count,
        test_share=request.test_share,
        seed=seed,
        holdout=request.holdout,
        is_naive=request.naive_split,
        like=sources.split,
    )


def messages_of_progress(notify: Callable[[str], None]) -> Callable[[int, int], None]:
    """Return a function that is told how many images are done; it says so at first, and while it takes long.

    Args:
        notify: Function called with each message.

    >>> told = messages_of_progress(print)
    >>> for done in (0, 1, 2):
    ...     told(done, 2)
    preparing the images of the collection: 0 of 2 are done
    """
    last = float("-inf")

    def progress(done: int, total: int) -> None:
        nonlocal last
        if done < total and time.monotonic() - last >= _SECONDS:
            last = time.monotonic()
            notify(f"preparing the images of the collection: {done:,} of {total:,} are done")

    return progress
