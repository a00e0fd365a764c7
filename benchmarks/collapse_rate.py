"""How often the rule of collapse stops sound models, before and after, and the spread of real folds' scores.

    python -m benchmarks.collapse_rate [--trials 200] [--seeds 12] [--data DATA]

Before, a fold had collapsed that called all images one class at probability 0.5, or 99 % of them. Three
tables: calibrated models, four folds of 60 images, at one epoch; the optimum of a weighted loss on balanced
data, likewise; and perceptrons that train, stopped after eight such epochs in a row as the trial manager
does. With DATA, the folder of real images and weights, a fourth: the first eight epochs of real trials.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import torch

from benchmarks.epoch_choice import config_of, draw, train
from benchmarks.recipe_runs import CPU
from orchestrator.preflight.run_validation import epoch_scores
from results.scores.metrics import auc
from search_spaces.enqueue import InitialPoint
from search_spaces.recipes import recipe_named
from trainables.common.types import Float32Array, IntArray
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import select_rows
from trainables.data.sources import load_patch_set
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.models.weights import take_inventory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.folds import NanLossError
from trainables.validation.collapse import is_collapsed
from trainables.validation.cross_validation import CrossValidation

_FOLDS, _IMAGES, _IN_A_ROW = 4, 60, 8
_SMALLEST: Final = 1e-38
_REAL_EPOCHS: Final = 8
_FROZEN: Final[dict[str, Any]] = {"model.backbone": "efficientnet_lite0"}
_PIXELS: Final[dict[str, Any]] = {
    "model.backbone": "scratch4",
    "model.weights": "random",
    "model.trained_stages": "all",
    "input.size_px": 48,
}
_PLAIN: Final[dict[str, Any]] = {
    "training.augmentation": "none",
    "training.average_views": False,
    "training.patience": None,
}

Rule = Callable[[IntArray, Float32Array], bool]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200, help="simulated trials of a row (default: 200)")
    parser.add_argument("--seeds", type=int, default=12, help="trained trials of a row (default: 12)")
    parser.add_argument("--data", type=Path, help="folder of real images and weights")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    _print_calibrated(arguments.trials)
    _print_weighted(arguments.trials)
    _print_trained(arguments.seeds)
    if arguments.data:
        _print_spreads(arguments.data)


def calls_one_class(labels: IntArray, probabilities: Float32Array) -> bool:
    """The rule as it was: all images are called one class, or 99 %, of which at most 95 % belong to it."""
    counts = np.bincount(probabilities.argmax(axis=1))
    most = int(counts.argmax())
    if counts[most] == len(labels):
        return True
    return bool(counts[most] >= 0.99 * len(labels) and np.mean(labels == most) <= 0.95)


RULES: Final[tuple[Rule, ...]] = (calls_one_class, is_collapsed)


def _print_calibrated(trials: int) -> None:
    print("| calibrated model | some fold of four, before | after |\n| --- | --- | --- |")
    for prevalence in (0.1, 0.2, 0.5):
        for area in (0.65, 0.75):
            rates = [_rate(rule, prevalence, area, 1.0, trials) for rule in RULES]
            print(f"| {prevalence:.0%} positive, AUC {area} | {rates[0]:.0%} | {rates[1]:.0%} |", flush=True)


def _print_weighted(trials: int) -> None:
    print("\n| class weight, balanced data | some fold of four, before | after |\n| --- | --- | --- |")
    for area in (0.65, 0.7):
        for weight in (1.0, 2.0, 4.0, 5.0, 6.0, 7.0):
            rates = [_rate(rule, 0.5, area, weight, trials) for rule in RULES]
            print(f"| {weight:g}, AUC {area} | {rates[0]:.0%} | {rates[1]:.0%} |", flush=True)


def _rate(rule: Rule, prevalence: float, area: float, weight: float, trials: int) -> float:
    """Share of trials in which the rule names a fold of a model that learnt a weighted loss perfectly."""
    random = np.random.default_rng(0)
    distance = 2**0.5 * NormalDist().inv_cdf(area)
    labels = (np.arange(_IMAGES) < prevalence * _IMAGES).astype(np.int64)
    shown = random.normal(size=(trials, _FOLDS, _IMAGES)) + distance * labels
    logits = distance * shown - distance**2 / 2 + np.log(weight * prevalence / (1 - prevalence))
    positive = (1 / (1 + np.exp(-logits))).astype(np.float32)
    found = np.stack([1 - positive, positive], axis=-1)
    return float(np.mean([any(rule(labels, fold) for fold in trial) for trial in found]))


def _print_trained(seeds: int) -> None:
    print("\n| training | best AUC of the curve | stopped, before | after |\n| --- | --- | --- | --- |")
    cases: tuple[tuple[str, float, float, dict[str, Any]], ...] = (
        ("15 % positive, no weights", 0.15, 3e-3, {}),
        ("15 % positive, balanced weights", 0.15, 3e-3, {"class_weight": "balanced"}),
        *((f"balanced data, weight {w:g}, 3e-4", 0.5, 3e-4, {"class_weight": w}) for w in (2.0, 4.0, 7.0)),
    )
    for name, share, lr, training in cases:
        runs = [_trained(share, lr, training, seed) for seed in range(seeds)]
        best, before, after = np.mean(runs, axis=0)
        print(f"| {name} | {best:.2f} | {before:.0%} | {after:.0%} |", flush=True)


def _trained(share: float, lr: float, training: dict[str, Any], seed: int) -> tuple[float, bool, bool]:
    """Best AUC of one trained trial, and whether each rule stops it."""
    data, inputs = draw(share, seed)
    labels = [data.labels[data.folds == fold] for fold in range(_FOLDS)]
    curve = train(config_of(training), data, inputs, lr, seed)
    areas = [np.mean([auc(own, found) for own, found in zip(labels, epoch, strict=True)]) for epoch in curve]
    before, after = (_stops(rule, labels, curve) for rule in RULES)
    return float(max(areas)), before, after


def _stops(rule: Rule, labels: Sequence[IntArray], curve: Sequence[Sequence[Float32Array]]) -> bool:
    """True if a fold is named in eight epochs in a row."""
    for fold, own in enumerate(labels):
        in_a_row = 0
        for epoch in curve:
            in_a_row = in_a_row + 1 if rule(own, epoch[fold]) else 0
            if in_a_row == _IN_A_ROW:
                return True
    return False


def _print_spreads(folder: Path) -> None:
    print(
        "\n| real trial, epochs 1 to 8 | spread of folds that rank | of folds at AUC 0.45 to 0.55 | named |"
    )
    print("| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as store:
        weights = folder / "weights"
        for name, data, settings in _real_trials(folder, Path(store)):
            inventory = take_inventory((settings["model.backbone"],), weights_dir=weights, may_download=False)
            runtime = TrialRuntime(Path(store), CPU, inventory.usable)
            print(_spread_row(name, decode({**settings, **_PLAIN}), data, runtime), flush=True)


def _real_trials(folder: Path, store: Path) -> Iterator[tuple[str, TrainingData, dict[str, Any]]]:
    rates = (1e-5, 1e-3, 1e-2, 1e-1)
    sources = {
        "INFN": (str(folder / "infn_mass_patches_150.npz"), rates),
        "phantom": ("phantom:subtlety=0.6", rates),
        "DDSM": (str(folder / "ddsm_mass_films_227.npz"), (1e-2,)),
    }
    for name, (source, from_pixels) in sources.items():
        data = _real(source, "benign_malignant", store)
        for lr in (1e-5, 1e-3):
            yield f"{name}, frozen Lite0, Adam {lr:g}", data, {**_FROZEN, "optimizer.lr": lr}
        for lr in from_pixels:
            yield f"{name}, four convolutions, Adam {lr:g}", data, {**_PIXELS, "optimizer.lr": lr}
    point = InitialPoint("E000-1", recipe_named("E000-1", "idc").points[0]).settings
    yield "IDC, E000-1", _real(str(folder / "idc"), "idc", store), dict(point)


def _real(source: str, task: str, store: Path) -> TrainingData:
    patches, _ = load_patch_set(source, task=task_named(task), label_codes=None, store=store)
    split = make_split(
        select_rows(patches, task_named(task)),
        fingerprint=patches.fingerprint,
        task=task,
        folds=_FOLDS,
        test_share=0.0,
        seed=0,
    )
    return training_data_of(patches, task_named(task), split)


def _spread_row(name: str, config: TrialConfig, data: TrainingData, runtime: TrialRuntime) -> str:
    """One row: ranges of the spreads of folds, and in how many of their epochs the rule names them."""
    run = CrossValidation(config, data, runtime, seed=0, score=epoch_scores)
    ranking, chance, named = list[float](), list[float](), 0
    try:
        for _ in range(_REAL_EPOCHS):
            named += len(run.epoch().collapsed)
            found = run.folds.predict()
            for own in run.record.held_out:
                area = float(auc(data.labels[own], found[own]))
                (chance if abs(area - 0.5) <= 0.05 else ranking).append(_spread(found[own]))
    except NanLossError as error:
        name += f" ({error})"
    total = len(ranking) + len(chance)
    return f"| {name} | {_range(ranking)} | {_range(chance)} | {named} of {total} |"


def _spread(probabilities: Float32Array) -> float:
    """Distance of logits from the middle one that 99 % of the images keep to."""
    logs = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    logits = logs - logs.mean(axis=1, keepdims=True)
    distances = np.abs(logits - np.median(logits, axis=0)).max(axis=1)
    return float(np.quantile(distances, 0.99, method="inverted_cdf"))


def _range(spreads: Sequence[float]) -> str:
    return f"{min(spreads):.1e} to {max(spreads):.1e}" if spreads else "-"


if __name__ == "__main__":
    main()
