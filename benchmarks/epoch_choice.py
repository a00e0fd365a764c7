"""The kept epoch of trials that learn with class weights or resampling, by two validation losses.

    python -m benchmarks.epoch_choice [--seeds 12] [--lr 0.003]

A perceptron learns weakly separable numbers in four folds, by the product's loss; the same predictions go to
two records of epochs. One chooses by the unweighted validation loss, as Keras does and as it was before, the
other by the loss with the weights of the training. Columns: kept epoch and its AUC, value told to the pruner
at epoch 5 (AUC of epoch 5 itself), mean over seeds.
"""

import argparse
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from results.scores.metrics import auc
from trainables.common.types import Float32Array, IntArray
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet
from trainables.data.training_data import TrainingData
from trainables.training.folds import training_positions
from trainables.training.losses import class_weights, weighted_loss
from trainables.training.random_streams import epoch_order, resampled
from trainables.validation.epoch_selection import EpochRecord

_IMAGES, _FEATURES, _FOLDS = 240, 64, 4
_DISTANCE: Final = 1.1  # of the class means, in standard deviations; the best possible AUC is 0.78
_EPOCHS, _BATCH, _RUNG = 30, 32, 5
_CASES: Final[tuple[tuple[str, float, dict[str, Any]], ...]] = (
    ("none", 0.5, {}),
    ("2", 0.5, {"class_weight": 2.0}),
    ("4", 0.5, {"class_weight": 4.0}),
    ("7", 0.5, {"class_weight": 7.0}),
    ("none, 15 % positive", 0.15, {}),
    ("balanced, 15 % positive", 0.15, {"class_weight": "balanced"}),
    ("over-sampling, 15 % positive", 0.15, {"sampling": "over"}),
    ("under-sampling, 15 % positive", 0.15, {"sampling": "under"}),
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What one record of epochs has chosen.

    Attributes:
        epoch: Kept epoch, from 1.
        auc: Its AUC, mean over folds.
        told: Value that the pruner was told at epoch 5.
        at_rung: AUC of epoch 5 itself.
    """

    epoch: float
    auc: float
    told: float
    at_rung: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12, help="number of data sets (default: 12)")
    parser.add_argument("--lr", type=float, default=3e-3, help="learning rate of Adam (default: 0.003)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| class weight | unweighted: epoch, AUC | told at 5 | weighted: epoch, AUC | told at 5 |")
    print("| --- | --- | --- | --- | --- |")
    for name, share, training in _CASES:
        runs = [compare(training, share, arguments.lr, seed) for seed in range(arguments.seeds)]
        before, after = (_mean([run[side] for run in runs]) for side in (0, 1))
        print(f"| {name} | {_cells(before)} | {_cells(after)} |", flush=True)


def compare(training: dict[str, Any], share: float, lr: float, seed: int) -> tuple[Choice, Choice]:
    """Train once and choose the epoch by the unweighted and by the weighted loss.

    Args:
        training: Settings of `training` that change the prior.
        share: Share of positive images.
        lr: Learning rate.
        seed: Seed of data and training.
    """
    data, inputs = draw(share, seed)
    metrics = ("unweighted_loss", "loss")
    configs = [config_of(training | {"checkpoint_metric": metric}) for metric in metrics]
    records = [EpochRecord(config, data, score=_score, metric="auc") for config in configs]
    told: list[list[float]] = [[], []]
    curve = []
    for probabilities in train(configs[0], data, inputs, lr, seed):
        curve.append(_mean_auc(data, records[0].held_out, probabilities))
        for record, values in zip(records, told, strict=True):
            values.append(record.add(None, probabilities, lambda fold: []).value)
    found = [
        Choice(best.epoch, best.value, values[_RUNG - 1], curve[_RUNG - 1])
        for record, values in zip(records, told, strict=True)
        if (best := record.best) is not None
    ]
    return found[0], found[1]


def train(
    config: TrialConfig, data: TrainingData, inputs: Tensor, lr: float, seed: int
) -> list[list[Float32Array]]:
    """Train a perceptron in each fold; returns the predictions of the images held out, epoch by epoch."""
    curves = [_fold(config, data, inputs, fold, lr, seed) for fold in range(_FOLDS)]
    return [[curve[epoch] for curve in curves] for epoch in range(_EPOCHS)]


def _fold(
    config: TrialConfig, data: TrainingData, inputs: Tensor, fold: int, lr: float, seed: int
) -> list[Float32Array]:
    torch.manual_seed(seed * _FOLDS + fold)
    order = torch.Generator().manual_seed(seed * _FOLDS + fold)
    training = config.training
    own = training_positions(data.folds, data.labels, data.groups, fold)
    own = resampled(own, data.labels, training.sampling, order)
    weights = torch.from_numpy(class_weights(training.class_weight, data.labels[own], 2)).float()
    labels, held_out = torch.from_numpy(data.labels), np.flatnonzero(data.folds == fold)
    net = nn.Sequential(nn.Linear(_FEATURES, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    curve = []
    for _ in range(_EPOCHS):
        for batch in torch.from_numpy(epoch_order(own, len(own), order)).split(_BATCH):
            optimizer.zero_grad()
            weighted_loss(net(inputs[batch]), labels[batch], weights).backward()
            optimizer.step()
        with torch.inference_mode():
            positive = net(inputs[held_out]).sigmoid()
        curve.append(torch.cat([1 - positive, positive], dim=1).numpy())
    return curve


def draw(share: float, seed: int) -> tuple[TrainingData, Tensor]:
    """Labels, folds and numbers of one data set; there are no images."""
    random = np.random.default_rng(seed)
    labels = (np.arange(_IMAGES) < share * _IMAGES).astype(np.int64)
    folds = np.arange(_IMAGES) % _FOLDS
    inputs = random.normal(size=(_IMAGES, _FEATURES))
    inputs[:, 0] += _DISTANCE * labels
    turned, _ = np.linalg.qr(random.normal(size=(_FEATURES, _FEATURES)))
    places = np.arange(_IMAGES)
    none = PatchSet(
        np.zeros((_IMAGES, 1), np.float32), labels, "task", None, None, None, "drawn", True, "", max_value=1.0
    )
    data = TrainingData(none, places, places, labels, places.astype(np.str_), folds, 2)
    return data, torch.from_numpy((inputs @ turned).astype(np.float32))


def config_of(training: dict[str, Any]) -> TrialConfig:
    settings = {f"training.{name}": value for name, value in training.items()}
    plain = {"model.backbone": "table", "training.epochs": _EPOCHS, "training.patience": None}
    return decode(plain | settings)


def _score(labels: IntArray, probabilities: Float32Array) -> dict[str, float]:
    return {"auc": float(auc(labels, probabilities))}


def _mean_auc(data: TrainingData, held_out: list[IntArray], probabilities: list[Float32Array]) -> float:
    areas = [auc(data.labels[own], found) for own, found in zip(held_out, probabilities, strict=True)]
    return float(np.mean(areas))


def _mean(choices: list[Choice]) -> Choice:
    numbers = np.array([(one.epoch, one.auc, one.told, one.at_rung) for one in choices])
    return Choice(*numbers.mean(axis=0))


def _cells(choice: Choice) -> str:
    return f"{choice.epoch:.1f}, {choice.auc:.3f} | {choice.told:.3f} ({choice.at_rung:.3f})"


if __name__ == "__main__":
    main()
