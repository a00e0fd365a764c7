"""Columns of tables on what a prediction costs, from what was measured on exported graphs."""

from collections.abc import Iterable
from typing import Final

from results.run.prediction_costs import PredictionCosts
from results.run.records import TrialRecord

COST_COLUMNS: Final = ("ms_per_image", "megabytes")  # shown where they are known
GPU_HEADER: Final = "GPU ms"  # a column that is shown where some row has it


def cost_of_trial(record: TrialRecord, costs: PredictionCosts) -> dict[str, float | str | None]:
    """Return what a prediction costs: as measured for the table, else as the search measured it."""
    found, searched = costs.of((record.number,)), record.values
    if found is None:
        return {name: searched.get(name) for name in COST_COLUMNS}
    return {
        "ms_per_image": found.core_ms,
        "gpu_ms_per_image": found.gpu_ms,
        "gpu_runtime": found.gpu_runtime,
        "megabytes": found.megabytes,
    }


def gpu_cells(milliseconds: float | None, *, has_gpu: bool) -> list[str]:
    """Return a time on the GPU as the cell of a row.

    Args:
        milliseconds: The time; None where it was not measured.
        has_gpu: The table has such a column; one that has none gets no cell.

    >>> gpu_cells(2.54, has_gpu=True), gpu_cells(None, has_gpu=True), gpu_cells(None, has_gpu=False)
    (['2.5'], ['-'], [])
    """
    if not has_gpu:
        return []
    return ["-" if milliseconds is None else f"{milliseconds:.1f}"]


def said_of_costs(gpu_runtimes: Iterable[str | None]) -> str:
    """Say what the columns of costs are.

    Args:
        gpu_runtimes: What computed on the GPU for each row: `onnxruntime`, `torch` or None for no GPU.

    >>> said_of_costs([None, None])
    'ms/image, MB: of the exported graph, on one core of the machine that measured it. '
    >>> said_of_costs(["torch", None]).partition("measured it; ")[2]
    'GPU ms: on its GPU, in PyTorch, since ONNX Runtime could not use it. '
    >>> said_of_costs(["torch", "onnxruntime"]).partition("measured it; ")[2]
    'GPU ms: on its GPU, of some rows in PyTorch and of others in ONNX Runtime. '
    """
    kinds = set(gpu_runtimes) - {None}
    gpu = f"; {GPU_HEADER}: on its GPU" if kinds else ""
    if kinds == {"torch"}:
        gpu += ", in PyTorch, since ONNX Runtime could not use it"
    elif len(kinds) > 1:
        gpu += ", of some rows in PyTorch and of others in ONNX Runtime"
    return f"ms/image, MB: of the exported graph, on one core of the machine that measured it{gpu}. "
