"""Metrics of a model that stays as it is, with their intervals: on a sealed part as on other data."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from results.scores.decision_intervals import decision_intervals
from results.scores.decisions import decisions
from results.scores.interval import Interval
from results.scores.metric import Metric
from results.scores.metric_interval import fixed_model_interval
from results.scores.metrics import STANDARD
from trainables.common.types import FloatArray, IntArray


def fixed_model_metrics(
    labels: IntArray,
    probabilities: FloatArray,
    of_data: FloatArray,
    groups: NDArray[np.str_],
    *,
    threshold_of: Callable[[str], float],
    also: Iterable[Metric] = (),
    seed: int,
) -> dict[str, Interval]:
    """Return every metric of `STANDARD` with its interval over patients.

    Args:
        labels: Class indices, shape (images,); at least two classes.
        probabilities: Calibrated probabilities that decisions are taken on, shape (images, classes).
        of_data: The same at the prevalence of the data, which metrics of probabilities judge.
        groups: Patient of each image, shape (images,).
        threshold_of: Name of a metric -> the threshold of the decisions that it judges; beyond two classes it
            is not used.
        also: Further metrics, which come first; those of cost are left out.
        seed: Random seed of the intervals.
    """
    wanted = {one.name: one for one in (*also, *STANDARD.values()) if not one.is_cost}
    by_threshold = dict[float, list[Metric]]()
    for name, metric in wanted.items():
        if metric.judges_decisions:
            by_threshold.setdefault(threshold_of(name), []).append(metric)
    of_decisions = dict[str, Interval]()
    for threshold, judged in by_threshold.items():
        of_decisions |= decision_intervals(
            labels,
            decisions(probabilities, threshold),
            groups,
            classes=probabilities.shape[1],
            seed=seed,
            metrics=judged,
        )
    return {
        name: of_decisions[name]
        if metric.judges_decisions
        else fixed_model_interval(metric, labels, of_data, groups)
        for name, metric in wanted.items()
    }
