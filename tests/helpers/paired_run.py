"""Finished runs in miniature on pairs with finding codes: siamese trials, told trials, started trials."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from finished_run import finish_trial, pixels, search_record

from results.run.run_folder import RunFolder
from results.run.source_trial import SourceTrial
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet, RawPatches, select_rows, store_patch_set
from trainables.data.sources.checks import baseline_partners
from trainables.data.split_record import write_split
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.models.weights import find_weights
from trainables.runtime.checkpoint import read_fold_weights
from trainables.runtime.trial_runtime import TrialRuntime, WarmStart

LEARNING = {"training.augmentation": "flips", "training.epochs": 4, "optimizer.lr": 0.005}
LITE0 = {
    "model.backbone": "efficientnet_lite0",
    "input.size_px": 32,
    "model.head.hidden": "8",
    **LEARNING,
}
SCRATCH = {
    "model.backbone": "scratch:blocks=2,filters=16",
    "model.weights": "random",
    "model.trained_stages": "all",
    "model.head.hidden": "8",
    **LEARNING,
}
STARTED = {**SCRATCH, "model.weights": "start"}

TYPE_TRIALS = {0: {**LITE0, "model.pair": "diff"}}
FIRST_TRIALS = {0: SCRATCH}
# Single and paired, frozen, fine-tuned and from pixels, told by people and by a trial, started.
TRIALS = {
    0: {**LITE0, "model.pair": "none", "model.cut": "block3"},
    1: {**LITE0, "model.pair": "diff"},
    2: {
        **LITE0,
        "model.pair": "concat",
        "model.cut": "block3",
        "model.trained_stages": 1,
        "model.head.branch": "6",
    },
    3: {**SCRATCH, "model.pair": "absdiff"},
    4: {**LITE0, "model.type_input": "human"},
    5: {**LITE0, "model.pair": "diff", "model.type_input": "probability", "training.repeats": 2},
    6: {**LITE0, "model.type_input": "hard"},
    7: STARTED,
    8: {**STARTED, "model.trained_stages": 0, "model.pair": "diff", "model.type_input": "human"},
}


def store_pairs(folder: Path) -> PatchSet:
    """96 grey patches in Pisa's codes, 32x32 uint16, of 24 patients: a baseline, then its abnormality.

    Malignant ones are brighter, calcifications striped.
    """
    labels = np.zeros(96, dtype=np.int64)
    labels[1::2] = np.tile([1, 2, 3, 4], 12)
    images = pixels(images=96, side=32) // 2
    images[np.isin(labels, (2, 4))] += 20_000
    images[np.isin(labels, (3, 4)), ::4] += 10_000
    raw = RawPatches(
        images=images,
        labels=labels,
        label_codes="pisa",
        patients=np.array([f"p{index // 4:02d}" for index in range(96)]),
        partners=baseline_partners(96),
        source="pairs",
    )
    return store_patch_set(raw, folder / "store" / "data")


def split_of(patches: PatchSet, task: str = "benign_malignant", *, folds=2):
    """Two folds and a sealed test part, the same for every task that is asked of the same patients."""
    return make_split(
        select_rows(patches, task_named(task)),
        fingerprint=patches.fingerprint,
        task=task,
        folds=folds,
        test_share=0.25,
        seed=0,
    )


def place_in(folder: Path) -> TrialRuntime:
    """A place on the CPU that stores features in single precision."""
    weights = find_weights("efficientnet_lite0", weights_dir=None, may_download=False)
    usable = {"efficientnet_lite0": weights, SCRATCH["model.backbone"]: None}
    return TrialRuntime(folder / "store", torch.device("cpu"), usable, features="float32")


def make_runs(folder: Path, trials=TRIALS) -> RunFolder:
    """Train a run of each of the two kinds that others build on, and return one that builds on them."""
    patches = store_pairs(folder)
    runtime, split = place_in(folder), split_of(patches)
    types = train_run(folder, patches, split, TYPE_TRIALS, runtime, task="mass_calcification", name="types")
    first = train_run(folder, patches, split, FIRST_TRIALS, runtime, name="first")
    sources = {
        "type_from": SourceTrial(run=str(types.path), trial=0),
        "start_from": SourceTrial(run=str(first.path), trial=0),
    }
    start = WarmStart(decode(FIRST_TRIALS[0]), read_fold_weights(first.trial(0) / "folds"))
    return train_run(
        folder,
        patches,
        split,
        trials,
        dataclasses.replace(runtime, start=start),
        types=types.out_of_fold(0),
        **sources,
    )


def train_run(folder, patches, split, trials, runtime, *, task="benign_malignant", types=None, **fields):
    """Train trials and write them as a worker does; `fields` are of the search's record."""
    classes = task_named(task).classes
    own = {"name": "small", "label_codes": "pisa", "source": "pairs", "is_synthetic": False} | fields
    record = search_record(patches.fingerprint, runtime.store, task=task, classes=classes, **own)
    run = RunFolder(folder / "runs" / task / record.name)
    run.write_search(record)
    write_split(run.split_file, split)
    training_data = training_data_of(patches, task_named(task), split)
    if types is not None:
        training_data = told_by(training_data, types)
    for number, settings in trials.items():
        torch.manual_seed(number)
        finish_trial(run, number, decode(settings), training_data, runtime)
    return run


def told_by(training_data: TrainingData, types) -> TrainingData:
    """Material that knows what a finished trial says of the type of each finding, out of fold."""
    order = np.argsort(types.rows)
    places = order[np.searchsorted(types.rows[order], training_data.rows)]
    assert (types.rows[places] == training_data.rows).all()
    return dataclasses.replace(
        training_data, type_probability=types.probabilities[places, 1].astype(np.float64)
    )
