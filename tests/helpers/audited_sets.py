"""Patch sets for audits, and copies of their images as people leave them in sets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.changed_copies import Image
from orchestrator.audit.examined_set import ExaminedSet
from trainables.config.tasks import task_named
from trainables.data.patches import PatchSet, RawPatches, select_rows, store_patch_set
from trainables.data.splits import make_split


def raw_of(patch_set: PatchSet, **changes: Any) -> RawPatches:
    """The arrays of a set in memory, some of them changed."""
    names = ("images", "labels", "label_codes", "patients", "is_test", "source", "columns")
    values = {name: getattr(patch_set, name) for name in names}
    values["images"] = np.asarray(patch_set.images)
    return RawPatches(**values | {"max_value": patch_set.max_value} | changes)


def with_copies(raw: RawPatches, rows: list[int], copies: list[Image], patient: str) -> RawPatches:
    """A set with further images: copies of some rows, of a patient of their own."""
    assert raw.patients is not None
    return replace(
        raw,
        images=np.concatenate([raw.images, np.stack(copies)]),
        labels=np.concatenate([raw.labels, raw.labels[rows]]),
        patients=np.concatenate([raw.patients, np.array([f"{patient}-{row}" for row in rows])]),
    )


def examined(
    raw: RawPatches, store: Path, task_name: str, *, is_split: bool = True, **how: Any
) -> ExaminedSet:
    """A set as an audit sees it, stored and split into four folds."""
    patch_set, task = store_patch_set(raw, store), task_named(task_name)
    split = None
    if is_split:
        split = make_split(
            select_rows(patch_set, task),
            fingerprint=patch_set.fingerprint,
            task=task,
            **{"folds": 4, "test_share": 0.0, "seed": 0} | how,
        )
    return ExaminedSet.of(patch_set, task, split)


def textured(count: int, *, side: int = 64, channels: int = 0, seed: int = 0) -> Image:
    """Images of blurred noise, each with a structure of its own."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, side, side, *([channels] if channels else []))).astype(np.float32)
    blurred = np.stack([cv2.GaussianBlur(one, (0, 0), 3.0) for one in noise])
    low, high = blurred.min(axis=(1, 2), keepdims=True), blurred.max(axis=(1, 2), keepdims=True)
    return (40 + 160 * (blurred - low) / (high - low)).astype(np.uint8)


def textured_set(count: int = 40, **changes: Any) -> RawPatches:
    """Two images each of half as many patients, with labels that nothing tells."""
    patients = np.array([f"p{row // 2:02d}" for row in range(count)])
    labels = np.arange(count, dtype=np.int64) // 2 % 2
    return RawPatches(textured(count), labels, "task", **{"patients": patients} | changes)
