"""The same trial on a device and on the CPU: features, training, checkpoints, memory, prediction.

`TEST_DEVICE` names the device, `cuda` if it is not set. `make gpu DEVICE=cpu` runs the same on the CPU, so
that these tests cannot rot where nobody has a GPU.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from isolated_folds import FROM_PIXELS, FROZEN, material_of, place_in

from cluster.resources import Machine
from orchestrator.tuning.allocation import ResourceAllocator
from results.export.graph_cost import graph_cost
from results.scores.metrics import scores
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet
from trainables.data.training_data import TrainingData
from trainables.inference.finished_trials import FinishedTrial, ImageFormat, SharedBackbones
from trainables.models.weights import find_weights
from trainables.runtime.memory import CUDA_CONTEXT_BYTES, PeakMemory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.execution_mode import choose_mode
from trainables.validation.cross_validation import CrossValidation
from trainables.validation.isolated import IsolatedValidation

DEVICE, CPU = torch.device(os.environ.get("TEST_DEVICE", "cuda")), torch.device("cpu")
IS_GPU = DEVICE.type == "cuda"

pytestmark = pytest.mark.skipif(
    IS_GPU and not torch.cuda.is_available(), reason="needs a GPU that torch can use, or TEST_DEVICE=cpu"
)
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
    for name, device in (("cpu", CPU), ("device", DEVICE)):
        store = tmp_path / name
        finished(FROZEN, training_data, on(device, store))
        paths = [path for path in store.rglob("*.npy") if "prefix" in path.parts]
        files[name] = {path.name + path.parent.name: np.load(path, mmap_mode="r") for path in paths}
    assert files["cpu"].keys() == files["device"].keys()
    assert len(files["cpu"]) >= 8
    for name, expected in files["cpu"].items():
        scale = np.abs(expected).max()
        assert np.abs(files["device"][name] - expected).max() <= 2e-4 * scale


@pytest.mark.parametrize("settings", PAIRED_SETTINGS, ids=IDS)
def test_fused_and_sequential_models_agree(
    settings: dict[str, Any], training_data: TrainingData, tmp_path: Path
) -> None:
    found = [
        probabilities(finished(settings, training_data, on(DEVICE, tmp_path, fusion=fusion)))
        for fusion in ("sequential", "fused")
    ]
    np.testing.assert_allclose(found[0], found[1], atol=5e-3)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("fusion", ["sequential", "fused"])
def test_mixed_precision_learns_nearly_the_same_on_the_device(
    precision: str, fusion: Any, training_data: TrainingData, tmp_path: Path
) -> None:
    settings = {**LAST_BLOCK, "model.head.dropout": 0.0, "optimizer.lr": 1e-4}
    mixed = {**settings, "fine_tuning.precision": precision}
    found = [
        probabilities(finished(own, training_data, on(DEVICE, tmp_path, fusion=fusion)))
        for own in (settings, mixed)
    ]
    assert 0.0 < np.abs(found[0] - found[1]).max() < 0.05


def test_a_trial_without_dropout_ends_where_it_ends_on_the_cpu(
    training_data: TrainingData, tmp_path: Path
) -> None:
    settings = {**FROZEN, "model.head.dropout": 0.0}
    found = [
        probabilities(finished(settings, training_data, on(device, tmp_path))) for device in (CPU, DEVICE)
    ]
    np.testing.assert_allclose(found[0], found[1], atol=5e-3)


@pytest.mark.parametrize("settings", PAIRED_SETTINGS, ids=IDS)
def test_a_trial_goes_on_from_a_checkpoint(
    settings: dict[str, Any], training_data: TrainingData, tmp_path: Path
) -> None:
    whole = finished(settings, training_data, on(DEVICE, tmp_path))
    interrupted = CrossValidation(decode(settings), training_data, on(DEVICE, tmp_path), seed=0, score=scores)
    interrupted.epoch()
    resumed = CrossValidation(decode(settings), training_data, on(DEVICE, tmp_path), seed=0, score=scores)
    resumed.load_state(interrupted.state())
    while not resumed.is_over:
        resumed.epoch()
    np.testing.assert_allclose(probabilities(resumed), probabilities(whole), atol=5e-3)


def test_torchs_own_stream_of_the_device_goes_on_from_a_checkpoint(
    training_data: TrainingData, tmp_path: Path
) -> None:
    config, runtime = decode(FROZEN), on(DEVICE, tmp_path)
    interrupted = CrossValidation(config, training_data, runtime, seed=0, score=scores)
    interrupted.epoch()
    state = interrupted.state()
    expected = torch.rand(3, device=DEVICE)
    CrossValidation(config, training_data, runtime, seed=0, score=scores).load_state(state)
    assert torch.equal(torch.rand(3, device=DEVICE), expected)


def test_weights_are_kept_on_the_cpu_and_predict_the_same_on_either_device(
    training_data: TrainingData, tmp_path: Path
) -> None:
    run = finished(FROZEN, training_data, on(DEVICE, tmp_path))
    assert run.best is not None
    assert all(tensor.device == CPU for state in run.best.weights for tensor in state.values())
    weights = find_weights("efficientnet_lite0", weights_dir=None, may_download=False)
    trial = FinishedTrial(decode(FROZEN), run.best.weights, weights)
    image = ImageFormat(tuple(training_data.patch_set.images.shape[1:]), training_data.patch_set.max_value)
    raw = torch.from_numpy(training_data.patch_set.images[training_data.rows].astype(np.int32))
    found = []
    with torch.inference_mode():
        for device in (CPU, DEVICE):
            module = SharedBackbones([trial], image, classes=2).eval().to(device)
            found.append(module(raw.to(device)).float().cpu().numpy())
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_what_a_prediction_costs_is_measured_on_the_device(
    training_data: TrainingData, tmp_path: Path
) -> None:
    run = finished({**FROM_PIXELS, "training.epochs": 1}, training_data, on(DEVICE, tmp_path))
    assert run.best is not None
    trial = FinishedTrial(run.config, run.best.weights, None)
    image = ImageFormat(tuple(training_data.patch_set.images.shape[1:]), training_data.patch_set.max_value)
    found = graph_cost([trial], image, classes=2, store=tmp_path)
    assert found.core_ms > 0
    assert (found.gpu_ms or 0.0) > 0 or not torch.cuda.is_available()
    assert (found.gpu_ms is None) == (found.gpu_runtime is None) == (not torch.cuda.is_available())


def test_a_net_from_pixels_predicts_the_same_alone_as_in_its_search(
    training_data: TrainingData, tmp_path: Path
) -> None:
    settings = {**FROM_PIXELS, "model.head.dropout": 0.0}
    run = finished(settings, training_data, on(DEVICE, tmp_path))
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
    run = IsolatedValidation(
        settings, training_data, on(DEVICE, tmp_path), seed=0, score=scores, metric="auc"
    )
    while not run.is_over:
        run.epoch()
    together = finished({**FROZEN, "training.epochs": 2}, training_data, on(DEVICE, tmp_path))
    np.testing.assert_allclose(probabilities(run), probabilities(together), atol=5e-3)
    assert run.child_peak_memory is not None
    assert run.child_peak_memory.peak_bytes > (CUDA_CONTEXT_BYTES if IS_GPU else 0)


def test_the_peak_of_a_trial_is_measured(training_data: TrainingData, tmp_path: Path) -> None:
    peak = PeakMemory(DEVICE)
    finished({**FROM_PIXELS, "training.epochs": 1}, training_data, on(DEVICE, tmp_path))
    used = peak.use()
    assert used is not None
    assert (CUDA_CONTEXT_BYTES if IS_GPU else 0) < used.peak_bytes < used.total_bytes


def test_trials_are_packed_by_the_memory_that_was_measured(
    training_data: TrainingData, tmp_path: Path
) -> None:
    config = decode({**FROM_PIXELS, "training.epochs": 1})
    peak = PeakMemory(DEVICE)
    finished({**FROM_PIXELS, "training.epochs": 1}, training_data, on(DEVICE, tmp_path))
    used = peak.use()
    assert used is not None
    machine = Machine(8.0, 1.0, used.total_bytes)
    allocator = ResourceAllocator(1.0, 1.0, [machine], folds=3, slots=8, is_measured=True)
    before = allocator.request(config).gpus
    allocator.measured(config, used.peak_bytes, used.total_bytes)
    after = allocator.request(config).gpus
    assert used.peak_bytes / used.total_bytes < after < before


@pytest.mark.skipif(not IS_GPU, reason="only a GPU has a memory that torch can be held to")
def test_models_that_do_not_fit_side_by_side_train_one_after_the_other(
    training_data: TrainingData, tmp_path: Path
) -> None:
    config = decode({**FROM_PIXELS, "model.backbone": "scratch4", "training.batch_size": 4})
    shape, total = (3, 1024, 1024), torch.cuda.get_device_properties(DEVICE).total_memory
    peak = PeakMemory(DEVICE)
    runtime = on(DEVICE, tmp_path / "whole", fusion="auto")
    choose_mode(config, shape, runtime, training_data)
    used = peak.use()
    assert used is not None
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.6 * (used.peak_bytes - CUDA_CONTEXT_BYTES) / total)
    try:
        mode = choose_mode(config, shape, on(DEVICE, tmp_path / "held", fusion="auto"), training_data)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert mode == "sequential"
