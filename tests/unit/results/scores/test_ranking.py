"""What a search optimises and requires orders its trials."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from results.run.records import TrialRecord
from results.scores.ranking import Objectives, _layers, front_of, parse_requirement
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.common.types import FloatArray


def record(number: int, value: float | None, **values: float) -> TrialRecord:
    return TrialRecord(
        number=number,
        state="complete",
        config={},
        value=value,
        values=values,
        fingerprint="f",
        seed=0,
        finished_at=datetime.now(UTC),
    )


def numbers(records: list[TrialRecord]) -> list[int]:
    return [one.number for one in records]


def front(objectives: Objectives, records: list[TrialRecord]) -> list[int]:
    inside = objectives.is_on_front([objectives.values_of(one) for one in records])
    return [one.number for one, is_in in zip(records, inside, strict=True) if is_in]


def test_a_metric_that_is_minimised_ranks_the_lowest_first() -> None:
    records = [record(0, 0.7), record(1, 0.4), record(2, None), record(3, 0.4)]
    assert numbers(Objectives(("log_loss",)).rank(records)) == [1, 3, 0, 2]
    assert numbers(Objectives(("auc",)).rank(records)) == [0, 1, 3, 2]


def test_with_two_metrics_the_front_comes_first_and_the_first_metric_orders_it() -> None:
    objectives = Objectives(("auc", "log_loss"))
    records = [
        record(0, 0.70, log_loss=0.5),
        record(1, 0.90, log_loss=0.6),
        record(2, 0.80, log_loss=0.4),
        record(3, 0.85, log_loss=0.7),  # trial 1 beats it in both
    ]
    assert front(objectives, records) == [1, 2]
    assert numbers(objectives.rank(records)) == [1, 2, 3, 0]


def test_equal_trials_are_all_on_the_front() -> None:
    records = [record(0, 0.8, log_loss=0.5), record(1, 0.8, log_loss=0.5)]
    assert front(Objectives(("auc", "log_loss")), records) == [0, 1]


@pytest.mark.parametrize("metrics", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_fronts_are_those_of_all_pairs(metrics: int, seed: int) -> None:
    merits = np.random.default_rng(seed).integers(0, 7, (120, metrics)).astype(float)
    merits[::17] = -np.inf  # lacks all metrics

    def of_pairs(rows: FloatArray) -> list[bool]:
        as_good = (rows[None] >= rows[:, None]).all(axis=2)
        better = (rows[None] > rows[:, None]).any(axis=2)
        return [not beaten for beaten in np.any(as_good & better, axis=1).tolist()]

    assert front_of(merits) == of_pairs(merits)
    left, layer, wanted = np.arange(120), 0, [0] * 120
    while len(left):
        inside = np.array(of_pairs(merits[left]))
        for place in left[inside].tolist():
            wanted[place] = layer
        left, layer = left[~inside], layer + 1
    assert _layers([tuple(row) for row in merits.tolist()], [0.0] * 120) == wanted
    assert layer > 5


def test_no_trial_has_no_front() -> None:
    assert front_of(np.empty((0, 2))) == []


def test_a_trial_that_misses_a_requirement_ranks_behind_all_that_keep_it() -> None:
    objectives = Objectives(("auc",), (parse_requirement("recall >= 0.9"),))
    records = [
        record(0, 0.95, recall=0.5),
        record(1, 0.6, recall=0.9),
        record(2, 0.9, recall=0.8),
        record(3, 0.99),
    ]
    assert numbers(objectives.rank(records)) == [1, 2, 0, 3]
    assert front(objectives, records) == [1]
    assert objectives.violation(records[3]) == math.inf


def test_a_requirement_may_be_of_the_searched_metric_itself() -> None:
    objectives = Objectives(("log_loss",), (parse_requirement("log_loss<=0.5"),))
    assert [objectives.violation(one) for one in (record(0, 0.4), record(1, 0.6))] == [
        0.0,
        pytest.approx(0.1),
    ]


@pytest.mark.parametrize("text", ["recall", "recall>0.9", "recall>=much", "recall>=nan", ">=0.5", ""])
def test_what_is_not_a_requirement_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--require needs a metric, >= or <=, and a number"):
        parse_requirement(text)


def test_a_requirement_of_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="recall"):
        parse_requirement("recal>=0.9")
