"""Questions that the sources left open, on real patches in pairs: paired comparisons with three seeds each.

    python -m benchmarks.comparisons DATA [--only pairs] [--seeds 3] [--json FILE]

DATA is the folder of real images and weights. INFN mass patches (150 pairs of 76 patients), benign against
malignant, four folds by patient, no test part: every image is predicted once by a model that never saw its
patient. A seed decides first weights, order and views; folds stay. The AUC is the mean over folds and seeds.
Its interval and that of a difference resample patients; the AUC of each seed is listed beside them.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.paired_difference import paired_difference
from benchmarks.patient_bootstrap import bootstrap_interval
from benchmarks.recipe_runs import Effort, Kitchen
from results.run.records import OutOfFold
from results.scores.auc_interval import auc_interval
from results.scores.bootstrap import Statistic, fold_auc_statistic
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import select_rows
from trainables.data.sources import load_patch_set
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of

_HEAD: Final = {
    "model.head.hidden": "256",
    "model.head.dropout": 0.4,
    "optimizer.lr": 0.0005,
    "training.epochs": 30,
    "training.patience": 8,
    "training.batch_size": 16,
    "training.augmentation": "flips",
    "training.average_views": True,
    "training.class_weight": "balanced",
}

_LITE0: Final = {**_HEAD, "model.backbone": "efficientnet_lite0"}


# With a trained convolution before the backbone no features can be stored: every epoch passes it both ways.
_SHORT: Final = {"training.epochs": 5, "training.average_views": False, "input.size_px": 96}


@dataclass(frozen=True, slots=True)
class Question:
    """A comparison; its first case is the reference for the others."""

    title: str
    cases: Mapping[str, Mapping[str, Any]]


QUESTIONS: Final = {
    "pairs": Question(
        "Image by itself or compared with its healthy baseline (frozen EfficientNet-Lite0)",
        {
            "single image": _LITE0,
            "difference": {**_LITE0, "model.pair": "diff"},
            "absolute difference": {**_LITE0, "model.pair": "absdiff"},
            "side by side": {**_LITE0, "model.pair": "concat"},
        },
    ),
    "channels": Question(
        "Grey copied or mapped by a trained 1x1 convolution (frozen EfficientNet-Lite0, 96 px, five epochs)",
        {
            "copied": _LITE0 | _SHORT,
            "1x1 convolution": _LITE0 | _SHORT | {"model.channels": "conv1x1"},
        },
    ),
    "contrast": Question(
        "Contrast in training and test (frozen EfficientNet-Lite0)",
        {f"{factor:g}": {**_LITE0, "input.contrast": factor} for factor in (1.0, 1.5, 2.0)},
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of real images and weights")
    parser.add_argument("--only", choices=tuple(QUESTIONS), help="this question only")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each case (default: 3)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        kitchen = Kitchen(Path(folder) / "store", weights_dir=arguments.data / "weights")
        training_data = _material(arguments.data, Path(folder))
        for name, question in QUESTIONS.items():
            if arguments.only in (None, name):
                found[name] = compare(question, kitchen, training_data, seeds=range(arguments.seeds))
                print("\n".join(as_lines(question, found[name])), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def compare(
    question: Question, kitchen: Kitchen, training_data: TrainingData, *, seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Run every case with every seed; returns one row for each case."""
    predictions = {
        name: [
            kitchen.train(decode(settings), training_data, Effort(seed=seed)).predictions for seed in seeds
        ]
        for name, settings in question.cases.items()
    }
    first = next(iter(predictions))
    return [_row(name, own, predictions[first]) for name, own in predictions.items()]


def as_lines(question: Question, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The comparison as a Markdown table under its title."""
    lines = [f"\n### {question.title}\n", "| case | AUC, mean over seeds | by seed | difference |"]
    lines.append("| --- | --- | --- | --- |")
    for row in rows:
        low, high = row["interval"]
        seeds = ", ".join(f"{value:.3f}" for value in row["by_seed"])
        difference = "-"
        if row["difference"]:
            middle, lower, upper = row["difference"]
            difference = f"{middle:+.3f} [{lower:+.3f}, {upper:+.3f}]"
        lines.append(f"| {row['case']} | {row['auc']:.3f} [{low:.3f}, {high:.3f}] | {seeds} | {difference} |")
    return lines


def _row(name: str, own: Sequence[OutOfFold], first: Sequence[OutOfFold]) -> dict[str, Any]:
    groups = own[0].groups
    found = bootstrap_interval(groups, _over_seeds(own), seed=0)
    row: dict[str, Any] = {
        "case": name,
        "auc": found.estimate,
        "interval": (found.low, found.high),
        "by_seed": [auc_interval(one).estimate for one in own],
        "difference": None,
    }
    if own is not first:
        apart = paired_difference(groups, _over_seeds(own), _over_seeds(first), seed=0)
        row["difference"] = (apart.estimate, apart.low, apart.high)
    return row


def _over_seeds(predictions: Sequence[OutOfFold]) -> Statistic:
    """Mean over seeds of the mean fold AUC."""
    by_seed = [fold_auc_statistic(one.labels, one.probabilities, one.folds) for one in predictions]

    def mean(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.mean([statistic(counts) for statistic in by_seed], axis=0)

    return mean


def _material(data: Path, folder: Path) -> TrainingData:
    task = task_named("benign_malignant")
    patch_set, _ = load_patch_set(
        str(data / "infn_mass_patches_150.npz"), task=task, label_codes="pisa", store=folder
    )
    split = make_split(
        select_rows(patch_set, task),
        fingerprint=patch_set.fingerprint,
        task=task.name,
        folds=4,
        test_share=0.0,
        seed=0,
    )
    return training_data_of(patch_set, task, split)


if __name__ == "__main__":
    main()
