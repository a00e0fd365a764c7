"""What is claimed of a model, beside other people's libraries: asked now, or before (`reference_figures`)."""

import json

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from mapie.calibration import VennAbers
from mapie.risk_control import MultiLabelClassificationController
from reference_figures import FILE, P_VALUES, PREVALENCE, SHARES, THRESHOLDS, drawn
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    recall_score,
    roc_auc_score,
)

from results.scores.calibration_methods import METHODS
from results.scores.calibration_quality import calibration_quality, reliability_bins
from results.scores.decision_curve import decision_curve
from results.scores.decision_intervals import wilson_interval
from results.scores.interval import QUANTILE
from results.scores.judged_images import JudgedImages
from results.scores.multiple_tests import holm
from results.scores.strata import score_strata
from results.scores.triage import fit_triage, parse_triage

pytestmark = pytest.mark.slow

FIGURES = json.loads(FILE.read_text())
LABELS, POSITIVE, GROUPS = (np.array(FIGURES[name]) for name in ("labels", "positive", "groups"))
BOTH = np.stack([1 - POSITIVE, POSITIVE], axis=1)


def test_the_figures_are_of_the_data_that_the_helper_draws() -> None:
    labels, positive, groups = drawn()
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_allclose(positive, POSITIVE)
    np.testing.assert_array_equal(groups, GROUPS)


@pytest.mark.parametrize(("name", "prevalence"), [("of the data", None), ("given", PREVALENCE)])
def test_net_benefit_is_that_of_dcurves(name: str, prevalence: float | None) -> None:
    """dcurves leaves probabilities as they are at another prevalence; ours move, so they go back first."""
    probabilities = BOTH
    if prevalence is not None:
        share = LABELS.mean()
        odds = POSITIVE / (1 - POSITIVE) * (share / (1 - share)) / (prevalence / (1 - prevalence))
        probabilities = np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)
    curve = decision_curve(LABELS, probabilities, GROUPS, thresholds=THRESHOLDS, prevalence=prevalence)
    theirs = FIGURES["dcurves"][name]
    assert [point.benefit.estimate for point in curve.points] == pytest.approx(theirs["benefit"], abs=1e-9)
    assert [point.of_all for point in curve.points] == pytest.approx(theirs["of_all"], abs=1e-9)
    avoided = [point.avoided.estimate / 100 for point in curve.points]
    assert avoided == pytest.approx(theirs["avoided"], abs=1e-9)


@pytest.mark.parametrize(("method", "tolerance"), [("temperature", 0.003), ("beta", 0.02), ("platt", 0.02)])
def test_calibrated_probabilities_are_those_of_netcal(method: str, tolerance: float) -> None:
    """Platt's has a prior, which 400 images outweigh; netcal's beta lets a slope be negative."""
    own = METHODS[method](LABELS, BOTH)(BOTH)
    assert np.abs(own - FIGURES["netcal"]["calibrated"][method]).max() < tolerance


def test_the_bins_of_the_reliability_curve_give_the_calibration_error_of_netcal_and_scikit_learn() -> None:
    bins = reliability_bins(LABELS, POSITIVE, GROUPS)
    error = sum(one.images * abs(one.observed.estimate - one.expected) for one in bins) / len(LABELS)
    assert error == pytest.approx(FIGURES["netcal"]["calibration error"], abs=0.003)
    observed, expected = calibration_curve(LABELS, POSITIVE, n_bins=10, strategy="quantile")
    np.testing.assert_allclose([one.expected for one in bins], expected, atol=0.01)
    np.testing.assert_allclose([one.observed.estimate for one in bins], observed, atol=0.03)


@pytest.mark.parametrize("figure", ["slope", "intercept"])
def test_slope_and_intercept_have_the_clustered_errors_of_statsmodels(figure: str) -> None:
    found = getattr(calibration_quality(LABELS, BOTH, GROUPS, seed=0), figure)
    value, error = FIGURES["statsmodels"][figure]
    patients = len(np.unique(GROUPS))
    assert found.estimate == pytest.approx(value, rel=1e-6)
    own = (found.high - found.low) / 2 / QUANTILE
    assert own == pytest.approx(error * np.sqrt(patients / (patients - 1)), rel=1e-5)


