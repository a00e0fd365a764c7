"""The pointing game: does a relevance map point at the lesion, by models that did not see its patient?

    python -m benchmarks.pointing DATA [--sets phantom mias] [--masks 120] [--json FILE]

DATA is the folder of real images. Images with a lesion anywhere in them, and images of healthy tissue, are
told apart by logistic regression on frozen features, in four folds by patient. Each lesion is explained by
the models that held its patient out. A hit is a highest point inside the lesion's box, or the circle's
square of mini-MIAS; `shuffled` is the same for shuffled weights. Intervals resample patients. The patches of
INFN have no boxes: their mass lies in the middle, where no map can beat the centre.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from orchestrator.postprocessing.relevance_methods import any_method
from results.ensembles.weighted_mean import WeightedMean
from results.predictors.ensemble_module import EnsembleModule, combination_graph
from results.predictors.explained_model import ExplainedModel
from results.relevance.frame import Frame
from results.relevance.known_boxes import known_boxes
from results.relevance.method import RelevanceSettings
from results.relevance.pointing import Pointing, point
from results.scores.metrics import mean_fold_auc, scores
from trainables.config.tasks import task_named
from trainables.config.trial_config import decode
from trainables.data.patches import RawPatches, select_rows, store_patch_set
from trainables.data.phantom import make_phantom
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.inference.finished_trials import FinishedTrial, ImageFormat, SharedBackbones
from trainables.models.weights import find_weights
from trainables.relevance.shuffled_weights import shuffled_copy
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.factory import open_validation

_METHODS: Final = ("occlusion", "rise", "layer_cam", "grad_cam_plus", "integrated_gradients", "lrp")
_TASK: Final = "benign_malignant"  # its two classes stand for healthy and lesion here
_BACKBONE: Final = "efficientnet_lite0"
_SIDE_PX: Final = 96
_FOLDS: Final = 4
_BOX: Final = ("left", "top", "width", "height")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of real images")
    parser.add_argument("--sets", nargs="+", default=["phantom", "mias"], help="default: phantom mias")
    parser.add_argument("--methods", nargs="+", default=list(_METHODS), help="relevance methods")
    parser.add_argument("--masks", type=int, default=120, help="changed images of a map (default: 120)")
    parser.add_argument("--lesions", type=int, default=80, help="of each set, at most (default: 80)")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.sets:
        raw = phantom_patches() if name == "phantom" else mias_patches(arguments.data / "mini_mias")
        for row in measured(raw, arguments.methods, arguments.masks, arguments.lesions):
            rows.append({"set": name, **row})
            print(_as_line(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def phantom_patches() -> RawPatches:
    """Mosaics of four phantom patches of a patient, one of them with a lesion, or none; the label says which.

    A lesion lies in the middle of its patch, so that in single patches no map can beat the centre.
    """
    raw, random = (
        make_phantom(patients=30, lesions_per_patient=4, subtlety=0.2, boxes=True),
        np.random.default_rng(0),
    )
    assert raw.columns is not None
    assert raw.patients is not None
    lesions = np.stack([raw.columns[f"finding_{name}"] for name in _BOX], axis=1).astype(np.float64)
    images, labels, patients, boxes = [], [], [], []
    for patient in np.unique(raw.patients):
        rows = np.flatnonzero(raw.patients == patient)
        healthy, ill = rows[raw.labels[rows] == 0], rows[raw.labels[rows] > 0]
        for row in (*[None] * len(ill), *ill):
            cells = random.permutation(healthy)[:4]
            box = np.full(4, np.nan)
            if row is not None:
                place = int(random.integers(4))
                cells[place] = row
                box = (lesions[row] + 150 * np.array([place % 2, place // 2, 0, 0])) * _SIDE_PX / 300
            upper, lower = (np.concatenate(raw.images[cells[own]], axis=1) for own in (slice(2), slice(2, 4)))
            mosaic = np.concatenate([upper, lower])
            images.append(cv2.resize(mosaic, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA))
            labels.append(int(row is not None))
            patients.append(patient)
            boxes.append(box.tolist())
    return RawPatches(
        np.stack(images).astype(np.uint16),
        np.array(labels),
        "task",
        patients=np.array(patients),
        columns=_columns(boxes),
        source="phantom",
        is_synthetic=True,
    )


def _columns(boxes: Sequence[Sequence[float]]) -> dict[str, NDArray[Any]]:
    return {f"finding_{name}": column for name, column in zip(_BOX, np.array(boxes).T, strict=True)}


def mias_patches(folder: Path) -> RawPatches:
    """Squares of mini-MIAS around lesions, which lie anywhere in them, and of healthy films."""
    random, found = np.random.default_rng(0), []
    for line in (folder / "labels.csv").read_text().splitlines()[1:]:
        ref, patient, _, _, kind, _, x, y, radius = line.split(",")
        path = folder / "images_512" / f"{ref}.png"
        film = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if film is None:
            raise SystemExit(f"{path} cannot be read as an image")
        if kind == "NORM":
            place = _tissue(film, random)
        else:  # circles are for 1024 pixels, with the origin at the lower left
            place = (float(x) / 2, 512 - float(y) / 2, max(12.0, float(radius or 0) / 2)) if x else None
        if place is not None:
            pixels, box = _square(film, place, random)
            box = [np.nan] * 4 if kind == "NORM" else box
            found.append((pixels, int(kind != "NORM"), patient, box))
    images, labels, patients, boxes = zip(*found, strict=True)
    return RawPatches(
        np.stack(images),
        np.array(labels),
        "task",
        patients=np.array(patients),
        columns=_columns(boxes),
        source="mias",
    )


def _tissue(film: NDArray[Any], random: np.random.Generator) -> tuple[float, float, float] | None:
    """Column, row and radius of a random place within the breast."""
    rows, columns = np.nonzero(cv2.blur(film, (65, 65)) > 60)
    if not len(rows):
        return None
    place = int(random.integers(len(rows)))
    return float(columns[place]), float(rows[place]), float(random.uniform(16, 40))


def _square(
    film: NDArray[Any], place: tuple[float, float, float], random: np.random.Generator
) -> tuple[NDArray[Any], list[float]]:
    """A square that holds a circle anywhere but at its edge, and the box of the circle in it."""
    column, row, radius = place
    side = int(np.clip(8 * radius, 128, 384))
    most = max(0.0, 0.5 - radius / side)  # so that the circle is inside
    shift = random.uniform(-most, most, 2) * side
    left, top = (
        int(np.clip(middle - side / 2 + own, 0, 512 - side))
        for middle, own in zip((column, row), shift, strict=True)
    )
    scale = _SIDE_PX / side
    box = [value * scale for value in (column - radius - left, row - radius - top, 2 * radius, 2 * radius)]
    patch = film[top : top + side, left : left + side]
    return np.asarray(cv2.resize(patch, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)), box


@dataclass(frozen=True, slots=True)
class _Trained:
    """Models of each fold, the data that they were trained on, and their AUC out of fold."""

    models: list[EnsembleModule]
    data: TrainingData
    auc: float


def _trained(raw: RawPatches, folder: Path) -> _Trained:
    patch_set, task = store_patch_set(raw, folder / "data"), task_named(_TASK)
    selected = select_rows(patch_set, task)
    split = make_split(
        selected, fingerprint=patch_set.fingerprint, task=_TASK, folds=_FOLDS, test_share=0.0, seed=0
    )
    data = training_data_of(patch_set, task, split)
    weights = find_weights(_BACKBONE, weights_dir=None, may_download=False)
    runtime = TrialRuntime(folder / "store", torch.device("cpu"), {_BACKBONE: weights})
    config = decode({"model.backbone": _BACKBONE, "model.cut": "block4", "classical.name": "logistic"})
    validation = open_validation(config, data, runtime, seed=0, score=scores, metric="auc")
    validation.epoch()
    best = validation.best
    if best is None:
        raise SystemExit("the trial to explain has no epoch that counts")
    trial = FinishedTrial(config, best.weights, weights)
    image = ImageFormat(tuple(raw.images.shape[1:]), patch_set.max_value)
    members = SharedBackbones([trial], image, classes=2)
    combination = combination_graph(WeightedMean(weights=(1.0,)), None)
    models = [EnsembleModule(members.only(fold), combination) for fold in range(_FOLDS)]
    return _Trained(models, data, float(mean_fold_auc(data.labels, best.probabilities, data.folds)))


def measured(raw: RawPatches, methods: list[str], masks: int, lesions: int) -> Iterator[dict[str, Any]]:
    """Train, explain the held-out lesions by each method, and yield a row for each."""
    with tempfile.TemporaryDirectory() as folder:
        trained = _trained(raw, Path(folder))
        data, settings = trained.data, RelevanceSettings(masks=masks)
        boxes = {int(row): known_boxes(data.patch_set, int(row)) for row in data.rows}
        places = [place for place, row in enumerate(data.rows) if boxes[int(row)]]
        chosen = [places[one] for one in np.unique(np.linspace(0, len(places) - 1, lesions).astype(int))]
        shuffled = [shuffled_copy(model, seed=1) for model in trained.models]
        for name in methods:
            found = [
                _played(name, models, data, chosen, boxes, settings) for models in (trained.models, shuffled)
            ]
            yield _plain(name, trained.auc, *found)


def _played(
    name: str,
    models: list[EnsembleModule],
    data: TrainingData,
    chosen: list[int],
    boxes: dict[int, tuple[Frame, ...]],
    settings: RelevanceSettings,
) -> Pointing:
    maps = []
    for place in chosen:
        model = ExplainedModel(models[data.folds[place]], {})
        image = np.array(data.patch_set.images[data.rows[place]])
        maps.append(any_method(name).compute(model, image, 1, settings).values)
    return point(maps, [boxes[int(data.rows[place])][0] for place in chosen], data.groups[chosen])


def _plain(name: str, auc: float, found: Pointing, shuffled: Pointing) -> dict[str, Any]:
    scores_of = ("hits", "centre", "random", "over_centre", "over_random")
    return {
        "method": name,
        "auc": auc,
        "images": found.images,
        "patients": found.patients,
        **{one: str(getattr(found, one)) for one in scores_of},
        "shuffled": str(shuffled.hits),
    }


def _as_line(row: dict[str, Any]) -> str:
    names = ("set", "method", "images", "hits", "centre", "random", "over_centre", "over_random", "shuffled")
    return f"| {' | '.join(str(row[name]) for name in names)} | AUC {row['auc']:.3f} |"


if __name__ == "__main__":
    main()
