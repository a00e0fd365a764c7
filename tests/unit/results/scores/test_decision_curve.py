import io

import numpy as np
import pytest
from rich.console import Console

from results.scores.calibration import sigmoid
from results.scores.decision_curve import DecisionCurve, decision_curve
from results.scores.decision_curve_table import decision_curve_as_csv, decision_curve_table
from results.scores.interval import Interval
from trainables.common.errors import ConfigError, OneClassError


def _drawn(images=600, seed=0, shift=-1.0):
    random = np.random.default_rng(seed)
    logits = 1.5 * random.normal(size=images) + shift
    labels = (random.random(images) < sigmoid(logits)).astype(np.int64)
    positive = sigmoid(logits)
    return labels, np.stack([1 - positive, positive], axis=1), np.arange(images)


def test_net_benefit_is_that_of_the_paper():
    labels, probabilities, groups = _drawn()
    for point in decision_curve(labels, probabilities, groups).points:
        odds = point.threshold / (1 - point.threshold)
        acts = probabilities[:, 1] >= point.threshold
        found, alarms = (acts & (labels == 1)).sum(), (acts & (labels == 0)).sum()
        assert point.benefit.estimate == pytest.approx((found - alarms * odds) / 600)
        assert point.of_all == pytest.approx(labels.mean() - (1 - labels.mean()) * odds)
        assert point.avoided.estimate == pytest.approx(100 * (point.benefit.estimate - point.of_all) / odds)
        assert point.recalled == pytest.approx(acts.mean())
        if found:
            assert point.needed == pytest.approx(acts.sum() / found)


def test_at_the_prevalence_of_the_data_nothing_changes_and_elsewhere_bayes_rule_holds():
    labels, probabilities, groups = _drawn()
    same = decision_curve(labels, probabilities, groups, prevalence=float(labels.mean()))
    for one, other in zip(same.points, decision_curve(labels, probabilities, groups).points, strict=True):
        assert one.benefit.estimate == pytest.approx(other.benefit.estimate)
    rare = decision_curve(labels, probabilities, groups, prevalence=0.01, thresholds=[0.02]).points[0]
    share = labels.mean()
    odds = probabilities[:, 1] / probabilities[:, 0] * (0.01 / 0.99) / (share / (1 - share))
    acts = odds >= 0.02 / 0.98
    assert rare.recalled == pytest.approx(0.01 * acts[labels == 1].mean() + 0.99 * acts[labels == 0].mean())


def test_a_calibrated_model_is_useful_and_a_constant_one_never():
    labels, probabilities, groups = _drawn(2000)
    assert decision_curve(labels, probabilities, groups).useful
    constant = np.tile([1 - labels.mean(), labels.mean()], (2000, 1))
    useless = decision_curve(labels, constant, groups)
    assert useless.useful == ()
    assert "at no threshold" in str(decision_curve_table(useless).caption)


def test_the_interval_covers_the_benefit_on_many_patients():
    truth = decision_curve(*_drawn(200_000, seed=9), thresholds=[0.2]).points[0].benefit.estimate
    covered = [
        decision_curve(*_drawn(200, seed=seed), thresholds=[0.2]).points[0].benefit.holds(truth)
        for seed in range(200)
    ]
    assert 0.88 <= np.mean(covered) <= 0.99


def _acted_on(images, right, *, at=0.95):
    """200 images, of which the first are acted on from 0.9 on and so many of these are positive."""
    labels = (np.arange(200) % 5 == 0).astype(np.int64)
    labels[:images] = np.arange(images) < right
    positive = np.where(np.arange(200) < images, at, 0.05)
    return labels, np.stack([1 - positive, positive], axis=1), np.arange(200)


def test_a_few_images_acted_on_that_are_all_right_show_no_worth():
    for images in (5, 10):
        point = decision_curve(*_acted_on(images, images), thresholds=[0.9]).points[0]
        assert point.gain.estimate == pytest.approx(images / 200)
        assert not point.is_useful
    many = decision_curve(*_acted_on(60, 60), thresholds=[0.9]).points[0]
    assert many.is_useful


def test_a_few_images_spared_that_are_all_right_show_no_worth():
    labels, probabilities, groups = _acted_on(10, 0, at=0.01)
    point = decision_curve(labels, probabilities, groups, thresholds=[0.02]).points[0]
    assert point.gain.estimate > 0
    assert point.avoided.estimate == pytest.approx(5.0)
    assert not point.is_useful
    assert point.avoided.low < 0


def test_a_model_that_acts_on_none_may_act_on_some_of_other_images():
    for prevalence in (None, 0.01):
        curve = decision_curve(*_acted_on(0, 0), thresholds=[0.9], prevalence=prevalence)
        benefit = curve.points[0].benefit
        assert benefit.low < benefit.estimate == 0.0 < benefit.high
        assert curve.useful == ()


def test_a_benefit_of_0_is_rarely_called_useful_where_few_are_acted_on():
    random = np.random.default_rng(0)
    found = [
        decision_curve(*_acted_on(5, random.binomial(5, 0.9)), thresholds=[0.9]).points[0] for _ in range(60)
    ]
    assert np.mean([one.benefit.holds(0.0) for one in found]) >= 0.9
    assert np.mean([one.is_useful for one in found]) <= 0.05


def test_thresholds_between_two_useful_runs_are_not_called_useful():
    point = decision_curve(*_acted_on(60, 60), thresholds=[0.9]).points[0]
    gain = {True: Interval(0.1, 0.05, 0.2), False: Interval(0.1, -0.05, 0.2)}
    points = [
        point.model_copy(update={"threshold": number / 10, "gain": gain[number in (2, 3, 5, 7, 8)]})
        for number in range(1, 10)
    ]
    curve = DecisionCurve(model="model", prevalence=0.3, points=tuple(points))
    assert curve.useful == ((0.2, 0.3), (0.5, 0.5), (0.7, 0.8))
    words = " ".join(str(decision_curve_table(curve).caption).split())
    assert "on none, from 0.20 to 0.30, at 0.50 and from 0.70 to 0.80; each threshold" in words


def test_the_table_fits_80_columns():
    curve = decision_curve(*_drawn(), model="ensemble stack_logistic")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(decision_curve_table(curve))
    assert all(len(line) <= 80 for line in console.export_text().splitlines())
    assert len(decision_curve_as_csv(curve).splitlines()) == 14


def test_what_has_no_curve_is_refused():
    labels, probabilities, groups = _drawn()
    with pytest.raises(OneClassError, match="a decision curve needs two classes"):
        decision_curve(np.zeros_like(labels), probabilities, groups)
    with pytest.raises(ConfigError, match="between 0 and 1, found 1"):
        decision_curve(labels, probabilities, groups, thresholds=[0.5, 1.0])
