"""Shared fixtures: small material that trains in seconds, and a run folder around it."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.records import SearchRecord
from trainables.data.patches import PatchSet, RawPatches, store_patch_set

os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors; threads that wait for a busy core cost more


@pytest.fixture
def make_search() -> Callable[..., SearchRecord]:
    """Build a `search.yaml` record; any field may be given."""

    def make(**fields: Any) -> SearchRecord:
        defaults: dict[str, Any] = {
            "task": "benign_malignant",
            "classes": ("benign", "malignant"),
            "name": "first",
            "data": "phantom",
            "label_codes": "task",
            "source": "phantom",
            "is_synthetic": True,
            "fingerprint": "f" * 64,
            "store": "store",
            "metric": "auc",
            "space": "benign_malignant",
            "space_context": {},
            "pins": {},
            "backbones": ("efficientnet_lite0",),
            "left_out": {},
            "weights_dir": None,
            "trials": 4,
            "minutes": None,
            "trial_minutes": 10.0,
            "folds": 3,
            "test_share": 0.2,
            "seed": 0,
            "workers": None,
            "cpus_per_trial": 1.0,
            "gpus_per_trial": 0.0,
            "epochs": 3,
            "keep_weights": 12,
            "study_storage": None,
            "command": "orchestrate search benign_malignant",
            "versions": {},
            "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        return SearchRecord(**(defaults | fields))

    return make


@pytest.fixture
def bright_patches(tmp_path: Path) -> PatchSet:
    """48 grey patches of 24 patients, 48x48 uint16; malignant ones hold a bright spot, to be learnt."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.tile([0, 1], 12), 2).astype(np.int64)
    images = random.integers(0, 20_000, (48, 48, 48)).astype(np.uint16)
    for image, label in zip(images, labels, strict=True):
        image[16:32, 16:32] += np.uint16(25_000 * label)
    raw = RawPatches(
        images=images,
        labels=labels,
        label_codes="task",
        patients=np.array([f"p{index // 2:02d}" for index in range(48)]),
        source="bright spots",
    )
    return store_patch_set(raw, tmp_path / "store" / "data")
