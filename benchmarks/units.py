"""What combining the views of a breast brings: one frozen model, scored by image and by breast.

    python -m benchmarks.units DATA [--set films] [--c 0.001] [--seed 0]

DATA is the folder of real images; `--set phantom` takes synthetic breasts of two views instead. The model is
a logistic regression on the pooled features of EfficientNet-Lite0, in four folds by patient; each rule
combines the same images. Intervals are those of the leaderboard, over patients and training parts.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Final, get_args

import torch

from results.run.records import OutOfFold
from results.scores.auc_interval import auc_interval
from results.scores.metrics import scores
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.config.unit_config import ATTENTION, Combine, UnitName
from trainables.data.patches import PatchSet, select_rows
from trainables.data.sources import load_patch_set
from trainables.data.splits import make_split
from trainables.data.training_data import training_data_of
from trainables.models.weights import WeightsFile, find_weights
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.factory import open_validation

BACKBONE: Final = "efficientnet_lite0"
TASK: Final = "benign_malignant"
SETS: Final = {"films": "ddsm_mass_films_227.npz", "phantom": "phantom:views=2,subtlety=0.3,size_px=64"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of real images")
    parser.add_argument("--set", choices=tuple(SETS), default="films")
    parser.add_argument("--c", type=float, default=0.001, help="strength of the regression (default: 0.001)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    own = SETS[arguments.set]
    location = own if arguments.set == "phantom" else str(arguments.data / own)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        patch_set, _ = load_patch_set(location, task=task_named(TASK), label_codes=None, store=store)
        print("| scored | combination | AUC | 95 % interval |\n| --- | --- | ---: | --- |")
        rules = [rule for rule in get_args(Combine) if rule != ATTENTION]
        units: list[tuple[UnitName, str]] = [("image", "mean"), *(("breast", rule) for rule in rules)]
        for unit, rule in units:
            found = predictions(patch_set, store, unit, rule, c=arguments.c, seed=arguments.seed)
            interval = auc_interval(found)
            count = f"{len(found.rows)} {'images' if unit == 'image' else 'breasts'}"
            said = "-" if unit == "image" else rule
            print(
                f"| {count} | {said} | {interval.estimate:.3f} | {interval.low:.2f} to {interval.high:.2f} |",
                flush=True,
            )


def predictions(
    patch_set: PatchSet, store: Path, unit: UnitName, rule: str, *, c: float, seed: int
) -> OutOfFold:
    """Out-of-fold predictions of the model, one row an image or a breast.

    Args:
        patch_set: The images.
        store: Folder of stored features, which all rules share.
        unit: What is scored.
        rule: How the images of a unit are combined.
        c: Strength of the regression.
        seed: Seed of split and training.
    """
    task = task_named(TASK)
    split = make_split(
        select_rows(patch_set, task),
        fingerprint=patch_set.fingerprint,
        task=task,
        folds=4,
        test_share=0.0,
        seed=seed,
    )
    data = training_data_of(patch_set, task, split, unit)
    config = decode(
        {
            "model.backbone": BACKBONE,
            "classical.name": "logistic",
            "classical.c": c,
            "classical.standardize": True,
            "training.epochs": 1,
            "training.augmentation": "none",
            "training.average_views": False,
            "unit.combine": rule,
        }
    )
    weights: dict[str, WeightsFile | None] = {
        BACKBONE: find_weights(BACKBONE, weights_dir=None, may_download=False)
    }
    place = TrialRuntime(store, torch.device("cpu"), weights)
    validation = open_validation(config, data, place, seed=seed, score=scores, metric="auc")
    validation.epoch()
    best, scored = validation.best, data.scored
    if best is None:
        raise RuntimeError("a trial of one epoch has no result; this benchmark and the product disagree")
    return OutOfFold(scored.rows, scored.labels, scored.folds, scored.groups, best.probabilities).held_out()


if __name__ == "__main__":
    main()
