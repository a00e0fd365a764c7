"""Time of one image in an exported file: what a user of the file waits for, one image at a time."""

import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from results.export.torch_session import TorchSession
from results.run.prediction_costs import GpuRuntime, PredictionTime
from trainables.common.onnx_runtime import onnxruntime
from trainables.common.remarks import remark_once
from trainables.common.text import first_line
from trainables.runtime.memory import is_out_of_memory

_FEWEST_RUNS, _MOST_RUNS, _ENOUGH_SECONDS = 3, 200, 1.0
_CUDA: Final = "CUDAExecutionProvider"


def gpu_here() -> torch.device | None:
    """Return the GPU of this process if torch can use one, else None."""
    return torch.device("cuda") if torch.cuda.is_available() else None


def gpu_name() -> str | None:
    """Return the name of the GPU of this process; None without one."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def measure_prediction_time(
    file: Path,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    twin: nn.Module | None = None,
    *,
    gpu: torch.device | None = None,
    times_gpu: bool = True,
) -> PredictionTime:
    """Time one image on one CPU core, and on a GPU where there is one.

    The clock of the core counts the processor's time of this thread, on which ONNX Runtime works then, so
    that other work on the machine disturbs little; of a few runs the fastest is taken. On a GPU the wall
    clock counts, from pixels in memory to probabilities in memory.

    Args:
        file: The ONNX file.
        inputs: Name of each input -> array whose first axis holds images; the first image is timed.
        twin: Module that the file was exported from, which is left as it is: it is timed on a GPU that ONNX
            Runtime cannot use. None to leave such a GPU out.
        gpu: The GPU; None for that of this process.
        times_gpu: False times the core alone.
    """
    one = {name: array[:1] for name, array in inputs.items()}
    on_core = _fastest(_session(file, "CPUExecutionProvider"), one, time.thread_time)
    on_gpu, runtime = None, None
    if times_gpu:
        on_gpu, runtime = _on_gpu(file, one, twin, gpu_here() if gpu is None else gpu)
    return PredictionTime(
        core_ms=1000 * on_core,
        gpu_ms=None if on_gpu is None else 1000 * on_gpu,
        gpu_runtime=runtime,
        gpu_name=None if on_gpu is None else gpu_name(),
        megabytes=file.stat().st_size / 1e6,
    )


def _on_gpu(
    file: Path, one: Mapping[str, Any], twin: nn.Module | None, gpu: torch.device | None
) -> tuple[float, GpuRuntime] | tuple[None, None]:
    """Seconds on the GPU, and what computed; ONNX Runtime comes first, since a user of the file has it."""
    try:
        if _CUDA in onnxruntime.get_available_providers():
            session = _session(file, _CUDA)
            if _CUDA in session.get_providers():  # else it fell back to the CPU: no card, or no libraries
                return _fastest(session, one, time.perf_counter), "onnxruntime"
        if gpu is None or twin is None:
            return None, None
        session = TorchSession(copy.deepcopy(twin), gpu)
        return _fastest(session, one, time.perf_counter), "torch"
    except Exception as error:  # trials may have the card: a figure of a table is no reason to fail
        if not is_out_of_memory(error):
            remark_once(f"no time on the GPU is measured: {first_line(error)}")
        return None, None


def _session(file: Path, provider: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=[provider])


def _fastest(session: Any, one: Mapping[str, Any], clock: Callable[[], float]) -> float:
    session.run(None, dict(one))  # plans its memory
    runs, began = list[float](), time.monotonic()
    while len(runs) < _FEWEST_RUNS or (len(runs) < _MOST_RUNS and time.monotonic() - began < _ENOUGH_SECONDS):
        start = clock()
        session.run(None, dict(one))
        runs.append(clock() - start)
    return max(min(runs), 1e-9)  # a clock may be too coarse to see the run at all
