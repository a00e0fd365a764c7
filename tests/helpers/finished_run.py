"""A finished run in miniature, made without Ray: data, split, records, predictions, weights."""

import datetime
from pathlib import Path

import numpy as np
import records
import torch

from results.run.records import OutOfFold, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.metrics import mean_fold_auc, scores
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode, flatten
from trainables.data.patches import RawPatches, select_rows, store_patch_set
from trainables.data.split_record import write_split
from trainables.data.splits import make_split
from trainables.data.training_data import training_data_of
from trainables.models.weights import find_weights
from trainables.runtime.checkpoint import write_fold_weights
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.factory import open_validation

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
TASK = "benign_malignant"

# One of each kind: from pixels; frozen; frozen with a map; fine-tuned; a trained adapter below frozen stages.
CONFIGS = {
    0: {
        "model.backbone": "scratch4",
        "model.weights": "random",
        "model.trained_stages": "all",
        "model.head.hidden": [8],
        "input.size_px": 48,
        "input.contrast": 1.5,
        "training.augmentation": "flips",
    },
    1: {
        "model.backbone": "efficientnet_lite0",
        "model.cut": "top+2",
        "model.head.hidden": [],
        "training.augmentation": "d4",
    },
    2: {
        "model.backbone": "efficientnet_lite0",
        "model.cut": "block3",
        "model.head.pooling": "flatten",
        "model.head.hidden": [16, 8],
        "model.head.batch_norm": True,
        "model.head.dropout": 0.3,
        "training.augmentation": "none",
    },
    3: {
        "model.backbone": "efficientnet_lite0",
        "model.cut": "block3",
        "model.trained_stages": 1,
        "model.head.hidden": [8],
        "optimizer.lr": 1e-4,
        "training.augmentation": "flips",
    },
    4: {
        "model.backbone": "efficientnet_lite0",
        "model.cut": "block2",
        "model.channels": "conv1x1",
        "model.head.hidden": [],
        "training.augmentation": "d4",
        "training.average_views": False,
    },
}


def pixels(dtype="uint16", *, images=40, side=64, colours=False, seed=0):
    """Noise with a bright square in every second image; shape (images, side, side[, 3])."""
    random = np.random.default_rng(seed)
    shape = (images, side, side, 3) if colours else (images, side, side)
    grey = 0.3 + 0.1 * random.normal(size=shape)
    grey[1::2, side // 3 : side // 2, side // 3 : side // 2] += 0.3
    whole = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    return (np.clip(grey, 0, 1) * whole).astype(dtype)


def noise_patches(dtype, *, colours):
    """Patches of noise with a label in turn, from patients with two images each."""
    images = pixels(dtype, colours=colours)
    labels = np.arange(len(images)) % 2
    patients = np.array([f"P{row // 2 % 10}-{row % 2}" for row in range(len(images))])
    return RawPatches(images, labels, "task", patients=patients, source="noise", is_synthetic=True)


def make_run(  # noqa: PLR0913 - each test says the one thing in which its run differs
    folder: Path,
    configs=CONFIGS,
    *,
    dtype="uint16",
    colours=False,
    epochs=1,
    holdout=None,
    is_naive=False,
    raw=None,
    unit="image",
    backbones=("scratch4", "efficientnet_lite0"),
    test_share=0.2,
    folds=2,
    weights_dir=None,
) -> RunFolder:
    """Train trials and write them as a worker does, on noise or on given patches."""
    torch.manual_seed(0)
    store = folder / "store"
    patch_set = store_patch_set(raw or noise_patches(dtype, colours=colours), store / "data")
    rows = select_rows(patch_set, task_named(TASK))
    split = make_split(
        rows,
        fingerprint=patch_set.fingerprint,
        task=TASK,
        folds=folds,
        test_share=test_share,
        seed=0,
        holdout=holdout,
        is_naive=is_naive,
    )
    run = RunFolder(folder / "runs" / TASK / "small")
    asked = {"folds": split.folds, "holdout": holdout, "naive_split": is_naive, "unit": unit}
    asked["backbones"] = backbones
    asked["weights_dir"] = weights_dir
    run.write_search(search_record(patch_set.fingerprint, store, **asked))
    write_split(run.split_file, split)
    training_data = training_data_of(patch_set, task_named(TASK), split, unit)
    weights = find_weights("efficientnet_lite0", weights_dir=None, may_download=False)
    files = {"efficientnet_lite0": weights} | {
        name: find_weights(name, weights_dir=weights_dir, may_download=False) if weights_dir else None
        for name in backbones
        if name != "efficientnet_lite0"
    }
    place = TrialRuntime(store, torch.device("cpu"), files)
    for number, settings in configs.items():
        finish_trial(run, number, decode({**settings, "training.epochs": epochs}), training_data, place)
    return run


def search_record(fingerprint, store, **changes):
    asked = {
        "name": "small",
        "data": "noise",
        "source": "noise",
        "fingerprint": fingerprint,
        "store": str(store),
        "backbones": ("scratch4", "efficientnet_lite0"),
        "trials": len(CONFIGS),
        "trial_minutes": 1.0,
        "folds": 2,
        "epochs": 1,
        "started_at": NOW,
    }
    return records.search_record(**(asked | changes))


def finish_trial(run, number, config, training_data, place):
    """Train one trial to its end and write what a worker writes."""
    validation = open_validation(config, training_data, place, seed=0, score=scores, metric="auc")
    while not validation.is_over:
        validation.epoch()
    best, scored = validation.best, training_data.scored
    every = OutOfFold(scored.rows, scored.labels, scored.folds, scored.groups, best.probabilities)
    kept = every.held_out()
    run.write_out_of_fold(number, kept)
    write_fold_weights(run.trial(number) / "folds", best.weights)
    run.write_record(
        TrialRecord(
            number=number,
            state="complete",
            config=flatten(config.model_dump()),
            value=float(mean_fold_auc(kept.labels, kept.probabilities, kept.folds)),
            fingerprint=training_data.patch_set.fingerprint,
            seed=0,
            has_weights=True,
            finished_at=NOW,
        )
    )
