"""The same trial on a GPU and on the CPU: features, training, checkpoints, memory, prediction."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from isolated_folds import FROM_PIXELS, FROZEN, material_of, place_in

from results.scores.metrics import scores
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet
from trainables.data.training_data import TrainingData
from trainables.inference.finished_trials import FinishedTrial, ImageFormat, SharedBackbones
from trainables.models.weights import find_weights
from trainables.runtime.memory import CUDA_CONTEXT_BYTES, PeakMemory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.validation.cross_validation import CrossValidation
from trainables.validation.isolated import IsolatedValidation

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")

CUDA, CPU = torch.device("cuda"), torch.device("cpu")
LAST_BLOCK = {**FROZEN, "model.trained_stages": 1, "training.epochs": 2}
PAIRED_SETTINGS = [FROZEN, LAST_BLOCK, {**FROM_PIXELS, "training.epochs": 2}]
IDS = ["frozen", "last block", "from pixels"]


@pytest.fixture
def training_data(bright_patches: PatchSet) -> TrainingData:
    return material_of(bright_patches)


def on(device: torch.device, store: Path, **fields: Any) -> TrialRuntime:
    return dataclasses.replace(place_in(store), device=device, **fields)


def finished(settings: dict[str, Any], training_data: TrainingData, runtime: TrialRuntime) -> CrossValidation:
    run = CrossValidation(decode(settings), training_data, runtime, seed=0, score=scores)
    while not run.is_over:
        run.epoch()
    return run


def probabilities(run: Any) -> np.ndarray:
    assert run.best is not None
    return np.asarray(run.best.probabilities)


def test_stored_features_are_the_same_from_either_device(training_data: TrainingData, tmp_path: Path) -> None:
    files = {}
    for device in (CPU, CUDA):
        store = tmp_path / device.type
        finished(FROZEN, training_data, on(device, store))
        paths = [path for path in store.rglob("*.npy") if "prefix" in path.parts]
        files[device.type] = {path.name + path.parent.name: np.load(path, mmap_mode="r") for path in paths}
    assert files["cpu"].keys() == files["cuda"].keys()
    assert len(files["cpu"]) >= 8
    for name, expected in files["cpu"].items():
        scale = np.abs(expected).max()
        assert np.abs(files["cuda"][name] - expected).max() <= 2e-4 * scale


@pytest.mark.parametrize("settings", PAIRED_SETTINGS, ids=IDS)
def test_fused_and_sequential_models_agree(
    settings: dict[str, Any], training_data: TrainingData, tmp_path: Path
) -> None:
    found = [
        probabilities(finished(settings, training_data, on(CUDA, tmp_path, fusion=fusion)))
        for fusion in ("sequential", "fused")
    ]
    np.testing.assert_allclose(found[0], found[1], atol=5e-3)


def test_a_trial_without_dropout_ends_where_it_ends_on_the_cpu(
    training_data: TrainingData, tmp_path: Path
) -> None:
    settings = {**FROZEN, "model.head.dropout": 0.0}
    found = [probabilities(finished(settings, training_data, on(device, tmp_path))) for device in (CPU, CUDA)]
    np.testing.assert_allclose(found[0], found[1], atol=5e-3)


@pytest.mark.parametrize("settings", PAIRED_SETTINGS, ids=IDS)
def test_a_trial_goes_on_from_a_checkpoint(
    settings: dict[str, Any], training_data: TrainingData, tmp_path: Path
) -> None:
    whole = finished(settings, training_data, on(CUDA, tmp_path))
    interrupted = CrossValidation(decode(settings), training_data, on(CUDA, tmp_path), seed=0, score=scores)
    interrupted.epoch()
    resumed = CrossValidation(decode(settings), training_data, on(CUDA, tmp_path), seed=0, score=scores)
    resumed.load_state(interrupted.state())
    while not resumed.is_over:
        resumed.epoch()
    np.testing.assert_allclose(probabilities(resumed), probabilities(whole), atol=5e-3)


def test_weights_are_kept_on_the_cpu_and_predict_the_same_on_either_device(
    training_data: TrainingData, tmp_path: Path
) -> None:
    run = finished(FROZEN, training_data, on(CUDA, tmp_path))
    assert run.best is not None
    assert all(tensor.device == CPU for state in run.best.weights for tensor in state.values())
    weights = find_weights("efficientnet_lite0", weights_dir=None, may_download=False)
    trial = FinishedTrial(decode(FROZEN), run.best.weights, weights)
    image = ImageFormat(tuple(training_data.patch_set.images.shape[1:]), training_data.patch_set.max_value)
    raw = torch.from_numpy(training_data.patch_set.images[training_data.rows].astype(np.int32))
    found = []
    with torch.inference_mode():
        for device in (CPU, CUDA):
            module = SharedBackbones([trial], image, classes=2).eval().to(device)
            found.append(module(raw.to(device)).float().cpu().numpy())
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_a_net_from_pixels_predicts_the_same_alone_as_in_its_search(
    training_data: TrainingData, tmp_path: Path
) -> None:
    settings = {**FROM_PIXELS, "model.head.dropout": 0.0}
    run = finished(settings, training_data, on(CUDA, tmp_path))
    assert run.best is not None
    trial = FinishedTrial(decode(settings), run.best.weights, None)
    image = ImageFormat(tuple(training_data.patch_set.images.shape[1:]), training_data.patch_set.max_value)
    raw = torch.from_numpy(training_data.patch_set.images[training_data.rows].astype(np.int32))
    with torch.inference_mode():
        by_fold = SharedBackbones([trial], image, classes=2).eval().by_fold(raw)[0].numpy()
    predicted = by_fold[training_data.folds, np.arange(len(raw))]
    np.testing.assert_allclose(predicted, probabilities(run), atol=1e-4)


def test_folds_in_processes_of_their_own_train_on_the_gpu(
    training_data: TrainingData, tmp_path: Path
) -> None:
    settings = decode({**FROZEN, "training.epochs": 2})
    run = IsolatedValidation(settings, training_data, on(CUDA, tmp_path), seed=0, score=scores, metric="auc")
    while not run.is_over:
        run.epoch()
    together = finished({**FROZEN, "training.epochs": 2}, training_data, on(CUDA, tmp_path))
    np.testing.assert_allclose(probabilities(run), probabilities(together), atol=5e-3)
    assert run.child_peak_memory is not None
    assert run.child_peak_memory.peak_bytes > CUDA_CONTEXT_BYTES


def test_the_peak_of_a_trial_is_measured(training_data: TrainingData, tmp_path: Path) -> None:
    peak = PeakMemory(CUDA)
    finished({**FROM_PIXELS, "training.epochs": 1}, training_data, on(CUDA, tmp_path))
    used = peak.use()
    assert used is not None
    assert CUDA_CONTEXT_BYTES < used.peak_bytes < used.total_bytes
