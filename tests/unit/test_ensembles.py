"""Ensembles: equal to sklearn, honest on noise, better than one model where possible, whole on disk."""

import datetime
import json
import math

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from results.calibration import sigmoid
from results.ensembles.build import Ensemble, build_ensembles, read_ensemble
from results.ensembles.fitted import fit_standardiser, sample_points
from results.ensembles.grid import weight_grid
from results.ensembles.members import align, positive_logits
from results.ensembles.methods import METHODS, FittedEnsemble, fit
from results.ensembles.mlp import HIDDEN_UNITS, MOST_ITERATIONS, PENALTY
from results.ensembles.nested import TIE, EnsembleScore, choose, nested_evaluation
from results.ensembles.tables import ensemble_table, ensembles_as_csv, ensembles_as_json
from results.ensembles.weights import WeightedMean
from results.errors import EnsembleError
from results.intervals import Interval
from results.metrics import METRICS, mean_fold_auc
from results.records import OutOfFold, SearchRecord, TrialRecord
from results.store import RunFolder
from trainables.errors import OneClassError, UnknownNameError

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
STACKED = [name for name in METHODS if name.startswith("stack_")]


def simulate(trials=4, images=300, strength=1.0, seed=0, folds=5, labels=None, shift=0.0):
    """Trials whose scores share the signal and have independent noise."""
    random = np.random.default_rng(seed)
    patients = np.arange(images) // 2
    labels = random.permutation(np.arange(images) % 2) if labels is None else labels
    found = {}
    for number in range(trials):
        positive = sigmoid(strength * labels + random.normal(size=images) + shift)
        probabilities = np.stack([1 - positive, positive], axis=1)
        found[number] = OutOfFold(
            np.arange(images), labels, patients % folds, patients.astype(str), probabilities
        )
    return found


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, simulate())


def make_run(path, trials, **changes):
    run = RunFolder(path / "benign_malignant" / "first")
    run.write_search(search_record())
    for number, predictions in trials.items():
        run.write_out_of_fold(number, predictions)
        value = float(mean_fold_auc(predictions.labels, predictions.probabilities, predictions.folds))
        run.write_record(trial_record(number, value=value, **changes))
    return run


def search_record():
    return SearchRecord(
        task="benign_malignant",
        classes=("benign", "malignant"),
        name="first",
        data="phantom",
        label_codes="task",
        source="phantom",
        is_synthetic=True,
        fingerprint="abc",
        store="store",
        metric="auc",
        space="module:function",
        space_context={},
        pins={},
        backbones=("vgg16",),
        left_out={},
        weights_dir=None,
        trials=4,
        minutes=None,
        trial_minutes=1.0,
        folds=5,
        test_share=0.2,
        seed=0,
        workers=None,
        cpus_per_trial=1.0,
        gpus_per_trial=0.0,
        epochs=3,
        keep_weights=4,
        study_storage=None,
        command="orchestrate search",
        versions={},
        started_at=NOW,
    )


def trial_record(number, **changes):
    asked = {"state": "complete", "has_weights": True, "fingerprint": "abc", "value": 0.7, **changes}
    return TrialRecord(number=number, config={}, seed=0, finished_at=NOW, **asked)


def shown(table):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(table)
    return console.export_text()


# -- members


def test_trials_are_aligned_by_their_rows():
    trials = simulate(trials=2)
    mixed = np.random.default_rng(0).permutation(300)
    shuffled = OutOfFold(*(getattr(trials[1], name)[mixed] for name in OutOfFold.__slots__))
    found = align({0: trials[0], 1: shuffled})
    assert (found.probabilities[1] == trials[1].probabilities).all()


@pytest.mark.parametrize("field", ["rows", "labels", "folds", "groups"])
def test_trials_of_another_split_are_refused(field):
    first = simulate(trials=1)[0]
    changed = {name: getattr(first, name) for name in OutOfFold.__slots__}
    changed[field] = np.sort(changed[field])[::-1] if field != "rows" else changed[field] + 1
    with pytest.raises(EnsembleError, match=f"need the same {field}; those of trials 0 and 1 differ"):
        align({0: first, 1: OutOfFold(**changed)})


def test_an_ensemble_needs_a_trial():
    with pytest.raises(EnsembleError, match="at least one complete trial, found none"):
        align({})


def test_the_best_members_come_first():
    trials = simulate(trials=1, strength=0.1) | {7: simulate(trials=1, strength=3.0)[0]}
    assert align(trials).best(1).trials == (7,)


