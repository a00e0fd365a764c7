import io

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import norm
from sklearn.isotonic import IsotonicRegression

from results.errors import ScoreError
from results.run.records import OutOfFold
from results.scores.calibration import Platt, log_odds, sigmoid
from results.scores.calibration_methods import METHODS, compare_calibrations
from results.scores.calibration_table import calibration_table, calibrations_as_csv
from results.scores.calibration_update import composed, fit_update
from results.scores.interval import Interval
from results.scores.multiple_tests import holm

pytestmark = pytest.mark.slow


def _drawn(images=900, *, bend=lambda logits: logits, seed=0):
    """Labels of right probabilities, and what a model says in their place."""
    random = np.random.default_rng(seed)
    logits = 1.5 * random.normal(size=images)
    labels = (random.random(images) < sigmoid(logits)).astype(np.int64)
    said = sigmoid(bend(logits))
    return labels, np.stack([1 - said, said], axis=1)


def _out_of_fold(**options):
    labels, probabilities = _drawn(**options)
    rows = np.arange(len(labels))
    return OutOfFold(rows, labels, rows % 4, rows.astype(str), probabilities)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_ordered_probabilities_close_to_the_right_ones(method):
    labels, probabilities = _drawn(3000, bend=lambda logits: 2.5 * logits)
    found = METHODS[method](labels, probabilities)(probabilities)
    right = sigmoid(log_odds(probabilities) / 2.5)
    assert ((found >= 0) & (found <= 1)).all()
    order = np.argsort(probabilities[:, 1], kind="stable")
    assert (np.diff(found[order]) >= -1e-9).all()
    assert np.abs(found - right).mean() < 0.04


def test_isotonic_is_that_of_scikit_learn_within_the_bounds():
    labels, probabilities = _drawn(300)
    own = METHODS["isotonic"](labels, probabilities)(probabilities)
    expected = IsotonicRegression().fit_transform(log_odds(probabilities), labels)
    np.testing.assert_allclose(own, np.clip(expected, 1 / 302, 301 / 302), atol=1e-9)


def test_venn_abers_is_the_mean_of_two_isotonic_fits():
    labels, probabilities = _drawn(60)
    new = np.array([[0.35, 0.65]])
    fits = []
    for label in (0, 1):
        scores = np.append(log_odds(probabilities), log_odds(new))
        fits.append(IsotonicRegression().fit_transform(scores, np.append(labels, label))[-1])
    zero, one = fits
    found = METHODS["venn_abers"](labels, probabilities)(new)
    assert found[0] == pytest.approx(one / (1 - zero + one))


def test_beta_finds_a_bend_that_platt_cannot():
    def bent(logits):
        return np.where(logits > 0, 3.0 * logits, 0.6 * logits)

    found = compare_calibrations(_out_of_fold(images=4000, bend=bent), seed=0)
    assert "beta" in found.better
    platt = next(one for one in found.methods if one.is_shipped)
    assert platt.difference is None


def test_the_claim_that_a_method_is_better_is_corrected_for_their_number():
    found = compare_calibrations(_out_of_fold(images=300, bend=lambda logits: 1.3 * logits), seed=0)
    told = {one.method: one for one in found.methods if one.difference is not None}
    errors = {name: (one.difference.high - one.difference.low) / 3.92 for name, one in told.items()}
    single = {name: 2 * norm.sf(abs(one.difference.estimate) / errors[name]) for name, one in told.items()}
    expected = holm(list(single.values()))
    for own, wanted in zip(told.values(), expected, strict=True):
        assert own.adjusted == pytest.approx(wanted, rel=0.01)
    (nearly,) = (one for one in found.methods if one.method == "beta")
    better = nearly.model_copy(update={"difference": Interval(-0.02, -0.03, -0.001), "adjusted": 0.06})
    assert found.model_copy(update={"methods": (better,)}).better == ()
    assert found.model_copy(update={"methods": (better.model_copy(update={"adjusted": 0.04}),)}).better == (
        "beta",
    )


def test_of_right_probabilities_no_method_is_better_than_platt():
    found = compare_calibrations(_out_of_fold(images=2000), seed=0)
    assert found.better == ()
    assert {one.method for one in found.methods} == {*METHODS, "none"}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(calibration_table(found))
    text = console.export_text()
    assert "…" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert len(calibrations_as_csv(found).splitlines()) == 7


@pytest.mark.parametrize(
    ("bend", "update"),
    [
        (lambda logits: logits, "nothing"),
        (lambda logits: logits + 1.0, "intercept"),
        (lambda logits: 3.0 * logits, "slope and intercept"),
    ],
)
def test_the_simplest_update_that_the_patients_do_not_speak_against_is_taken(bend, update):
    labels, probabilities = _drawn(600, bend=bend, seed=1)
    found = fit_update(labels, probabilities, np.arange(600).astype(str))
    assert found.update == update
    np.testing.assert_allclose(found.calibration.apply(probabilities)[:, 1].mean(), labels.mean(), atol=0.02)


def test_a_few_patients_do_not_replace_what_many_have_taught():
    kept = 0
    for seed in range(40):
        labels, probabilities = _drawn(60, seed=seed)
        kept += fit_update(labels, probabilities, np.arange(60).astype(str)).update == "nothing"
    assert kept >= 34


def test_too_few_patients_of_a_class_update_nothing():
    labels, probabilities = np.array([0] * 20 + [1] * 4), _drawn(24)[1]
    with pytest.raises(ScoreError, match="needs 10 patients of each class, found 4 of one"):
        fit_update(labels, probabilities, np.arange(24).astype(str))


def test_two_calibrations_are_one():
    first, second = Platt(slope=1.7, intercept=-0.4), Platt(slope=0.6, intercept=0.9)
    probabilities = _drawn(50)[1]
    np.testing.assert_allclose(
        composed(first, second).apply(probabilities), second.apply(first.apply(probabilities)), atol=1e-12
    )
