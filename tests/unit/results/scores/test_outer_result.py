"""The score of a whole search: folds pooled by what each search has fitted, gains paired, claims compared."""

import numpy as np
import pytest
from sklearn.metrics import log_loss as log_loss_of_sklearn
from sklearn.metrics import recall_score, roc_auc_score

from benchmarks.claims import nested_rows
from benchmarks.simulated_patients import World
from results.run.outer_fold import FoldModel, FoldPredictions, OuterFold, read_outer_fold, write_outer_fold
from results.run.run_folder import RunFolder
from results.scores.calibration import sigmoid
from results.scores.outer_result import score_outer, shares_of, stability_of
from results.scores.ranking import Objectives

ROLES = ("shipped", "incumbent", "first_point", "baseline")


def described(fold, thresholds=None, winner=None, roles=ROLES):
    models = {
        role: FoldModel(
            name=role,
            trials=(0,),
            settings="",
            inner_value=0.8,
            threshold=(thresholds or {}).get(fold, 0.5),
        )
        for role in roles
    }
    return OuterFold(
        fold=fold + 1,
        folds=3,
        patients=40,
        asked=4,
        ended=4,
        complete=4,
        models=models,
        winner=winner or {},
        choices={"cut": {"top": 0.5, "block3": 0.5}},
        worker_seconds=1.0,
        features_computed=0,
        features_again=0,
        features_read=8,
    )


def outer_folds(*, shifts=(0.0, 3.0, -3.0), strength=1.5, images=40, seed=0):
    """Three outer folds whose searches score on scales of their own."""
    random, found = np.random.default_rng(seed), []
    for fold, shift in enumerate(shifts):
        labels = np.arange(images) % 2
        groups = np.array([f"{fold}-{image // 2}" for image in range(images)])
        probabilities = {}
        for role in ROLES:
            worth = strength if role in ("shipped", "incumbent") else 0.0
            positive = sigmoid(worth * labels + random.normal(size=images) + shift)
            probabilities[role] = np.stack([1 - positive, positive], axis=1)
        found.append(
            (
                described(fold, thresholds={1: 0.95, 2: 0.05}),
                FoldPredictions(np.arange(images) + images * fold, labels, groups, probabilities),
            )
        )
    return found


def test_rankings_are_averaged_within_folds_since_searches_have_scales_of_their_own():
    folds = outer_folds()
    scores, _ = score_outer(folds, Objectives(("auc",)), seed=0)
    areas = [roc_auc_score(own.labels, own.probabilities["shipped"][:, 1]) for _, own in folds]
    assert scores["shipped"].value.estimate == pytest.approx(np.mean(areas))
    assert scores["shipped"].by_fold == pytest.approx(areas)
    pooled = roc_auc_score(
        np.concatenate([own.labels for _, own in folds]),
        np.concatenate([own.probabilities["shipped"][:, 1] for _, own in folds]),
    )
    assert pooled < np.mean(areas) - 0.1


def test_decisions_and_probabilities_are_pooled_as_each_search_ships_them():
    folds = outer_folds()
    scores, _ = score_outer(folds, Objectives(("recall",)), seed=0)
    labels = np.concatenate([own.labels for _, own in folds])
    called = np.concatenate(
        [own.probabilities["shipped"][:, 1] >= fold.models["shipped"].threshold for fold, own in folds]
    )
    assert scores["shipped"].value.estimate == pytest.approx(recall_score(labels, called))
    positive = np.concatenate([own.probabilities["shipped"][:, 1] for _, own in folds])
    assert scores["shipped"].metrics["log_loss"] == pytest.approx(log_loss_of_sklearn(labels, positive))


def test_a_gain_is_paired_and_positive_where_the_search_is_better_whatever_the_direction():
    for metric in ("auc", "recall", "log_loss"):
        _, gains = score_outer(outer_folds(shifts=(0, 0, 0), strength=2.5), Objectives((metric,)), seed=0)
        assert set(gains) == {"first_point", "baseline"}
        assert all(gain.estimate > 0 for gain in gains.values()), metric


def test_optimism_is_what_the_searches_claim_too_much():
    scores, _ = score_outer(outer_folds(strength=0.0), Objectives(("auc",)), seed=0)
    assert scores["shipped"].optimism == pytest.approx(0.8 - scores["shipped"].value.estimate)
    assert scores["shipped"].optimism > 0.15


def test_a_role_that_a_search_lacks_is_left_out():
    folds = outer_folds()
    folds[1] = (described(1, roles=("shipped", "incumbent")), folds[1][1])
    scores, gains = score_outer(folds, Objectives(("auc",)), seed=0)
    assert (set(scores), gains) == ({"shipped", "incumbent"}, {})


def test_winners_that_agree_are_told_from_trials_that_agree_by_chance():
    same = stability_of([described(fold, winner={"cut": "top"}) for fold in range(3)])
    assert (same.agreement, same.by_chance, same.shared) == (1.0, 0.5, {"cut": "top"})
    mixed = stability_of([described(fold, winner={"cut": cut}) for fold, cut in enumerate(("top", "block3"))])
    assert (mixed.agreement, mixed.shared) == (0.0, {})


def test_settings_on_a_scale_are_no_choices():
    shares = shares_of([{"lr": 0.1, "name": "adam"}, {"lr": 0.2, "name": "adam"}])
    assert shares == {"name": {"adam": 1.0}}


def test_an_outer_fold_is_read_as_it_was_written(tmp_path):
    fold, predictions = outer_folds()[0]
    write_outer_fold(RunFolder(tmp_path), fold, predictions)
    found = read_outer_fold(RunFolder(tmp_path))
    assert found is not None
    assert found[0] == fold
    np.testing.assert_array_equal(found[1].probabilities["baseline"], predictions.probabilities["baseline"])
    assert read_outer_fold(RunFolder(tmp_path / "other")) is None


def test_the_nested_score_of_simulated_searches_is_unbiased_where_their_own_is_not():
    (row,) = nested_rows(12, ((100, World(0.5, features=100)),))
    assert abs(row["bias"]) < 0.04
    assert row["covers"] >= 0.8
    assert row["said inside"] > row["truth"] + 0.04