# -- methods


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_survives_json_and_gives_probabilities(method):
    members = align(simulate())
    fitted = fit(method, members, seed=0)
    adapter = TypeAdapter(FittedEnsemble)
    again = adapter.validate_json(adapter.dump_json(fitted))
    combined = again.combine(members.probabilities)
    assert type(again) is type(fitted)
    assert (combined == fitted.combine(members.probabilities)).all()
    assert combined.shape == (300, 2)
    assert ((combined >= 0) & (combined <= 1)).all()
    assert combined.sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_is_repeatable_and_works_with_one_member(method):
    members = align(simulate(trials=1))
    first, again = (fit(method, members, seed=3).combine(members.probabilities) for _ in range(2))
    assert (first == again).all()


@pytest.mark.parametrize("method", list(METHODS))
def test_certain_members_do_not_break_a_method(method):
    members = align(simulate(strength=2000.0))
    assert np.isfinite(fit(method, members, seed=0).combine(members.probabilities)).all()


def new_images(seed=9):
    return np.stack([one.probabilities for one in simulate(images=100, seed=seed).values()])


def standardised(members, probabilities):
    scaler = fit_standardiser(positive_logits(members.probabilities))
    return scaler.apply(positive_logits(members.probabilities)), scaler.apply(positive_logits(probabilities))


def test_the_logistic_stack_equals_sklearn():
    members, unseen = align(simulate()), new_images()
    train, test = standardised(members, unseen)
    wanted = LogisticRegression(max_iter=1000).fit(train, members.labels).predict_proba(test)
    assert fit("stack_logistic", members, 0).combine(unseen) == pytest.approx(wanted, abs=1e-6)


def test_the_neighbour_stack_equals_sklearn():
    members, unseen = align(simulate()), new_images()
    train, test = standardised(members, unseen)
    fitted = fit("stack_knn", members, 0)
    wanted = KNeighborsClassifier(fitted.neighbours).fit(train, members.labels).predict_proba(test)
    assert fitted.neighbours == 17
    assert fitted.combine(unseen) == pytest.approx(wanted, abs=1e-6)


