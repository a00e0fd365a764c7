"""A plain hyperparameter search in the style of Ray Tune's own examples, the baseline of the benchmark.

One function trainable, OptunaSearch, a DataLoader with torchvision transforms. The frozen network runs in
every epoch of every fold of every trial.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.plain_configurations import BATCH_SIZE, Configuration
from trainables.models.registry import backbone_named
from trainables.models.weights import WeightsFile, build_stages


@dataclass(frozen=True, slots=True)
class PlainData:
    """Data and settings that all plain trials share.

    Attributes:
        images: File of the training part's images, shape (n, H, W).
        labels: Labels, 0 or 1, shape (n,).
        folds: Fold that holds each image out, shape (n,); the same split as in our search.
        max_value: Raw value that becomes 1.0.
        size_px: Side of the network's input in pixels.
        backbone: Name of the backbone.
        weights: Pretrained weights file of the backbone.
        epochs: Number of epochs of a trial.
        seed: Random seed of the trials.
        device: Device that they compute on, `cpu` or `cuda`; they share one GPU evenly.
    """

    images: Path
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]
    max_value: float
    size_px: int
    backbone: str
    weights: WeightsFile
    epochs: int
    seed: int
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class PlainResult:
    """Outcome of a plain search.

    Attributes:
        seconds: Seconds from the start of the trials to the end of the last one.
        values: Mean fold AUC of each configuration at its epoch of lowest mean validation loss.
    """

    seconds: float
    values: list[float]


class _Patches(Dataset[tuple[Tensor, int]]):
    def __init__(self, data: PlainData, rows: NDArray[np.int64], transform: nn.Module | v2.Compose) -> None:
        self.images = np.load(data.images, mmap_mode="r")
        self.data, self.rows, self.transform = data, rows, transform

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        row = self.rows[index]
        pixels = torch.from_numpy(self.images[row].astype(np.float32) / self.data.max_value)
        return self.transform(pixels.unsqueeze(0)), int(self.data.labels[row])


def run_plain(data: PlainData, sample: Sequence[Configuration], *, workers: int, folder: Path) -> PlainResult:
    """Search with Ray Tune and OptunaSearch over some configurations, in the Ray that runs already."""
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    space = {
        name: tune.choice(sorted({getattr(point, name) for point in sample}))
        for name in ("cut", "contrast", "hidden", "lr")
    }
    searcher = OptunaSearch(
        metric="best_auc", mode="max", points_to_evaluate=[asdict(point) for point in sample]
    )
    resources = {"CPU": 1.0, "GPU": 1 / workers if data.device == "cuda" else 0.0}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_train, data=data), resources),
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=len(sample),
            max_concurrent_trials=workers,
            metric=None,
            mode=None,
        ),
        run_config=tune.RunConfig(name="plain", storage_path=str(folder), verbose=0),
    )
    start = time.perf_counter()
    results = tuner.fit()
    seconds = time.perf_counter() - start
    if results.errors:
        raise RuntimeError(f"a plain trial failed: {results.errors[0]}")
    ended: list[Any] = [results[number] for number in range(len(results))]
    by_point = {_point(result.config): float(result.metrics["best_auc"]) for result in ended}
    return PlainResult(seconds, [by_point[point] for point in sample])


def _point(config: dict[str, Any]) -> Configuration:
    return Configuration(config["cut"], config["contrast"], config["hidden"], config["lr"])


def _train(config: dict[str, Any], data: PlainData) -> None:
    """The trainable: four folds side by side, epoch by epoch."""
    from ray import tune

    torch.manual_seed(data.seed)
    body, width = _frozen(data, config["cut"])
    folds = range(int(data.folds.max()) + 1)
    heads = [_head(width, int(config["hidden"])).to(data.device) for _ in folds]
    optimizers = [torch.optim.Adam(head.parameters(), lr=config["lr"]) for head in heads]
    loaders = [_loaders(data, fold, config["contrast"]) for fold in folds]
    device = torch.device(data.device)
    best_loss, best_auc = float("inf"), 0.0
    for _ in range(data.epochs):
        scores = []
        for head, optimizer, (training, held_out) in zip(heads, optimizers, loaders, strict=True):
            _train_epoch(body, head, optimizer, training, device)
            scores.append(_evaluate(body, head, held_out, device))
        loss, auc = np.mean(scores, axis=0).tolist()
        if loss < best_loss:
            best_loss, best_auc = loss, auc
        tune.report({"loss": loss, "auc": auc, "best_auc": best_auc})


def _train_epoch(
    body: nn.Module,
    head: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader[Any],
    device: torch.device,
) -> None:
    head.train()
    for images, labels in loader:
        with torch.no_grad():
            features = body(images.to(device)).mean(dim=(2, 3))
        optimizer.zero_grad()
        logits = head(features).squeeze(1)
        nn.functional.binary_cross_entropy_with_logits(logits, labels.float().to(device)).backward()
        optimizer.step()


@torch.no_grad()
def _evaluate(
    body: nn.Module, head: nn.Module, loader: DataLoader[Any], device: torch.device
) -> tuple[float, float]:
    """Log loss and AUC of a fold's held-out images."""
    head.eval()
    scores, truth = [], []
    for images, labels in loader:
        features = body(images.to(device)).mean(dim=(2, 3))
        scores.append(torch.sigmoid(head(features).squeeze(1)).cpu())
        truth.append(labels)
    probabilities, labels = torch.cat(scores).double().numpy(), torch.cat(truth).numpy()
    return float(log_loss(labels, probabilities, labels=[0, 1])), float(roc_auc_score(labels, probabilities))


def _frozen(data: PlainData, cut: str) -> tuple[nn.Module, int]:
    """The network up to the cut, in eval mode, and the number of its features."""
    backbone = backbone_named(data.backbone)
    stages = build_stages(backbone, channels=3, weights=data.weights)
    kept = list(stages.values())[: backbone.cut_index(cut)]
    body = nn.Sequential(*kept).eval().requires_grad_(False).to(data.device)
    with torch.no_grad():
        return body, body(torch.zeros(1, 3, data.size_px, data.size_px, device=data.device)).shape[1]


def _head(width: int, hidden: int) -> nn.Module:
    layers = nn.Linear(width, hidden), nn.Linear(hidden, 1)
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])


def _loaders(data: PlainData, fold: int, contrast: float) -> tuple[DataLoader[Any], DataLoader[Any]]:
    backbone = backbone_named(data.backbone)
    pixels = [
        v2.Lambda(lambda image: (image - image.mean()) * contrast + image.mean()),
        v2.Resize((data.size_px, data.size_px), antialias=True),
        v2.Lambda(lambda image: image.repeat(3, 1, 1)),
        v2.Normalize(backbone.mean, backbone.std),
    ]
    symmetry = v2.Lambda(_random_symmetry)
    training, held_out = np.flatnonzero(data.folds != fold), np.flatnonzero(data.folds == fold)
    return (
        DataLoader(_Patches(data, training, v2.Compose([*pixels, symmetry])), BATCH_SIZE, shuffle=True),
        DataLoader(_Patches(data, held_out, v2.Compose(pixels)), BATCH_SIZE),
    )


def _random_symmetry(image: Tensor) -> Tensor:
    if torch.rand(()) < 0.5:
        image = image.flip(2)
    return torch.rot90(image, int(torch.randint(4, ())), dims=(1, 2))
