"""Time of one image: on a core in ONNX Runtime, and on a GPU by whatever can use it, which is said."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from results.export import graph_cost, prediction_time
from results.export.prediction_time import measure_prediction_time
from results.run.prediction_costs import PredictionTime
from trainables.common.onnx_runtime import onnxruntime

CPU = torch.device("cpu")  # stands for a GPU: the same path
PIXELS = {"raw": np.ones((2, 8, 8), dtype=np.float32)}


class Doubled(torch.nn.Module):
    """Counts its images and takes some milliseconds, as a net on a GPU does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((), 2.0))
        self.asked: list[int] = []

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(raw))
        time.sleep(0.02)
        return raw * self.weight


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that doubles each pixel."""
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8, 8]) for name in ("raw", "doubled")
    ]
    graph = helper.make_graph(
        [helper.make_node("Add", ["raw", "raw"], ["doubled"])], "g", values[:1], values[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture(autouse=True)
def few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_time, "_MOST_RUNS", 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def offer_cuda(monkeypatch: pytest.MonkeyPatch, used: list[str], *, fails: str = "") -> None:
    """Let ONNX Runtime say that it was built for CUDA; its sessions use these providers, or fail there."""

    class Session:
        def __init__(self, path: str, options: Any, providers: list[str]) -> None:
            self.seconds = 0.01 if providers == ["CUDAExecutionProvider"] else 0.0

        def get_providers(self) -> list[str]:
            return used

        def run(self, outputs: None, feed: dict[str, Any]) -> list[Any]:
            if fails and self.seconds:
                raise RuntimeError(fails)
            time.sleep(self.seconds)
            return []

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)


def test_without_a_gpu_there_is_no_time_of_one(file: Path) -> None:
    found = measure_prediction_time(file, PIXELS, Doubled())
    assert (found.gpu_ms, found.gpu_runtime) == (None, None)
    assert found.core_ms > 0
    assert found.megabytes == pytest.approx(file.stat().st_size / 1e6)


def test_torch_computes_on_a_gpu_that_onnx_runtime_cannot_use(file: Path) -> None:
    found = measure_prediction_time(file, PIXELS, Doubled(), gpu=CPU)
    assert found.gpu_runtime == "torch"
    assert found.gpu_ms is not None
    assert found.gpu_ms >= 20  # what it sleeps
    assert str(found).endswith("ms on the GPU in PyTorch, 0.0 MB")


def test_the_gpu_of_this_process_is_taken(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_time, "gpu_here", lambda: CPU)
    assert measure_prediction_time(file, PIXELS, Doubled()).gpu_runtime == "torch"
    assert measure_prediction_time(file, PIXELS).gpu_ms is None  # there is only the file


def test_the_module_is_left_as_it_is_and_asked_for_one_image_at_a_time(file: Path) -> None:
    seen = list[int]()
    twin = Doubled()
    twin.register_forward_pre_hook(lambda module, _, given: seen.append(len(given["raw"])), with_kwargs=True)
    measure_prediction_time(file, PIXELS, twin, gpu=CPU)
    assert set(seen) == {1}
    assert twin.asked == []  # a copy was


def test_onnx_runtime_comes_first_where_it_uses_the_gpu(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer_cuda(monkeypatch, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(Doubled, "forward", None)  # the module is not asked
    found = measure_prediction_time(file, PIXELS, Doubled(), gpu=CPU)
    assert found.gpu_runtime == "onnxruntime"
    assert found.gpu_ms is not None
    assert found.gpu_ms >= 10  # what the session sleeps on CUDA
    assert "ms on the GPU, " in str(found)


def test_a_session_that_fell_back_to_the_cpu_is_no_gpu(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer_cuda(monkeypatch, ["CPUExecutionProvider"])
    assert measure_prediction_time(file, PIXELS, Doubled(), gpu=CPU).gpu_runtime == "torch"
    assert measure_prediction_time(file, PIXELS).gpu_ms is None


def test_a_gpu_whose_memory_trials_have_gives_no_time(file: Path) -> None:
    class Full(Doubled):
        def forward(self, raw: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("no room")

    found = measure_prediction_time(file, PIXELS, Full(), gpu=CPU)
    assert (found.gpu_ms, found.gpu_runtime) == (None, None)
    assert found.core_ms > 0


def test_the_core_alone_is_timed_while_trials_use_the_gpu(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer_cuda(monkeypatch, ["CUDAExecutionProvider"], fails="asked")
    monkeypatch.setattr(Doubled, "forward", None)  # the module is not asked either
    found = measure_prediction_time(file, PIXELS, Doubled(), gpu=CPU, times_gpu=False)
    assert (found.gpu_ms, found.gpu_runtime) == (None, None)


@pytest.mark.parametrize(
    ("gpu_ms", "has_gpu", "times_gpu", "is_whole"),
    [
        (3.0, True, True, True),
        (None, True, True, False),  # it was full then
        (None, True, False, True),
        (None, False, True, True),
    ],
)
def test_a_stored_figure_without_the_gpu_is_measured_again_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, gpu_ms: float | None, has_gpu: bool, times_gpu: bool, is_whole: bool
) -> None:
    monkeypatch.setattr(graph_cost, "gpu_here", lambda: CPU if has_gpu else None)
    known = PredictionTime(core_ms=1.0, megabytes=1.0, gpu_ms=gpu_ms)
    assert graph_cost._is_whole(known, times_gpu=times_gpu) == is_whole
    assert not graph_cost._is_whole(None, times_gpu=times_gpu)


def test_a_gpu_that_fails_gives_no_time_and_is_said(file: Path) -> None:
    class Busy(Doubled):
        def forward(self, raw: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("CUDA-capable device(s) is/are busy or unavailable")

    with pytest.warns(UserWarning, match="no time on the GPU is measured: CUDA-capable"):
        found = measure_prediction_time(file, PIXELS, Busy(), gpu=CPU)
    assert (found.gpu_ms, found.gpu_name) == (None, None)


def test_onnx_runtime_that_finds_no_memory_on_the_gpu_gives_no_time(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 6291456"
    offer_cuda(monkeypatch, ["CUDAExecutionProvider"], fails=said)
    assert measure_prediction_time(file, PIXELS, Doubled(), gpu=CPU).gpu_ms is None


def test_a_figure_of_an_earlier_version_is_read() -> None:
    found = PredictionTime.model_validate({"core_ms": 3.0, "gpu_ms": 1.5, "megabytes": 2.0})
    assert found.gpu_runtime is None
    assert str(found) == "3.0 ms an image on one core, 1.5 ms on the GPU, 2.0 MB"