def test_the_support_vector_stack_equals_sklearn():
    members, unseen = align(simulate()), new_images()
    train, test = standardised(members, unseen)
    wanted = SVC(class_weight="balanced").fit(train, members.labels).decision_function(test)
    fitted = fit("stack_svm", members, 0)
    assert fitted.decision(unseen) == pytest.approx(wanted, abs=1e-6)
    assert fitted.combine(unseen)[:, 1] == pytest.approx(fitted.platt.apply_to_scores(wanted), abs=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_perceptron_stack_equals_sklearn():
    members, unseen = align(simulate()), new_images()
    train, test = standardised(members, unseen)
    reference = MLPClassifier(
        (HIDDEN_UNITS,),
        activation="tanh",
        solver="lbfgs",
        alpha=PENALTY,
        max_iter=MOST_ITERATIONS,
        random_state=0,
    )
    wanted = reference.fit(train, members.labels).predict_proba(test)
    assert fit("stack_mlp", members, 0).combine(unseen) == pytest.approx(wanted, abs=1e-6)


def test_blocks_of_images_do_not_change_the_combination(monkeypatch):
    members, unseen = align(simulate()), new_images()
    for method, module in (("stack_knn", "knn"), ("stack_svm", "svm")):
        fitted = fit(method, members, 0)
        whole = fitted.combine(unseen)
        monkeypatch.setattr(f"results.ensembles.{module}._CELLS_AT_ONCE", 1000)
        assert fitted.combine(unseen) == pytest.approx(whole, abs=1e-12)


def test_weighted_means_take_more_than_two_classes():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    raw = random.random((2, 60, 3)) + np.eye(3)[labels]
    trials = {
        number: OutOfFold(np.arange(60), labels, np.arange(60) // 3 % 4, np.arange(60).astype(str), one)
        for number, one in enumerate(raw / raw.sum(axis=-1, keepdims=True))
    }
    for method in ("average", "greedy", "grid"):
        assert fit(method, align(trials), 0).combine(align(trials).probabilities).shape == (60, 3)
    for method in STACKED:
        with pytest.raises(EnsembleError, match="needs two classes, found 3"):
            fit(method, align(trials), 0)


@pytest.mark.parametrize("method", ["greedy", "grid"])
def test_fitted_weights_leave_out_a_member_that_is_wrong(method):
    right, wrong = simulate(trials=1, strength=3.0)[0], simulate(trials=1, strength=-3.0)[0]
    assert fit(method, align({0: wrong, 1: right}), 0).weights == (0.0, 1.0)


def test_greedy_never_falls_below_the_best_member():
    members = align(simulate(trials=6, images=120, strength=0.5))
    combined = fit("greedy", members, 0).combine(members.probabilities)
    best = mean_fold_auc(members.labels, members.probabilities, members.folds).max()
    assert mean_fold_auc(members.labels, combined, members.folds) >= best


def test_a_perfect_member_needs_no_company():
    usual = simulate(trials=1)[0]
    perfect, weak = 0.1 + 0.8 * usual.labels, 0.4 + 0.2 * usual.probabilities[:, 1]
    members = {
        number: OutOfFold(
            usual.rows, usual.labels, usual.folds, usual.groups, np.stack([1 - positive, positive], axis=1)
        )
        for number, positive in enumerate([weak, perfect])
    }
    assert fit("greedy", align(members), 0).weights == (0.0, 1.0)


def test_greedy_gives_equal_members_to_the_earlier():
    one = simulate(trials=1)[0]
    assert fit("greedy", align({0: one, 1: one}), 0).weights == (1.0, 0.0)


def test_the_weight_grid_holds_the_seeds_weights_once():
    grid = weight_grid(3)
    assert any(np.allclose(row, [0.203, 0.401, 0.401], atol=0.01) for row in grid)  # (.34, .67, .67)
    assert len(np.unique(grid.round(9), axis=0)) == len(grid) < 4**3 - 1
    assert grid.sum(axis=1) == pytest.approx(1.0)
    assert grid[0] == pytest.approx(1 / 3)


def test_the_grid_finds_the_best_of_all_its_weights():
    members = align(simulate(trials=3, images=90))
    values = [
        mean_fold_auc(members.labels, np.tensordot(row, members.probabilities, axes=1), members.folds)
        for row in weight_grid(3)
    ]
    combined = fit("grid", members, 0).combine(members.probabilities)
    assert mean_fold_auc(members.labels, combined, members.folds) == pytest.approx(max(values))


def test_the_grid_weighs_the_best_four_of_more():
    weak = simulate(trials=5, strength=0.2)
    strong = simulate(trials=1, strength=2.0, seed=5, labels=weak[0].labels)[0]
    weights = fit("grid", align({**weak, 5: strong}), 0).weights
    assert np.count_nonzero(weights) <= 4
    assert weights[5] > 0


def test_very_many_images_are_sampled_by_class():
    labels = (np.arange(1000) % 10 == 0).astype(np.int64)
    kept = sample_points(labels, seed=0, limit=100)
    assert (len(kept), labels[kept].sum()) == (100, 10)
    assert (np.diff(kept) > 0).all()


def test_weights_that_are_no_shares_are_refused():
    with pytest.raises(ValidationError, match="shares that sum to 1"):
        WeightedMean(weights=(0.5, 0.6))


def test_an_unknown_method_answers_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'greedy'"):
        fit("greed", align(simulate()), 0)


def test_a_method_needs_two_classes():
    with pytest.raises(OneClassError, match="ensemble method average needs images of two classes"):
        fit("average", align(simulate(labels=np.ones(300, dtype=np.int64))), 0)


# -- nested evaluation


def test_averaging_independent_noise_beats_the_best_single_trial_beyond_doubt():
    scores = nested_evaluation(
        align(simulate(trials=5, images=600)), ["average"], max_members=5, resamples=300, seed=0
    )
    single, average = scores
    assert single.method == "best_single"
    assert single.difference is None
    assert average.auc.estimate > single.auc.estimate + 0.05
    assert average.difference.low > 0


def test_on_noise_every_method_is_no_better_than_chance_although_its_fit_looks_good():
    nested: dict[str, list[float]] = {method: [] for method in METHODS}
    fitted: dict[str, list[float]] = {method: [] for method in METHODS}
    for seed in range(4):
        members = align(simulate(trials=8, images=300, strength=0.0, seed=seed))
        for score in nested_evaluation(members, max_members=3, resamples=2, seed=seed)[1:]:
            nested[score.method].append(score.auc.estimate)
            best = members.best(3)
            combined = fit(score.method, best, seed).combine(best.probabilities)
            fitted[score.method].append(float(mean_fold_auc(members.labels, combined, members.folds)))
    for method in METHODS:
        assert np.mean(nested[method]) == pytest.approx(0.5, abs=0.05), method
        assert np.mean(fitted[method]) > 0.54, method
        assert np.mean(fitted[method]) > np.mean(nested[method]) + 0.02, method


def test_a_fold_is_predicted_without_its_labels():
    trials = simulate(trials=3)
    labels = trials[0].labels.copy()
    own = trials[0].folds == 2
    labels[own] = 1 - labels[own]
    turned = {
        n: OutOfFold(one.rows, labels, one.folds, one.groups, one.probabilities) for n, one in trials.items()
    }
    for method in METHODS:
        before, after = (
            nested_evaluation(align(one), [method], max_members=2, resamples=2, seed=0)[1].out_of_fold
            for one in (trials, turned)
        )
        assert (before.probabilities[own] == after.probabilities[own]).all(), method
    assert not (before.probabilities[~own] == after.probabilities[~own]).all()


def test_the_best_single_trial_is_scored_like_on_the_leaderboard():
    trials = simulate(trials=1)
    score = nested_evaluation(align(trials), [], max_members=1, resamples=2, seed=0)[0]
    only = trials[0]
    assert score.auc.estimate == pytest.approx(mean_fold_auc(only.labels, only.probabilities, only.folds))
    assert np.mean(score.fold_auc) == pytest.approx(score.auc.estimate)
    assert set(score.metrics) == set(METRICS)


def test_each_fold_of_the_best_single_trial_comes_from_one_trial():
    pool = align(simulate(trials=5, images=600))
    found = nested_evaluation(pool, [], max_members=5, resamples=2, seed=0)[0].out_of_fold
    for fold in range(5):
        own = pool.folds == fold
        assert any((found.probabilities[own] == one[own]).all() for one in pool.probabilities)


@pytest.mark.parametrize("folds", [1, 2])
def test_trials_with_few_folds_get_patient_grouped_ones(folds):
    pool = align(simulate(folds=folds))
    found = nested_evaluation(pool, ["average"], max_members=2, resamples=2, seed=0)[1].out_of_fold
    assert len(np.unique(found.folds)) == 5
    for patient in np.unique(found.groups):
        assert len(np.unique(found.folds[found.groups == patient])) == 1


def test_a_score_needs_patients_to_hold_out():
    trials = simulate(trials=1, images=4, folds=1, labels=np.array([0, 0, 0, 1]))
    with pytest.raises(EnsembleError, match="at least two patients of each class, found 1"):
        nested_evaluation(align(trials), [], max_members=1, seed=0)


def test_no_method_is_fitted_before_all_names_are_known():
    with pytest.raises(UnknownNameError, match="unknown ensemble method 'vote'"):
        nested_evaluation(align(simulate()), ["average", "vote"], max_members=2, seed=0)


def scored(method, auc):
    return EnsembleScore(method, simulate(trials=1)[0], Interval(auc, auc, auc), (auc,), None, {})


def test_a_tie_goes_to_the_simpler_method():
    found = choose([scored("best_single", 0.9), scored("stack_mlp", 0.801), scored("greedy", 0.7995)])
    assert found.method == "greedy"


def test_a_clearly_better_method_is_chosen_however_complex():
    assert choose([scored("average", 0.79), scored("stack_mlp", 0.801)]).method == "stack_mlp"


def test_the_single_trial_is_chosen_only_when_alone():
    assert choose([scored("best_single", 0.9)]).method == "best_single"


# -- run folder to ensembles


def test_ensembles_are_written_and_read_back(run):
    built = build_ensembles(run, max_members=3, resamples=50, seed=1)
    assert [ensemble.method for ensemble in built] == ["best_single", *METHODS]
    assert sum(ensemble.is_chosen for ensemble in built) == 1
    for ensemble in built:
        assert read_ensemble(run, ensemble.method) == ensemble
        assert 1 <= len(ensemble.trials) <= 3
        assert ensemble.calibration is not None
        assert 0 < ensemble.threshold < 1
        assert all(math.isfinite(value) for value in ensemble.nested.metrics.values())
    best = max(ensemble.nested.auc for ensemble in built[1:])
    simplest = next(ensemble for ensemble in built[1:] if ensemble.nested.auc >= best - TIE)
    assert simplest.is_chosen
    assert read_ensemble(run) == simplest


def test_members_without_weight_are_dropped(tmp_path):
    trials = {0: simulate(trials=1, strength=-3.0)[0], 1: simulate(trials=1, strength=3.0)[0]}
    run = make_run(tmp_path, trials)
    build_ensembles(run, methods=["greedy"], resamples=2, seed=0)
    found = read_ensemble(run, "greedy")
    assert (found.trials, found.fitted.weights, found.pool) == ((1,), (1.0,), (1, 0))


def test_the_pool_holds_the_best_trials(run):
    values = {record.number: record.value for record in run.records()}
    wanted = sorted(values, key=values.__getitem__, reverse=True)[:2]
    built = build_ensembles(run, pool=2, methods=["average"], resamples=2, seed=0)
    assert list(built[0].pool) == wanted


def test_a_single_trial_is_an_ensemble_of_one_and_says_so(tmp_path):
    run = make_run(tmp_path, simulate(trials=1))
    built = build_ensembles(run, resamples=2, seed=0)
    assert [(one.method, one.trials, one.is_chosen) for one in built] == [("best_single", (0,), True)]
    assert read_ensemble(run).method == "best_single"
    assert "Only one trial can be a member" in " ".join(shown(ensemble_table(built)).split())


def test_collapsed_trials_are_left_out(run):
    run.write_record(trial_record(0, value=0.99, collapsed_folds=(1,)))
    assert 0 not in build_ensembles(run, methods=["average"], resamples=2, seed=0)[0].pool


def test_collapsed_trials_are_used_when_there_is_nothing_else_and_it_is_said(tmp_path):
    run = make_run(tmp_path, simulate(trials=2), collapsed_folds=(0,))
    built = build_ensembles(run, methods=["average"], resamples=2, seed=0)
    assert built[1].collapsed == built[1].trials
    assert "Collapsed in some fold: trials 0, 1." in shown(ensemble_table(built))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": "pruned"}, "needs a complete trial, found none among 4"),
        ({"has_weights": False}, "kept their weights, found none among 4 complete ones"),
        ({"fingerprint": "other"}, r"trials \[0, 1, 2, 3\] were run on other data"),
    ],
)
def test_trials_that_cannot_be_members_say_what_to_do(tmp_path, changes, message):
    run = make_run(tmp_path, simulate(), **changes)
    with pytest.raises(EnsembleError, match=message):
        build_ensembles(run, seed=0)


