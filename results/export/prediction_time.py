"""Time of one image in an exported file: what a user of the file waits for, one image at a time."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from results.run.prediction_costs import PredictionTime
from trainables.common.onnx_runtime import onnxruntime

_FEWEST_RUNS, _MOST_RUNS, _ENOUGH_SECONDS = 3, 200, 1.0
_CUDA: Final = "CUDAExecutionProvider"


def measure_prediction_time(file: Path, inputs: Mapping[str, np.ndarray[Any, Any]]) -> PredictionTime:
    """Time one image on one CPU core, and on the GPU where ONNX Runtime has one.

    The clock of the core counts the processor's time of this thread, on which ONNX Runtime works then, so
    that other work on the machine disturbs little; of a few runs the fastest is taken.

    Args:
        file: The ONNX file.
        inputs: Name of each input -> array whose first axis holds images; the first image is timed.
    """
    one = {name: array[:1] for name, array in inputs.items()}
    on_core = _fastest(_session(file, "CPUExecutionProvider"), one, time.thread_time)
    has_gpu = _CUDA in onnxruntime.get_available_providers()
    on_gpu = _fastest(_session(file, _CUDA), one, time.perf_counter) if has_gpu else None
    return PredictionTime(
        core_ms=1000 * on_core,
        gpu_ms=None if on_gpu is None else 1000 * on_gpu,
        megabytes=file.stat().st_size / 1e6,
    )


def _session(file: Path, provider: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=[provider])


def _fastest(session: Any, one: Mapping[str, Any], clock: Any) -> float:
    session.run(None, dict(one))  # plans its memory
    runs, began = list[float](), time.monotonic()
    while len(runs) < _FEWEST_RUNS or (len(runs) < _MOST_RUNS and time.monotonic() - began < _ENOUGH_SECONDS):
        start = clock()
        session.run(None, dict(one))
        runs.append(clock() - start)
    return max(min(runs), 1e-9)  # a clock may be too coarse to see the run at all
