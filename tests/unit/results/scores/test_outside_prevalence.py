"""A model whose probabilities were moved to another prevalence, on labelled data that it never saw."""

import csv
import io

import numpy as np
import pytest
from rich.console import Console

from results.scores.calibration import Platt, sigmoid
from results.scores.operating_point import NOTHING_ASKED, Operation, odds_shift, to_share_of
from results.scores.outside import score_outside
from results.scores.outside_table import outside_as_csv, outside_table
from trainables.data.group_names import named_by_rows

SCREENING = Operation.of(prevalence=0.006)


def _drawn(images=2000, share=0.5, seed=0):
    """Labels, and probabilities that are right where `share` of the images are positive."""
    random = np.random.default_rng(seed)
    labels = (np.arange(images) < share * images).astype(np.int64)
    logits = 2.0 * (labels - 0.5) + random.normal(size=images) * np.sqrt(2.0) + np.log(share / (1 - share))
    return labels, np.stack([sigmoid(-logits), sigmoid(logits)], axis=1)


def _scored(labels, probabilities, operation, threshold, *, groups=None, **facts):
    return score_outside(
        labels,
        probabilities,
        np.arange(len(labels)) if groups is None else groups,
        {"view": np.array(["CC", "MLO"])[np.arange(len(labels)) % 2]},
        classes=("benign", "malignant"),
        threshold=threshold,
        training_shares=np.array([0.5, 0.5]),
        operation=operation,
        seed=0,
        model="model",
        data="other",
        chosen_for="balanced accuracy",
        look=1,
        shift=None,
        **({"expected": {}} | facts),
    )


def _shown(evaluation):
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(outside_table(evaluation))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    return " ".join(text.split())


def test_what_a_recalibrated_bundle_decides_by_is_said_to_be_of_the_local_data():
    labels, right = _drawn(images=200)
    before = _shown(_scored(labels, right, NOTHING_ASKED, 0.5))
    assert "Decisions at 0.500, chosen out of fold for balanced accuracy" in before
    assert "before they were fitted" not in before
    found = _scored(labels, right, NOTHING_ASKED, 0.5, decided_on="on the local data")
    assert "Decisions at 0.500, chosen on the local data for balanced accuracy" in _shown(found)
    assert "The column out of fold is of calibration and thresholds before they were" in _shown(found)


def test_scores_out_of_fold_of_a_naive_split_keep_its_name_beside_other_data():
    labels, right = _drawn(images=200)
    found = _scored(labels, right, NOTHING_ASKED, 0.5, expected={"auc": 0.9}, split="naive split")
    assert "(naive split)" in _shown(found).partition("──")[0]
    assert "AUC (naive split)" not in _shown(found)  # which these scores are not of
    assert "is of a naive split, where patients lie in several folds" in _shown(found)
    rows = list(csv.DictReader(io.StringIO(outside_as_csv(found))))
    assert {row["split"] for row in rows} == {"naive split"}
    plain = _scored(labels, right, NOTHING_ASKED, 0.5)
    assert "naive" not in _shown(plain)
    assert {row["split"] for row in csv.DictReader(io.StringIO(outside_as_csv(plain)))} == {"grouped split"}


def test_groups_that_are_no_patients_and_thresholds_by_value_are_told_as_of_the_sealed_part():
    labels, right = _drawn(images=200)
    own = {"f1": 0.4, "f2": 0.2, "own": 0.1}
    found = _scored(labels, right, NOTHING_ASKED, 0.4, thresholds=own, groups=named_by_rows(range(200)))
    assert "other: 200 images (" in _shown(found)
    assert "The first look at these images. Intervals are over these images." in _shown(found)
    assert "for balanced accuracy, F2 at a threshold of its own; " in _shown(found)


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_probabilities_of_another_prevalence_are_compared_with_labels_at_that_of_the_labels(share):
    labels, right = _drawn(share=share)
    moved = Platt(intercept=odds_shift(share, 0.006)).apply(right)
    threshold = float(Platt(intercept=odds_shift(share, 0.006)).apply(np.array([[1 - share, share]]))[0, 1])
    one = _scored(labels, right, NOTHING_ASKED, share)
    other = _scored(labels, moved, SCREENING, threshold)
    for name, found in one.metrics.items():
        assert other.metrics[name].estimate == pytest.approx(found.estimate, rel=1e-6), name
    assert other.confusion == one.confusion
    assert other.calibration.intercept.holds(0.0)
    assert other.calibration.intercept.estimate == pytest.approx(one.calibration.intercept.estimate, abs=1e-5)
    assert other.calibration.expected == pytest.approx(other.calibration.observed, abs=0.03)
    for here, there in zip(one.strata.strata, other.strata.strata, strict=True):
        assert there.expected == pytest.approx(here.expected)
        assert there.metrics["log_loss"].estimate == pytest.approx(here.metrics["log_loss"].estimate)


def test_probabilities_without_a_prevalence_stay_as_they_are():
    labels, right = _drawn(images=100)
    assert to_share_of(labels, None) == Platt()
    assert to_share_of(labels, 0.5).intercept == pytest.approx(0.0)
    off = Platt(intercept=1.0).apply(right)
    assert not _scored(labels, off, NOTHING_ASKED, 0.5).calibration.intercept.holds(0.0)
