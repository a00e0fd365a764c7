"""Listing and pruning of a store of frozen-prefix features; reads no features."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from trainables.features.budget import (
    DiskBudget,
    StoredFile,
    evict,
    files_below,
    is_read,
    stored_files,
    sweep,
)
from trainables.features.stored_files import PARTIAL, features_folder


@dataclass(frozen=True, slots=True)
class StoredKey:
    """Features of one data set, backbone and transform.

    Attributes:
        key: Name of the folder.
        fingerprint: Fingerprint of the patch set; empty where the folder has no description.
        source: Readable name of the data set; None where the store does not hold the data set.
        backbone: Name of the backbone.
        images: Number of images.
        size_px: Side of the input, in pixels.
        contrast: Contrast factor of the input.
        kind: Number type of the features.
        views: Names of the views, in order.
        taps: Names of the taps, such as `block5.gap`.
        bytes: Size on disk, in bytes.
        used_at: Time of the last use, in seconds since 1970.
        is_in_use: True while a process reads or writes in the folder.
    """

    key: str
    fingerprint: str
    source: str | None
    backbone: str
    images: int
    size_px: int
    contrast: float
    kind: str
    views: tuple[str, ...]
    taps: tuple[str, ...]
    bytes: int
    used_at: float
    is_in_use: bool


@dataclass(frozen=True, slots=True)
class Pruned:
    """Result of pruning a store, or of a trial run of it.

    Attributes:
        files: Number of removed files.
        bytes: Size of the removed files, in bytes.
        in_use: Number of files that should have been removed, but are being read.
        in_use_bytes: Size of those files, in bytes.
        left_bytes: Size of the store afterwards, in bytes.
    """

    files: int
    bytes: int
    in_use: int
    in_use_bytes: int
    left_bytes: int


def stored_keys(store: Path) -> list[StoredKey]:
    """List the keys of a store, most recently used first.

    Args:
        store: Folder of the store; its features are in `prefix`, its data sets in `data`.
    """
    files = sorted(stored_files(features_folder(store)), key=_key_folder)
    found = [_summary(store, folder, list(group)) for folder, group in groupby(files, key=_key_folder)]
    return sorted(found, key=lambda key: -key.used_at)


def prune(
    store: Path, *, keep_bytes: int | None = None, unused_seconds: float | None = None, is_trial: bool = False
) -> Pruned:
    """Remove features from a store: files unused for long, then the oldest until the rest is small enough.

    Files that a process reads or writes stay.

    Args:
        store: Folder of the store.
        keep_bytes: Largest size that may stay, in bytes; None for any size.
        unused_seconds: Remove files that were not used for this many seconds; None for none.
        is_trial: True to report what would be removed without removing it.
    """
    room = DiskBudget(features_folder(store))
    if not room.folder.is_dir():
        return Pruned(0, 0, 0, 0, 0)
    with room.reservation() as reservation:
        freed = 0 if is_trial else sweep(room.folder)
        gone, in_use = _remove(reservation.files, keep_bytes, unused_seconds, is_trial=is_trial)
    taken = sum(file.bytes for file in reservation.files)
    went = sum(file.bytes for file in gone)
    return Pruned(
        files=len(gone),
        bytes=went + freed,
        in_use=len(in_use),
        in_use_bytes=sum(file.bytes for file in in_use),
        left_bytes=taken - went,
    )


def _remove(
    files: Sequence[StoredFile], keep_bytes: int | None, unused_seconds: float | None, *, is_trial: bool
) -> tuple[list[StoredFile], list[StoredFile]]:
    """Remove files; returns the removed ones, and those that should be removed but are in use."""
    left = sum(file.bytes for file in files)
    gone: list[StoredFile] = []
    in_use: list[StoredFile] = []
    for file in files:
        is_old = unused_seconds is not None and file.used_at < time.time() - unused_seconds
        if not is_old and (keep_bytes is None or left <= keep_bytes):
            continue
        if not is_read(file.path) if is_trial else evict(file.path):
            gone.append(file)
            left -= file.bytes
        else:
            in_use.append(file)
    return gone, in_use


def _key_folder(file: StoredFile) -> Path:
    return file.path.parent.parent


def _summary(store: Path, folder: Path, files: Sequence[StoredFile]) -> StoredKey:
    described = _read(folder / "key.json")
    transform = described.get("transform", {})
    fingerprint = str(described.get("fingerprint", ""))
    return StoredKey(
        key=folder.name,
        fingerprint=fingerprint,
        source=_read(store / "data" / fingerprint / "meta.json").get("source") if fingerprint else None,
        backbone=str(described.get("backbone", "unknown")),
        images=int(described.get("images", 0)),
        size_px=int(transform.get("size_px", 0)),
        contrast=float(transform.get("contrast", 1.0)),
        kind=str(described.get("kind", "float16")),
        views=tuple(sorted({file.path.parent.name for file in files})),
        taps=tuple(sorted({file.path.stem for file in files})),
        bytes=sum(file.bytes for file in files),
        used_at=max(file.used_at for file in files),
        is_in_use=any(is_read(file.path) for file in files) or any(files_below(folder, PARTIAL)),
    )


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON object, or return an empty one if there is none; its content is only displayed."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
