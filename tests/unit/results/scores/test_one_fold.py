"""A hold-out has one fold: what is fitted to its predictions is judged on parts drawn within it."""

from dataclasses import replace

import numpy as np
import pytest
from finished_run import CONFIGS, make_run
from sklearn.metrics import roc_auc_score

from results.ensembles import nested
from results.ensembles.build import build_ensembles
from results.ensembles.members import align
from results.ensembles.methods import METHODS, fit, svm
from results.ensembles.nested import nested_evaluation, nested_predictions
from results.export.bundle import export_bundle
from results.predictors.selected_model import resolve_model
from results.predictors.threshold_sweep import sweep_of
from results.run.records import OutOfFold
from results.scores.baseline import difference_from
from results.scores.cross_fitting import crossfit_parts, folds_or_drawn
from results.scores.decision_rule import cross_fit, fit_decision_rule
from results.scores.decisions import decisions
from results.scores.leaderboard import leaderboard
from results.scores.metric_interval import metric_interval
from results.scores.model_comparison import NamedPredictions, compare_models
from results.scores.ranking import BY_AUC
from results.scores.selection import selected_again, selection_folds
from trainables.data.split_record import TEST, TRAINING, read_split


def one_fold(images=120, seed=0, strength=1.0):
    """Two images a patient, scores that are far too sure of themselves, all in fold 0."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(images // 2) % 3 == 0, 2).astype(np.int64)
    positive = 1 / (1 + np.exp(-4 * (strength * labels + random.normal(size=images) + 0.5)))
    patients = np.array([f"p{row // 2:02d}" for row in range(images)])
    both = np.stack([1 - positive, positive], axis=1)
    return OutOfFold(np.arange(images), labels, np.zeros(images, dtype=np.int64), patients, both)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("holdout"), {0: CONFIGS[0], 5: CONFIGS[0]}, holdout=0.5)


# -- parts


def test_parts_keep_patients_whole_and_classes_in_proportion():
    kept = one_fold()
    parts = crossfit_parts(kept)
    assert sorted(set(parts.tolist())) == [0, 1, 2, 3, 4]
    assert all(len(set(parts[kept.groups == patient].tolist())) == 1 for patient in set(kept.groups.tolist()))
    assert {int(kept.labels[parts == part].sum()) for part in range(5)} == {8}


def test_folds_are_kept_where_there_are_enough():
    kept = one_fold()
    folds = np.arange(120) // 2 % 2
    assert folds_or_drawn(kept.labels, kept.groups, folds) is folds
    assert len(set(folds_or_drawn(kept.labels, kept.groups, folds, fewest=3).tolist())) == 5


def test_two_folds_are_cut_into_parts_of_one_fold_each():
    kept = one_fold()
    groups, patient = np.unique(kept.groups, return_inverse=True)
    folds = (patient // 2 % 2).astype(np.int64)  # both classes in either
    parts = selection_folds(kept.labels, kept.groups, folds, seed=0)
    assert len(set(parts.tolist())) == 6
    for part in range(6):
        assert len(set(folds[parts == part].tolist())) == 1
        assert set(kept.labels[parts == part].tolist()) == {0, 1}
    for group in groups:
        assert len(set(parts[kept.groups == group].tolist())) == 1


def test_two_folds_with_too_few_patients_of_a_class_are_cut_across():
    kept = one_fold()
    patient = np.unique(kept.groups, return_inverse=True)[1]
    labels = (patient < 3).astype(np.int64)  # one of them in the second fold
    parts = selection_folds(labels, kept.groups, (patient % 2).astype(np.int64), seed=0)
    assert len(set(parts.tolist())) == 3


def test_parts_are_the_same_for_every_trial_and_others_for_another_seed():
    first, second = one_fold(seed=1), one_fold(seed=2)
    np.testing.assert_array_equal(crossfit_parts(first), crossfit_parts(second))
    other = folds_or_drawn(first.labels, first.groups, first.folds, seed=7)
    assert not np.array_equal(crossfit_parts(first), other)


def test_a_class_with_three_patients_is_cut_into_three_parts_and_one_with_a_single_one_into_none():
    kept = one_fold()
    for number, expected in ((3, 3), (1, 1)):
        labels = np.isin(kept.groups, [f"p{patient:02d}" for patient in range(number)]).astype(np.int64)
        assert len(set(folds_or_drawn(labels, kept.groups, kept.folds).tolist())) == expected


# -- what is fitted


def test_each_part_is_calibrated_and_decided_by_the_others():
    kept = one_fold()
    found, parts = cross_fit(kept), crossfit_parts(kept)
    for part in range(5):
        own, others = parts == part, parts != part
        rule = fit_decision_rule(OutOfFold(*(getattr(kept, name)[others] for name in OutOfFold.ARRAYS)))
        calibrated = rule.calibration.apply(kept.probabilities[own])
        np.testing.assert_allclose(found.probabilities[own], calibrated)
        for metric in ("balanced_accuracy", "f1", "f2"):
            expected = decisions(calibrated, rule.threshold_of(metric))
            np.testing.assert_array_equal(found.decided[metric][own], expected)
    positive = kept.probabilities[:, 1]
    assert abs(found.probabilities[:, 1].mean() - kept.labels.mean()) < 0.05
    assert positive.mean() - kept.labels.mean() > 0.05


@pytest.mark.parametrize("method", ["best_single", *METHODS])
def test_every_method_predicts_a_part_without_its_labels(method, monkeypatch):
    trials = {number: one_fold(seed=number) for number in range(3)}
    found = nested_predictions(align(trials), method, max_members=3, seed=0)
    assert set(found.folds.tolist()) == {0, 1, 2, 3, 4}
    # Turned labels would be cut into other parts.
    monkeypatch.setattr(nested, "selection_folds", lambda *_, **__: found.folds)
    own = found.folds == 2
    turned = {
        number: replace(one, labels=np.where(own, 1 - one.labels, one.labels))
        for number, one in trials.items()
    }
    again = nested_predictions(align(turned), method, max_members=3, seed=0)
    np.testing.assert_allclose(found.probabilities[own], again.probabilities[own], atol=1e-9)


def test_a_support_vector_stack_is_not_calibrated_on_what_it_was_fitted_on(monkeypatch):
    noise = align({number: one_fold(seed=number, strength=0.0) for number in range(3)})
    honest = fit("stack_svm", noise, 0).platt.slope
    monkeypatch.setattr(svm, "folds_or_drawn", lambda labels, *_, **__: np.zeros_like(labels))
    assert honest < 0.5 * fit("stack_svm", noise, 0).platt.slope


# -- intervals


def width(found):
    return found.high - found.low


@pytest.mark.parametrize("metric", ["auc", "average_precision", "log_loss", "f2", "recall"])
def test_what_is_chosen_on_parts_of_a_hold_out_is_less_certain_than_a_trial_of_it(metric):
    alone = one_fold(600)
    (single,) = nested_evaluation(align({0: alone}), [], max_members=1, seed=0)
    assert len(np.unique(single.out_of_fold.folds)) == 5
    again, once = (
        width(metric_interval(own, metric, (metric,), seed=0)) for own in (single.out_of_fold, alone)
    )
    assert 1.1 < again / once < 1.6


@pytest.mark.parametrize(("folds", "parts"), [(1, 5), (2, 6), (4, 4)])
def test_parts_that_take_the_place_of_folds_are_no_training_parts(folds, parts):
    alone = one_fold(240)
    alone = replace(alone, folds=np.arange(240) // 2 % folds)
    nested_own = nested_predictions(align({0: alone}), "best_single", max_members=1, seed=0)
    for found in (nested_own, selected_again([alone], seed=0)):
        assert len(np.unique(found.folds)) == parts
        assert found.training_parts == folds
        assert found.where(found.folds == 0).training_parts == folds
        assert found.varying_parts == found.where(found.folds == 0).varying_parts == {1: 5, 2: 2, 4: 4}[folds]
        assert fit_decision_rule(found).mean_calibration == fit_decision_rule(alone).mean_calibration


def test_differences_of_trials_of_a_hold_out_have_no_factor_and_those_of_choices_on_it_have_one():
    base, other = one_fold(600), one_fold(600, seed=1)
    parts = crossfit_parts(base)
    alone = difference_from(base, other, objectives=BY_AUC, seed=0)
    chosen = difference_from(base, other.in_parts(parts), objectives=BY_AUC, seed=0)
    assert width(chosen) == pytest.approx(width(alone) * np.sqrt(1 + 0.75 * 5 / 4), rel=0.05)
    in_folds = [replace(own, folds=parts) for own in (base, other)]
    assert width(difference_from(*in_folds, objectives=BY_AUC, seed=0)) == pytest.approx(width(chosen))
    for is_chosen, expected in ((False, alone), (True, chosen)):
        models = [own.in_parts(parts) if is_chosen else own for own in (base, other)]
        names = [NamedPredictions(name, own) for name, own in zip("ab", models, strict=True)]
        (pair,) = compare_models(names, metric="auc", seed=0).comparisons
        assert pair.high - pair.low == pytest.approx(width(expected), rel=0.05)
        assert pair.t_p_value is None


# -- a run


def test_only_the_validation_part_has_predictions_and_scores(run):
    split, kept = read_split(run.split_file), run.out_of_fold(0)
    folds = split.fold_of(kept.groups)
    assert set(split.fold_of_group.values()) == {TRAINING, TEST, 0}
    assert set(folds.tolist()) == {0}
    assert len(kept.rows) == sum(split.counts["validation"][name] for name in ("benign", "malignant")) == 16
    np.testing.assert_allclose(kept.probabilities.sum(axis=1), 1.0, atol=1e-5)


def test_the_auc_of_a_trial_is_that_of_the_validation_part(run):
    rows, kept = leaderboard(run), run.out_of_fold(0)
    own = next(row for row in rows if row.trial == 0)
    assert own.auc == pytest.approx(roc_auc_score(kept.labels, kept.probabilities[:, 1]))
    assert own.auc_low <= own.auc <= own.auc_high
    assert own.auc_sd is None


def test_ensembles_thresholds_evaluation_and_export_go_through(run, tmp_path):
    built = build_ensembles(run, methods=("average", "stack_svm"), seed=0)
    assert [len(one.nested.fold_auc) for one in built] == [len(built[0].nested.fold_auc)] * 3
    for model in ({"trial": 0}, {"ensemble": "average"}):
        found = sweep_of(run, **model).decisions
        assert {one.found + one.missed + one.alarms + one.passed for one in found} == {16}
        chosen = resolve_model(run, **model)
        assert [one.threshold for one in found if one.is_chosen] == [pytest.approx(chosen.threshold)]
        assert set(chosen.metrics) >= {"auc", "brier", "f2"}
    manifest = export_bundle(run, tmp_path / "bundle", trial=0, held_out_limit=4).manifest
    assert (manifest.data.images, manifest.data.held_out, manifest.data.folds) == (32, 16, 1)
    card = (tmp_path / "bundle" / "model_card.md").read_text()
    assert "a validation part of 16 images of the training data" in card
    assert "The model saw all but the validation part." in card


def test_the_test_part_of_a_hold_out_is_evaluated(run):
    from orchestrator.postprocessing.test_set import open_test_part

    found = open_test_part(run, ensemble="best", trial=0, by="orchestrate evaluate")
    assert found.images == 8
