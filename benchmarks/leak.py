"""Scores of an image-level split against those of a patient-level one, on histology patches of 18 patients.

    python -m benchmarks.leak DATA [--epochs 2] [--json FILE]

DATA is the folder of real images and weights. Recipes E000-1, a single convolution, and E000-3, whose VGG19
is VGG16 here, each on the same patches with a quarter held out: once by patient, once by image, as their
source did. E000-3 trains with Adam, one of the source's choices: its own SGD took 77,000 steps, but here
there are a few hundred. Neither augments. E000-1 trains for its 15 epochs. Intervals resample patients.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.recipe_runs import Effort, Kitchen
from results.scores.auc_interval import auc_interval
from results.scores.decisions import confusion
from results.scores.metrics import balanced_accuracy
from search_spaces.recipes import recipe_named
from trainables.config.tasks import task_named
from trainables.data.patches import PatchSet, select_rows
from trainables.data.sources import load_patch_set
from trainables.data.splits import make_split

_PLAIN: Final = {"training.augmentation": "none"}
_ADAM: Final = {
    "optimizer.name": "adam",
    "optimizer.momentum": None,
    "optimizer.lr": 1e-3,
    "optimizer.stage_lr_factor": 0.01,  # at 1e-4 all of its units died in the first epoch
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of real images and weights")
    parser.add_argument("--epochs", type=int, default=2, help="of E000-3 (default: 2)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        weights = arguments.data / "weights"
        kitchen = Kitchen(Path(folder) / "store", weights_dir=weights, stand_ins={"vgg19": "vgg16"})
        patches, _ = load_patch_set(
            str(arguments.data / "idc"), task=task_named("idc"), label_codes=None, store=Path(folder)
        )
        for name, effort in (
            ("E000-1", Effort(fixed_params=_PLAIN)),
            ("E000-3", Effort(fixed_params=_PLAIN | _ADAM, epochs=arguments.epochs)),
        ):
            for is_naive in (False, True):
                rows.append(_row(name, effort, kitchen, patches, is_naive=is_naive))
                print(as_line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def as_line(row: dict[str, Any]) -> str:
    """One row as Markdown."""
    collapse = "collapsed to one class" if row["is_collapsed"] else "no"
    low, high = row["interval"]
    return (
        f"| {row['recipe']} | {row['split']} | {row['epochs']} | {row['auc']:.3f} [{low:.3f}, {high:.3f}] | "
        f"{row['balanced_accuracy']:.3f} | {row['accuracy']:.3f} ({row['majority']:.3f}) | {collapse} |"
    )


def _row(name: str, effort: Effort, kitchen: Kitchen, patches: PatchSet, *, is_naive: bool) -> dict[str, Any]:
    recipe, task = recipe_named(name, "idc"), task_named("idc")
    split = make_split(
        select_rows(patches, task),
        fingerprint=patches.fingerprint,
        task=task.name,
        folds=1,
        test_share=0.0,
        seed=0,
        holdout=0.25,
        is_naive=is_naive,
    )
    run = kitchen.run(recipe, recipe.points[0], patches, split, effort)
    found = run.predictions
    matrix = confusion(found.labels, found.probabilities.argmax(axis=1), 2)
    auc = auc_interval(found)
    return {
        "recipe": name,
        "split": "by image (naive)" if is_naive else "by patient",
        "epochs": run.epochs,
        "auc": auc.estimate,
        "interval": (auc.low, auc.high),
        "balanced_accuracy": float(balanced_accuracy(matrix)),
        "accuracy": float(np.trace(matrix) / matrix.sum()),
        "majority": float(np.bincount(found.labels).max() / len(found.labels)),
        "is_collapsed": bool(run.best.collapsed),
        "images": len(found.labels),
        "patients": len(np.unique(found.groups)),
        "seconds": run.seconds,
    }


if __name__ == "__main__":
    main()