def test_a_pool_needs_a_place(run):
    with pytest.raises(EnsembleError, match="found pool 0 and members 4"):
        build_ensembles(run, pool=0, seed=0)


def test_an_ensemble_that_was_not_built_says_how(run):
    with pytest.raises(EnsembleError, match="build it first with: orchestrate ensemble"):
        read_ensemble(run, "greedy")


def test_a_damaged_ensemble_is_refused(run):
    run.write_json(run.ensemble_file("greedy"), {"method": "greedy"})
    with pytest.raises(EnsembleError, match=r"greedy\.json is not an ensemble"):
        read_ensemble(run, "greedy")


def test_an_unknown_ensemble_answers_with_the_nearest(run):
    with pytest.raises(UnknownNameError, match="did you mean 'best'"):
        read_ensemble(run, "bst")


def test_the_threshold_fits_the_calibrated_probability(tmp_path):
    trials = simulate(images=1000, shift=4.0)
    run = make_run(tmp_path, trials)
    build_ensembles(run, methods=["average"], resamples=2, seed=0)
    found, members = read_ensemble(run), align(trials)
    positive = found.calibration.apply(found.fitted.combine(members.only(found.trials).probabilities)[:, 1])
    assert positive.mean() == pytest.approx(members.labels.mean(), abs=0.02)
    assert np.mean((positive >= found.threshold) == members.labels) > 0.75


def test_tables_fit_eighty_columns_and_rows_are_plain(run):
    built = build_ensembles(run, resamples=20, seed=0)
    text = shown(ensemble_table(built))
    assert max(len(line) for line in text.splitlines()) <= 80
    for ensemble in built:
        assert ensemble.method in text
        nested = ensemble.nested
        assert str(Interval(nested.auc, nested.auc_low, nested.auc_high)) in text
    rows = json.loads(json.dumps(ensembles_as_json(built), allow_nan=False))
    assert len(ensembles_as_csv(built).splitlines()) == len(rows) + 1 == len(METHODS) + 2
    assert ensembles_as_csv([]) == "\n"


def test_an_ensemble_record_refuses_unknown_keys(run):
    kept = build_ensembles(run, methods=[], resamples=2, seed=0)[0].model_dump()
    with pytest.raises(ValidationError, match="Extra inputs"):
        Ensemble.model_validate({**kept, "colour": "red"})
