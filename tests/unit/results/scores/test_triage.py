import numpy as np
import pytest

from benchmarks.claims_tests import triage_errors
from benchmarks.simulated_patients import World
from results.errors import ScoreError
from results.scores.calibration import Platt, sigmoid
from results.scores.triage import BENIGN, RECALL, UNSURE, fit_triage, parse_triage, triage_shares
from trainables.common.errors import ConfigError

pytestmark = pytest.mark.slow

AIM = parse_triage("missed=0.1,alarms=0.2")


def _patients(number, random, *, images=3):
    groups = np.repeat(np.arange(number), images)
    labels = (random.random(number) < 0.5).astype(np.int64)[groups]
    common = random.normal(size=number)[groups]
    positive = sigmoid(common + 0.5 * random.normal(size=len(groups)) + 1.6 * labels - 0.8)
    return labels, positive, groups


def test_the_promise_holds_on_average_and_wastes_little():
    random = np.random.default_rng(0)
    missed, alarms = [], []
    for _ in range(300):
        labels, positive, groups = _patients(80, random)
        rule = fit_triage(labels, positive, groups, AIM)
        labels, positive, _ = _patients(300, random)
        outcomes = rule.outcomes(positive)
        missed.append((outcomes[labels == 1] == BENIGN).mean())
        alarms.append((outcomes[labels == 0] == RECALL).mean())
    error = np.std(missed) / np.sqrt(300)
    assert 0.07 < np.mean(missed) <= 0.1 + 2 * error
    assert 0.16 < np.mean(alarms) <= 0.2 + 2 * np.std(alarms) / np.sqrt(300)


def test_out_of_fold_rules_keep_it_too():
    missed, alarms = triage_errors(150, World(0.85), 25, is_exact=False)
    assert 0.02 < missed <= 0.05
    assert 0.15 < alarms <= 0.2
    # Thresholds at the probabilities of single fold models recall 0.21 here, however many the patients.
    missed, alarms = triage_errors(300, World(0.85, prevalence=0.2), 60, is_exact=False)
    assert 0.02 < missed <= 0.05
    assert 0.17 < alarms <= 0.2


def test_thresholds_for_the_mean_of_models_lie_at_the_same_logits_or_further_out():
    random = np.random.default_rng(4)
    labels, positive, groups = _patients(200, random)
    single, mean = Platt(slope=0.8, intercept=0.3), Platt(slope=0.8, intercept=0.3).for_mean_of(4, 0.0)
    aim = parse_triage("missed=0.02,alarms=0.02")
    rule = fit_triage(labels, positive, groups, aim)
    moved = fit_triage(labels, positive, groups, aim, calibrations=(single, mean))
    for name in ("low", "high"):
        logit = np.log(getattr(rule, name) / (1 - getattr(rule, name)))
        there = sigmoid(mean.slope * (logit - single.intercept) / single.slope + mean.intercept)
        outer = min if name == "low" else max
        assert getattr(moved, name) == pytest.approx(outer(getattr(rule, name), there))
    assert moved.low < rule.low < rule.high < moved.high
    assert fit_triage(labels, positive, groups, aim, calibrations=(single, single)) == rule


def test_by_hand():
    labels = np.array([0] * 9 + [1] * 9)
    positive = np.concatenate([np.arange(1, 10) / 20, np.arange(11, 20) / 20])
    rule = fit_triage(labels, positive, np.arange(18), parse_triage("missed=0.2,alarms=0.2"), threshold=0.5)
    # One of nine may be wrong on each side: alarms are few from 0.45 on, and few are missed below 0.6.
    assert rule.low == rule.high == pytest.approx(0.5)
    assert rule.patients == (9, 9)


def test_between_the_thresholds_it_does_not_know():
    random = np.random.default_rng(1)
    labels, positive, groups = _patients(200, random)
    rule = fit_triage(labels, positive, groups, parse_triage("missed=0.02,alarms=0.02"))
    assert rule.low < rule.high
    assert rule.outcomes(np.array([0.0, (rule.low + rule.high) / 2, 1.0])).tolist() == [
        BENIGN,
        UNSURE,
        RECALL,
    ]
    shares = triage_shares(labels, rule.outcomes(positive), groups)
    assert shares.missed.estimate <= 0.02
    assert sum(sum(pair) for pair in shares.counts.values()) == len(labels)
    assert "left open" in shares.text


def test_too_few_patients_for_a_promise_are_said_with_the_number_needed():
    labels, groups = np.array([0] * 30 + [1] * 8), np.arange(38)
    with pytest.raises(
        ScoreError, match=r"missed=0\.02 can be promised from 49 patients with the finding on, found 8"
    ):
        fit_triage(labels, np.linspace(0, 1, 38), groups, parse_triage("missed=0.02,alarms=0.2"))


@pytest.mark.parametrize("text", ["missed=0.02", "missed=0.02,alarms=2", "missed=a,alarms=0.1", ""])
def test_what_cannot_be_promised_is_refused(text):
    with pytest.raises(ConfigError, match="--triage"):
        parse_triage(text)
