"""A search may end when half as many trials again would gain less than its folds can tell."""

import itertools
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from list_study import complete

from orchestrator.study.terminator import (
    FEWEST_TRIALS,
    Terminator,
    expected_gain,
    fold_noise,
    reason_against,
)
from results.run.records import SearchRecord, TrialRecord
from results.scores.ranking import Objectives, parse_requirement

MakeSearch = Callable[..., SearchRecord]
AUC = Objectives(("auc",))


def trial(number: int, value: float, folds: Sequence[float]) -> TrialRecord:
    end = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    metrics = tuple({"auc": own} for own in folds)
    return complete(number, value).model_copy(update={"fold_metrics": metrics, "finished_at": end})


def trials(values: Sequence[float], spread: float) -> list[TrialRecord]:
    shape = np.array([-1.0, 1.0, -1.0, 1.0])
    return [trial(number, value, value + spread * shape) for number, value in enumerate(values)]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=7))
def test_the_gain_is_that_over_all_subsets_or_that_of_the_last_quarter(values: list[float]) -> None:
    count = len(values)
    subsets = itertools.combinations(values, count - count // 2)
    over_all_orders = max(values) - float(np.mean([max(own) for own in subsets]))
    recent = max(values) - max(values[: -max(1, count // 4)])
    assert expected_gain(values) == pytest.approx(max(over_all_orders, recent))


def test_the_gain_of_trials_in_any_order_is_no_less_than_what_the_next_ones_bring() -> None:
    random = np.random.default_rng(0)
    drawn = random.normal(size=(2000, 60))
    said = np.mean([expected_gain(own[:40].tolist()) for own in drawn])
    assert said >= np.mean(drawn.max(axis=1) - drawn[:, :40].max(axis=1))


def test_the_noise_is_the_corrected_error_of_a_mean_over_folds() -> None:
    assert fold_noise(np.array([0.7, 0.8, 0.9, 0.8])) == pytest.approx(np.sqrt((1 / 4 + 1 / 3) * 0.02 / 3))


def test_trials_that_miss_what_is_required_are_no_reason_to_end() -> None:
    objectives = Objectives(("auc",), (parse_requirement("recall>=0.9"),))
    flat = [one.model_copy(update={"values": {"recall": 0.5}}) for one in trials([0.95] * 60, 0.1)]
    kept = [one.model_copy(update={"values": {"recall": 0.95}}) for one in trials([0.7] * FEWEST_TRIALS, 0.1)]
    assert Terminator(objectives, flat).verdict() is None
    assert Terminator(objectives, [*flat, *kept[:-1]]).verdict() is None
    found = Terminator(objectives, [*flat, *kept]).verdict()
    assert found is not None
    assert found.trials == FEWEST_TRIALS


def test_a_search_that_still_gains_more_than_its_noise_goes_on() -> None:
    rising = np.linspace(0.5, 0.9, 40).tolist()
    assert Terminator(AUC, trials(rising, 0.01)).verdict() is None
    found = Terminator(AUC, trials([*rising, *[0.6] * 120], 0.1)).verdict()
    assert found is not None
    assert found.trials == 160
    assert found.gain < found.noise


def test_few_trials_are_no_ground_for_an_end_whatever_they_say() -> None:
    flat = trials([0.8] * FEWEST_TRIALS, 0.1)
    assert Terminator(AUC, flat[:-1]).verdict() is None
    assert Terminator(AUC, flat).verdict() is not None


def test_nothing_is_decided_before_the_first_points_have_ended() -> None:
    flat = Terminator(AUC, trials([0.8] * FEWEST_TRIALS, 0.1))
    assert flat.verdict(["", "portfolio"]) is None
    assert flat.verdict(["", "experience"]) == flat.verdict() is not None
    assert flat.verdict(["", ""]) == flat.verdict() is not None


def test_trials_of_one_fold_or_without_values_are_no_ground_for_an_end() -> None:
    lone = [trial(number, 0.8, [0.8]) for number in range(40)]
    stopped = [own.model_copy(update={"state": "pruned"}) for own in trials([0.8] * 40, 0.1)]
    assert Terminator(AUC, lone).verdict() is None
    assert Terminator(AUC, stopped).verdict() is None


def test_a_resumed_search_decides_as_one_that_never_stopped() -> None:
    random = np.random.default_rng(1)
    records = trials(random.uniform(0.5, 0.9, 60).tolist(), 0.02)
    whole = Terminator(AUC, [])
    for record in records:
        whole.add(record)
    resumed = Terminator(AUC, list(reversed(records[:30])))
    for record in records[30:]:
        resumed.add(record)
    assert whole.verdict() == resumed.verdict()


def test_what_has_no_noise_of_folds_or_several_metrics_says_why_it_is_not_ended(
    make_search: MakeSearch,
) -> None:
    assert reason_against(make_search(folds=4)) == ""
    assert "hold-out" in reason_against(make_search(folds=1, holdout=0.3))
    assert "2 metrics" in reason_against(make_search(folds=4, metrics=("auc", "f1")))


def test_a_verdict_on_a_thousand_trials_takes_milliseconds() -> None:
    terminator = Terminator(AUC, trials(np.linspace(0.5, 0.9, 1000).tolist(), 0.01))
    began = time.perf_counter()
    terminator.verdict()
    assert time.perf_counter() - began < 0.05
