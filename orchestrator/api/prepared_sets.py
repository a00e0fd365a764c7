"""Prepared sets from Python: `prepare_set` and `join_sets`. They print nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from trainables.common.errors import ConfigError, UnknownNameError
from trainables.data.collections import COLLECTIONS
from trainables.data.collections.collection import Choices
from trainables.data.mammogram.preparation import Preparation, PreparationError
from trainables.data.prepared import join
from trainables.data.prepared.engine import Preparation as PreparedCollection
from trainables.data.prepared.engine import Progress, prepare
from trainables.data.prepared.identity import read_key
from trainables.data.prepared.on_the_way import processes
from trainables.data.prepared.settings import Settings
from trainables.data.prepared_set import PreparedSet


def prepare_set(  # noqa: PLR0913 - what `orchestrate data prepare` takes, each with its own option
    collection: str,
    path: str | Path,
    out: str | Path,
    *,
    regions: Literal["image", "roi", "patches"] | None = None,
    table: str | Path | None = None,
    options: Mapping[str, str] | None = None,
    size: tuple[int, int] | None = None,
    mm_per_px: float | None = None,
    steps: Mapping[str, Any] | None = None,
    is_prepared: bool = True,
    for_processing: bool = False,
    hash_ids: str | None = None,
    strict: bool = False,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> PreparedCollection:
    """Prepare a collection as it lies on the disk: a folder of arrays and a table for searches.

    A preparation that was interrupted goes on when it is asked for again; one that is there is opened.

    Args:
        collection: Name of the collection, such as `cbis-ddsm` or `dicom`.
        path: Where it lies.
        out: Folder of the set.
        regions: Whole images, regions or patches; None takes what the collection is published for.
        table: Table of labels, where the collection does not bring its own.
        options: Further choices of the collection, by name, such as `{"task": "tasks.yaml"}`, the file
            of a task of one's own.
        size: Height and width of the prepared images, in pixels; None takes what suits the collection.
        mm_per_px: Side of a prepared pixel in millimetres; None resamples to a size alone.
        steps: How whole mammograms are made ready, where it is to be otherwise than by default, such as
            `{"remove_pectoral": True}`.
        is_prepared: False leaves whole mammograms as they are, but for their size.
        for_processing: Read DICOM images whose pixels are meant for further processing, too.
        hash_ids: Path of a file, or `env:NAME`, with the key of hashes that replace patients, examinations
            and names; None keeps these.
        strict: Stop at the first thing that cannot be used.
        workers: Number of processes; None takes one a core.
        progress: Told how many examples of how many are done.

    Returns:
        The set, what was not used, and sentences on what was decided.

    Raises:
        UnknownNameError: If there is no such collection.
        ConfigError: If an option is out of range, or the key cannot be read.
        DataError: If there is no such collection at `path`, nothing of it can be used, or `out` is something
            else; if `strict`, at the first thing that cannot be used.
        MachineError: If a process or the disk fails.
    """
    if collection not in COLLECTIONS:
        raise UnknownNameError("collection", collection, COLLECTIONS)
    settings = Settings(
        size=size,
        mm_per_px=mm_per_px,
        steps=_steps(steps or {}) if is_prepared else None,
        allows_for_processing=for_processing,
        key=None if hash_ids is None else read_key(hash_ids),
        is_strict=strict,
        workers=processes() if workers is None else workers,
    )
    choices = Choices(regions, None if table is None else Path(table), options or {})
    return prepare(COLLECTIONS[collection], Path(path), Path(out), choices, settings, progress=progress)


def join_sets(sets: Sequence[str | Path], out: str | Path) -> PreparedSet:
    """Join prepared sets into one in which each image knows its source.

    Args:
        sets: Folders of at least two prepared sets, whose images have one size and whose labels one meaning.
        out: Folder of the new set.

    Raises:
        DataError: If sets are missing or do not fit together, or `out` is there.
    """
    return join.join_sets([Path(one) for one in sets], Path(out))


def _steps(given: Mapping[str, Any]) -> Preparation:
    for name in ("size", "mm_per_px", "allows_for_processing"):
        if name in given:
            raise ConfigError(f"{name} is an option of its own, not a step")
    try:
        return Preparation.from_dict(given)
    except PreparationError as error:
        raise ConfigError(f"steps of a mammogram: {error}") from error
