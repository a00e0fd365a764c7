import io

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import average_precision_score, recall_score, roc_auc_score

from benchmarks.claims_tests import false_strata
from results.scores.calibration import log_odds, sigmoid
from results.scores.judged_images import JudgedImages
from results.scores.multiple_tests import holm
from results.scores.strata import score_strata
from results.scores.strata_columns import parts_of_columns
from results.scores.strata_table import sentences_of, strata_as_csv, strata_table

CLASSES = ("benign", "malignant")


def _judged(patients=240, *, harm=None, images=1, seed=0):
    """Scores that tell the class, but for patients with `harm`; shape (patients * images,)."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), images)
    labels = groups % 2
    strength = 2.0 * np.ones(len(labels)) if harm is None else np.where(harm[groups], 0.0, 2.5)
    positive = 1 / (1 + np.exp(-(random.normal(size=len(labels)) + strength * (labels - 0.5))))
    both = np.stack([1 - positive, positive], axis=1)
    decided = (positive >= 0.5).astype(np.int64)
    return JudgedImages(labels, both, both, decided, np.zeros_like(labels), groups.astype(str))


def test_the_average_precision_of_a_stratum_of_all_images_is_that_of_the_leaderboard():
    judged = _judged()
    folds = np.arange(240) // 2 % 4
    scores = judged.scores ** (1 + folds[:, None])  # fold models of very different scales
    scores = scores / scores.sum(axis=1, keepdims=True)
    calibrated = sigmoid(log_odds(scores) / (1 + folds) + np.array([-3.0, 0.0, 1.0, 2.0])[folds])
    both = np.stack([1 - calibrated, calibrated], axis=1)
    folded = JudgedImages(judged.labels, scores, both, judged.decided, folds, judged.groups, 4)
    vendor = np.where(np.arange(240) < 236, "GE", "Hologic")
    stratum = score_strata(folded, {"vendor": vendor}, CLASSES, seed=0).strata[0]
    own = vendor == "GE"
    expected = np.mean(
        [
            average_precision_score(judged.labels[own & (folds == fold)], scores[own & (folds == fold), 1])
            for fold in range(4)
        ]
    )
    found = stratum.metrics["average_precision"]
    assert found.estimate == pytest.approx(expected)
    alone = JudgedImages(judged.labels, scores, both, judged.decided, 0 * folds, judged.groups)
    pooled = score_strata(alone, {"vendor": vendor}, CLASSES, seed=0).strata[0].metrics["average_precision"]
    assert pooled.estimate < expected - 0.005
    assert found.low < found.estimate < found.high


def test_a_stratum_has_the_scores_of_scikit_learn():
    judged = _judged()
    vendor = np.array(["GE", "Hologic", "Siemens"])[np.arange(240) // 2 % 3]
    scores = score_strata(judged, {"vendor": vendor}, CLASSES, seed=0)
    assert [one.name for one in scores.strata] == ["vendor GE", "vendor Hologic", "vendor Siemens"]
    for one in scores.strata:
        own = vendor == one.value
        labels, positive = judged.labels[own], judged.probabilities[own, 1]
        assert one.metrics["auc"].estimate == pytest.approx(roc_auc_score(labels, positive))
        assert one.metrics["recall"].estimate == pytest.approx(recall_score(labels, judged.decided[own]))
        assert one.observed == pytest.approx(labels.mean())
        assert one.expected == pytest.approx(positive.mean())
        assert one.metrics["auc"].low < one.metrics["auc"].estimate < one.metrics["auc"].high


def test_a_planted_difference_is_found_and_named_the_worst():
    harm = np.arange(240) // 2 % 4 == 0
    density = np.where(harm, 4.0, 2.0)
    view = np.array(["CC", "MLO"])[np.arange(240) // 8 % 2]
    scores = score_strata(_judged(harm=harm), {"density": density, "view": view}, CLASSES, seed=0)
    assert scores.worst == "density 4"
    assert scores.is_worst_different
    assert {one.column for one, _ in scores.found} == {"density"}
    assert any("density 4" in text for text in sentences_of(scores))


def test_two_strata_of_a_column_are_compared_once():
    view = np.array(["CC", "MLO"])[np.arange(240) // 2 % 2]
    scores = score_strata(_judged(), {"view": view}, CLASSES, seed=0)
    first, second = scores.strata
    assert scores.comparisons == len(first.differences) == 3
    assert [one.value for one in first.differences] == [-one.value for one in second.differences]
    assert [one.adjusted for one in first.differences] == [one.adjusted for one in second.differences]


def test_a_stratum_of_three_patients_is_shown_without_scores():
    site = np.where(np.arange(240) < 3, "small", "large")
    scores = score_strata(_judged(), {"site": site}, CLASSES, seed=0)
    small = next(one for one in scores.strata if one.value == "small")
    assert small.metrics == {}
    assert small.reason == "2 patients with benign and 1 patient with malignant; scores need 10"
    assert scores.remarks[0].startswith("too few patients for all scores of site small")
    assert small.differences == ()


def test_a_stratum_of_one_class_has_the_scores_of_that_class_alone():
    judged = _judged()
    kind = np.where((judged.labels == 1) & (np.arange(240) < 120), "mass", "other")
    scores = score_strata(judged, {"finding": kind}, CLASSES, seed=0)
    mass = next(one for one in scores.strata if one.value == "mass")
    assert set(mass.metrics) == {"recall"}
    assert [one.metric for one in mass.differences] == ["recall"]


def test_a_stratum_whose_classes_lie_in_different_folds_is_shown_without_an_auc():
    judged = _judged()
    site = np.where(np.arange(240) < 120, "north", "south")
    folds = np.where(site == "north", np.arange(240) % 2, np.arange(240) // 2 % 2)
    apart = JudgedImages(
        judged.labels, judged.scores, judged.probabilities, judged.decided, folds, judged.groups, 2
    )
    scores = score_strata(apart, {"site": site}, CLASSES, seed=0)
    north, south = scores.strata
    assert "auc" not in north.metrics
    assert {"recall", "specificity"} <= set(north.metrics)
    assert north.reason.startswith("no fold has images of two of its classes")
    assert "auc" in south.metrics
    assert not south.reason
    assert {own.metric for own in north.differences} == {"recall", "specificity"}
    assert scores.worst == "site south"


def test_sites_of_which_no_fold_has_two_classes_have_no_auc_within():
    judged = _judged()
    folds = np.arange(240) // 2 % 2
    site = np.where(np.isin(np.arange(240) % 4, (0, 3)), "a", "b")  # in either fold of one class each
    apart = JudgedImages(
        judged.labels, judged.scores, judged.probabilities, judged.decided, folds, judged.groups, 2
    )
    scores = score_strata(apart, {"site": site}, CLASSES, seed=0)
    assert [one.value for one in scores.strata] == ["a", "b"]
    assert scores.within_sites == ()
    assert any(text.startswith("no AUC within each site is known") for text in scores.remarks)


def test_a_set_without_columns_says_nothing_about_subgroups():
    scores = score_strata(_judged(), {}, CLASSES, seed=0)
    assert scores.remarks == ("nothing can be said about subgroups of this set: it has no columns",)


def test_telling_sites_apart_adds_to_the_pooled_auc_alone():
    judged = _judged(400)
    sick = np.arange(400) < 200
    labels = np.where(sick, np.arange(400) % 5 > 0, np.arange(400) % 5 == 0).astype(np.int64)
    random = np.random.default_rng(1)
    positive = 1 / (1 + np.exp(-(random.normal(size=400) + 3.0 * sick)))
    both = np.stack([1 - positive, positive], axis=1)
    own = JudgedImages(labels, both, both, judged.decided, np.zeros_like(labels), judged.groups)
    scores = score_strata(own, {"site": np.where(sick, "one", "other")}, CLASSES, seed=0)
    (site,) = scores.within_sites
    assert site.pooled.estimate > 0.7
    assert site.within.holds(0.5)
    assert site.difference.low > 0


def test_sites_that_are_numbers_are_sites_as_words_are():
    judged = _judged(400)
    words = np.where(np.arange(400) // 2 % 2, "a", "b")
    numbers = np.where(words == "a", 1.0, 2.0)
    words[:40], numbers[:40] = "", np.nan
    of_words, of_numbers = (
        score_strata(judged, {"site": values}, CLASSES, seed=0) for values in (words, numbers)
    )
    assert len(of_words.within_sites) == 1
    assert of_numbers.within_sites == of_words.within_sites
    assert [one.name for one in of_numbers.strata] == ["site 1", "site 2"]
    assert [one.metrics for one in of_numbers.strata] == [one.metrics for one in of_words.strata]


def test_many_sites_that_are_numbers_are_a_stratum_each():
    parts = parts_of_columns({"site": np.arange(80) % 8 + 1e7, "dose": np.arange(80) % 8.0})
    assert [part.value for part in parts if part.column == "site"] == [str(10_000_000 + n) for n in range(8)]
    assert len([part for part in parts if part.column == "dose"]) == 3


def test_copies_of_an_image_add_nothing_to_what_is_known():
    judged = _judged(120)
    view = np.array(["CC", "MLO"])[np.arange(120) // 2 % 2]
    fields = ("labels", "scores", "probabilities", "decided", "blocks", "groups")
    thrice = JudgedImages(*(np.repeat(getattr(judged, name), 3, axis=0) for name in fields))
    once = score_strata(judged, {"view": view}, CLASSES, seed=0).strata[0].metrics
    again = score_strata(thrice, {"view": np.repeat(view, 3)}, CLASSES, seed=0).strata[0].metrics
    assert (again["log_loss"].low, again["log_loss"].high) == pytest.approx(
        (once["log_loss"].low, once["log_loss"].high)
    )
    assert again["recall"].low == pytest.approx(once["recall"].low, abs=0.01)


def test_ages_are_bands_numbers_thirds_and_names_no_strata():
    columns = {
        "age": np.array([38.0, 40.0, 55.0, 71.0, np.nan]),
        "dose": np.arange(5.0) * 1.5,
        "file": np.array(list("abcde")),
        "finding_width": np.full(5, 20.0),
        "finding_height": np.array([20.0, 20.0, 20.0, 80.0, 80.0]),
    }
    named = [(part.column, part.value) for part in parts_of_columns(columns)]
    assert ("age", "40 to 49") in named
    assert ("finding_side_px", "40") in named
    assert {column for column, _ in named} == {"age", "dose", "finding_side_px"}


def test_the_table_fits_80_columns_and_csv_has_a_row_for_each_score():
    judged = _judged()
    columns = {
        "vendor": np.array(["GE", "a vendor with a very long name indeed", "x"])[np.arange(240) // 2 % 3]
    }
    scores = score_strata(judged, columns, CLASSES, seed=0)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(strata_table(scores))
    assert all(len(line) <= 80 for line in console.export_text().splitlines())
    assert len(strata_as_csv(scores).splitlines()) == 1 + sum(len(one.metrics) for one in scores.strata)


def test_holm_corrects_as_published():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_false_differences_are_rare():
    assert false_strata(150, 0.76, 0.5, 1, sets=12, seed=3) <= 2 / 12
