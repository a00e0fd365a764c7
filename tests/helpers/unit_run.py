"""A finished search by breast in miniature: two views a breast, which trials combine in different ways."""

from pathlib import Path
from typing import Any

from finished_run import make_run

from results.run.run_folder import RunFolder
from trainables.config.unit_config import UnitName
from trainables.data.phantom import make_phantom

_HEAD = {"model.backbone": "intensity", "classical.standardize": True, "training.epochs": 1}
_HEAD |= {"training.augmentation": "none", "training.average_views": False}
_LOGISTIC = {**_HEAD, "classical.name": "logistic", "classical.c": 0.1}
CONFIGS: dict[int, dict[str, Any]] = {
    0: {**_LOGISTIC, "unit.combine": "mean"},
    1: {**_LOGISTIC, "unit.combine": "noisy_or"},
    2: {**_HEAD, "classical.name": "attention", "unit.combine": "attention", "classical.lr": 0.01},
    3: {**_LOGISTIC, "unit.combine": "max"},
    4: {
        "model.backbone": "scratch4",
        "model.weights": "random",
        "model.trained_stages": "all",
        "model.head.hidden": [8],
        "training.epochs": 1,
        "training.augmentation": "flips",
        "unit.combine": "mean_logit",
    },
}


def make_unit_run(folder: Path, unit: UnitName = "breast") -> RunFolder:
    """Train the trials of `CONFIGS` and write them as a worker does."""
    raw = make_phantom(patients=30, lesions_per_patient=2, size_px=48, subtlety=0.1, views=2)
    return make_run(folder, CONFIGS, raw=raw, unit=unit, backbones=("scratch4", "intensity"))