def test_corrections_and_shares_are_those_of_statsmodels() -> None:
    assert holm(P_VALUES) == pytest.approx(FIGURES["statsmodels"]["holm"])
    for (found, number), (low, high) in zip(SHARES, FIGURES["statsmodels"]["wilson"], strict=True):
        own = wilson_interval(found / number, number)
        assert (own.low, own.high) == pytest.approx((low, high), abs=1e-6)


def test_venn_abers_is_that_of_mapie() -> None:
    seen, new = np.arange(400) < 300, np.arange(400) >= 300
    theirs = VennAbers()
    with np.errstate(invalid="ignore"):  # it divides 0 by 0, and drops the result
        theirs.fit(BOTH[seen], LABELS[seen])
        expected = theirs.predict_proba(BOTH[new])[0][:, 1]
    own = METHODS["venn_abers"](LABELS[seen], BOTH[seen])(BOTH[new])
    np.testing.assert_allclose(own, expected, atol=1e-6)


@pytest.mark.parametrize("missed", [0.05, 0.1, 0.2])
def test_the_lower_threshold_of_triage_is_that_of_conformal_risk_control_in_mapie(missed: float) -> None:
    """One image a patient, and thresholds in steps of a thousandth, as MAPIE searches them."""
    first = np.unique(GROUPS, return_index=True)[1]
    labels, positive = LABELS[first], POSITIVE[first]
    steps = np.arange(0, 1, 0.001)
    own = fit_triage(labels, positive, GROUPS[first], parse_triage(f"missed={missed:g},alarms=0.2"))
    has = positive[labels == 1]
    two_labels = np.stack([has, np.zeros_like(has)], axis=1)  # MAPIE wants several; the second is never true
    theirs = MultiLabelClassificationController(
        lambda given: given, risk="recall", method="crc", target_level=1 - missed, predict_params=steps
    )
    theirs.calibrate(two_labels, np.stack([np.ones(len(has)), np.zeros(len(has))], axis=1).astype(int))
    (threshold,) = np.ravel(theirs.best_predict_param)
    missed_by_ours, missed_by_theirs = (has < own.low).sum(), (has <= threshold).sum()
    assert missed_by_ours == missed_by_theirs
    assert own.low == pytest.approx(threshold, abs=0.02)


def test_strata_and_their_differences_are_those_of_fairlearn_and_scikit_learn() -> None:
    vendor = np.array(["GE", "Hologic", "Siemens"])[GROUPS % 3]
    decided = (POSITIVE >= 0.5).astype(np.int64)
    judged = JudgedImages(LABELS, BOTH, BOTH, decided, np.zeros_like(LABELS), GROUPS.astype(str))
    scores = score_strata(judged, {"vendor": vendor}, ("benign", "malignant"), seed=0)
    by_decision = {
        "recall": recall_score,
        "specificity": lambda labels, called: recall_score(labels, called, pos_label=0),
        "f1": f1_score,
        "balanced_accuracy": balanced_accuracy_score,
    }
    by_probability = {
        "auc": roc_auc_score,
        "brier": brier_score_loss,
        "log_loss": log_loss,
        "average_precision": average_precision_score,
    }
    for metrics, said in ((by_decision, decided), (by_probability, POSITIVE)):
        frame = MetricFrame(metrics=metrics, y_true=LABELS, y_pred=said, sensitive_features=vendor)
        for one in scores.strata:
            for name in metrics.keys() & one.metrics.keys():
                assert one.metrics[name].estimate == pytest.approx(frame.by_group[name][one.value]), name
            assert metrics.keys() & one.metrics.keys()
    for one in scores.strata:
        rest = MetricFrame(
            metrics=by_decision["specificity"],
            y_true=LABELS,
            y_pred=decided,
            sensitive_features=vendor == one.value,
        ).by_group
        (own,) = (found for found in one.differences if found.metric == "specificity")
        assert own.value == pytest.approx(rest[True] - rest[False])
