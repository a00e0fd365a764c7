"""A finished search by breast in miniature: two views a breast, which trials combine in different ways."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from finished_run import NOW, TASK, search_record

from results.run.records import OutOfFold, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.metrics import mean_fold_auc, scores
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode, flatten
from trainables.data.patches import select_rows, store_patch_set
from trainables.data.phantom import make_phantom
from trainables.data.splits import make_split, write_split
from trainables.data.training_data import training_data_of
from trainables.runtime.checkpoint import write_fold_weights
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.factory import open_validation

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


def make_unit_run(folder: Path, unit: str = "breast") -> RunFolder:
    """Train the trials of `CONFIGS` and write them as a worker does."""
    torch.manual_seed(0)
    store = folder / "store"
    raw = make_phantom(patients=30, lesions_per_patient=2, size_px=48, subtlety=0.1, views=2)
    patch_set, task = store_patch_set(raw, store / "data"), task_named(TASK)
    split = make_split(
        select_rows(patch_set, task),
        fingerprint=patch_set.fingerprint,
        task=TASK,
        folds=2,
        test_share=0.2,
        seed=0,
    )
    run = RunFolder(folder / "runs" / TASK / unit)
    run.write_search(
        search_record(patch_set.fingerprint, store, folds=2, unit=unit, backbones=("scratch4", "intensity"))
    )
    write_split(run.split_file, split)
    data = training_data_of(patch_set, task, split, unit)  # type: ignore[arg-type] # a name of a unit
    place = TrialRuntime(store, torch.device("cpu"), {"intensity": None, "scratch4": None})
    for number, settings in CONFIGS.items():
        config = decode(settings)
        validation = open_validation(config, data, place, seed=0, score=scores, metric="auc")
        validation.epoch()
        best, scored = validation.best, data.scored
        assert best is not None
        kept = OutOfFold(
            scored.rows, scored.labels, scored.folds, scored.groups, best.probabilities
        ).held_out()
        run.write_out_of_fold(number, kept)
        write_fold_weights(run.weights_folder(number), best.weights)
        run.write_record(
            TrialRecord(
                number=number,
                state="complete",
                config=flatten(config.model_dump()),
                value=float(mean_fold_auc(kept.labels, kept.probabilities, kept.folds)),
                fingerprint=patch_set.fingerprint,
                seed=0,
                has_weights=True,
                finished_at=NOW,
            )
        )
    assert len(np.unique(data.units)) < len(data.rows)  # type: ignore[arg-type] # units of a search by breast
    return run
