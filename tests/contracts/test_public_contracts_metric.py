"""Every metric of the package, and one of a user, passes the public tests of metrics."""

from typing import Any

import numpy as np
import pytest

from orchestrator.testing.metric import MetricContract
from results.scores.metric import Metric
from results.scores.metrics import METRICS, metric_named
from trainables.common.registered import registered


def contract_of(metric: Metric) -> type[MetricContract]:
    """The test class of one metric, as an extender writes it."""
    name = f"Test_{metric.name.replace('@', '_at_').replace('.', '_')}"
    return type(name, (MetricContract,), {"metric": metric})


def misses(matrices: Any) -> Any:
    """Share of the positives that were missed."""
    return matrices[..., -1, :-1].sum(axis=-1) / np.maximum(matrices[..., -1, :].sum(axis=-1), 1)


OWN = Metric(
    name="misses_of_a_test",
    kind="decisions",
    function=misses,
    header="Miss",
    higher_is_better=False,
)
AT_A_NUMBER = metric_named("partial_auc@0.7")

globals().update({test.__name__: test for test in map(contract_of, (*METRICS.values(), OWN, AT_A_NUMBER))})


def test_all_metrics_are_among_them() -> None:
    assert sum(name.startswith("Test_") for name in globals()) == len(METRICS) + 2 >= 19


def test_a_metric_that_gives_no_number_fails() -> None:
    broken = Metric(
        name="broken_of_a_test",
        kind="decisions",
        function=lambda matrices: matrices[..., 1, 1] / matrices[..., 1, :].sum(axis=-1) * np.nan,
        header="NaN",
    )
    contract = contract_of(broken)()
    with pytest.raises(AssertionError):
        contract.test_values_lie_in_its_range_and_are_numbers()
    contract.teardown_method()


def test_a_metric_in_the_wrong_direction_fails() -> None:
    turned = Metric(
        name="turned_of_a_test",
        kind="probabilities",
        function=METRICS["log_loss"].function,
        header="Turned",
        high=float("inf"),
    )
    contract = contract_of(turned)()
    with pytest.raises(AssertionError):
        contract.test_better_predictions_are_better()
    contract.teardown_method()
    assert not registered("metric")
