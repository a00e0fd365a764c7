"""Columns of tables on what a prediction costs, from what was measured on exported graphs."""

from collections.abc import Sequence
from typing import Final

from results.run.prediction_costs import PredictionCosts
from results.run.records import TrialRecord

COST_COLUMNS: Final = ("ms_per_image", "megabytes")  # shown where they are known


def cost_of_trial(record: TrialRecord, costs: PredictionCosts) -> dict[str, float | None]:
    """Return what a prediction costs: as measured for the table, else as the search measured it."""
    found, searched = costs.of((record.number,)), record.values
    if found is None:
        return {name: searched.get(name) for name in COST_COLUMNS}
    return {
        "ms_per_image": found.core_ms,
        "gpu_ms_per_image": found.gpu_ms,
        "megabytes": found.megabytes,
    }


def said_of_costs(on_gpu: Sequence[float | None]) -> str:
    """Say what the columns of costs are, and the range of the times on a GPU where there are some.

    >>> said_of_costs([None, 1.3, 2.5]).partition("measured it, ")[2]
    '1.3 to 2.5 ms on the GPU. '
    """
    times = [one for one in on_gpu if one is not None]
    gpu = f", {min(times):.1f} to {max(times):.1f} ms on the GPU" if times else ""
    return f"ms/image, MB: of the exported graph, on one core of the machine that measured it{gpu}. "
