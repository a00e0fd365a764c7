"""What is shipped where a head on colour and intensity does better than all else, and where it does not."""

import dataclasses

import numpy as np
import pytest
from simulated_run import make_run
from simulated_trials import simulate

from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import read_ensemble
from results.ensembles.members import align
from results.ensembles.nested import EnsembleScore, by_fold, choose, nested_evaluation
from results.ensembles.out_of_fold import nested_again, nested_of, out_of_fold_of, pool_of
from results.ensembles.tables import ensemble_table
from results.predictors import selected_model
from results.predictors.selected_model import resolve_model
from results.predictors.threshold_sweep import sweep, sweep_of
from results.run.records import OutOfFold
from results.run.run_folder import RunFolder
from results.scores.decision_rule import cross_fit
from results.scores.fold_scores import out_of_fold_metrics
from results.scores.interval import Interval
from results.scores.metrics import mean_fold_auc
from results.scores.operating_point import Operation, parse_operating_point
from results.scores.ranking import Objectives, objectives_of, parse_requirement

SIMPLEST = {"model.backbone": "intensity", "classical.name": "logistic"}


def pool(*strengths, images=300):
    """Trials that tell the classes apart by so much; all hold the same images."""
    return {
        number: simulate(trials=number + 1, images=images, strength=strength)[number]
        for number, strength in enumerate(strengths)
    }


def run_of(folder, trials, *, baselines=(0,)):
    run = make_run(folder, trials)
    for number in baselines:
        run.write_record(run.record(number).model_copy(update={"config": SIMPLEST}))
    return run


def area(one):
    return float(mean_fold_auc(one.labels, one.probabilities, one.folds))


def test_a_baseline_that_is_far_better_than_all_else_is_shipped(tmp_path):
    trials = pool(3.0, 0.1, 0.1, 0.1, 0.1, 0.1)
    run = run_of(tmp_path, trials)
    single, average, baseline = build_ensembles(run, methods=["average"], seed=0)
    assert (single.method, average.method, baseline.method) == ("best_single", "average", "baseline")
    assert average.nested.auc < baseline.nested.auc - 0.1
    assert single.trials == baseline.trials == (0,)  # as the best trial, which it is without every fold
    best = read_ensemble(run)
    assert (best.trials, best.chosen_without) == ((0,), ())
    assert best.nested.auc == baseline.nested.auc == pytest.approx(area(trials[0]))
    np.testing.assert_allclose(nested_of(run, best).probabilities, trials[0].probabilities)


def test_a_baseline_that_is_better_is_shipped_although_chance_can_explain_it(tmp_path):
    trials = pool(1.5, 0.2, 0.2, 0.2, 0.2, 0.2)
    run = run_of(tmp_path, trials)
    single, average, baseline = build_ensembles(run, methods=["average"], seed=0)
    assert average.nested.difference_high > 0
    assert average.nested.auc < baseline.nested.auc
    assert [one.is_chosen for one in (single, average, baseline)] == [False, False, True]
    assert read_ensemble(run) == read_ensemble(run, "baseline") == baseline
    assert (baseline.trials, baseline.baselines, baseline.chosen_without) == ((0,), (0,), ())
    np.testing.assert_allclose(nested_of(run, baseline).probabilities, trials[0].probabilities)
    assert (resolve_model(run).name, resolve_model(run).trials) == ("ensemble baseline", (0,))


def test_an_ensemble_that_does_better_is_shipped_as_if_there_were_no_baseline(tmp_path):
    trials = pool(0.2, 2.0, 2.0, 2.0)
    with_one, without = run_of(tmp_path / "with", trials), run_of(tmp_path / "without", trials, baselines=())
    texture = SIMPLEST | {"model.backbone": "texture"}
    without.write_record(without.record(0).model_copy(update={"config": texture}))
    found = [build_ensembles(run, methods=["average"], seed=0) for run in (with_one, without)]
    assert [one.method for one in found[0]] == ["best_single", "average", "baseline"]
    assert [one.method for one in found[1]] == ["best_single", "average"]
    ours, theirs = (read_ensemble(run) for run in (with_one, without))
    assert (ours.method, ours.trials, ours.chosen_without) == ("average", theirs.trials, ())
    assert (ours.nested.auc, ours.nested.fold_auc) == (theirs.nested.auc, theirs.nested.fold_auc)
    assert ours.threshold == theirs.threshold


def test_trials_that_are_all_on_colour_and_intensity_are_chosen_among_as_others(tmp_path):
    run = run_of(tmp_path, pool(1.0, 1.1), baselines=(0, 1))
    assert [one.method for one in build_ensembles(run, methods=["average"], seed=0)] == [
        "best_single",
        "average",
    ]


def test_of_several_baselines_the_best_without_each_fold_is_scored_and_the_best_is_shipped(tmp_path):
    run = run_of(tmp_path, pool(2.0, 3.0, 0.1, 0.1), baselines=(0, 1))
    build_ensembles(run, methods=["average"], seed=0)
    best = read_ensemble(run)
    assert (best.method, best.trials, best.baselines) == ("baseline", (1,), (1, 0))


def scored(method, out_of_fold, difference=None):
    given = Interval(0.5, 0.4, 0.6)
    return EnsembleScore(method, out_of_fold, given, given, (0.5,), difference, {})


def with_folds_of(one, other, folds):
    """Predictions that are those of another model in some folds."""
    taken = np.isin(one.folds, folds)
    return dataclasses.replace(
        one, probabilities=np.where(taken[:, None], other.probabilities, one.probabilities)
    )


@pytest.fixture
def undecided():
    """An ensemble and a baseline; the ensemble is better by what it does in fold 2 alone."""
    trials = pool(1.0, 1.0)
    better = pool(1.0, 6.0)[1]
    ensemble = with_folds_of(trials[0], better, [2])
    return [scored("best_single", trials[1]), scored("average", ensemble), scored("baseline", trials[0])]


def test_where_the_folds_do_not_agree_the_score_is_that_of_the_choice(undecided):
    _, ensemble, baseline = undecided
    found = choose(undecided, seed=0)
    assert found.method == "average"
    assert found.chosen_without == ("average", "average", "baseline", "average", "average")
    assert area(ensemble.out_of_fold) > area(baseline.out_of_fold)
    # What made the difference is not among what the choice may claim: without fold 2 nothing spoke for it.
    assert found.auc.estimate == pytest.approx(area(baseline.out_of_fold))


def test_a_choice_between_two_that_are_equal_in_truth_promises_no_more_than_they_hold():
    gained, claimed = [], []
    for seed in range(40):
        trials = simulate(trials=2, images=120, seed=seed)
        pair = [scored("best_single", trials[0]), scored("average", trials[1]), scored("baseline", trials[0])]
        found = choose(pair, seed=0)
        own = {"average": trials[1], "baseline": trials[0]}[found.method]
        gained.append(area(own))
        claimed.append(area(found.out_of_fold))
    truth = np.mean(
        [area(one) for seed in range(40) for one in simulate(trials=2, images=120, seed=seed).values()]
    )
    assert np.mean(gained) > truth + 0.01  # the higher of two is too high
    assert abs(np.mean(claimed) - truth) < 0.5 * (np.mean(gained) - truth)


def test_of_equals_the_baseline_is_shipped_unless_the_ensemble_is_the_baseline():
    one = pool(1.0)[0]
    moved = dataclasses.replace(one, probabilities=0.5 + 0.5 * (one.probabilities - 0.5))
    single = scored("best_single", one)
    assert choose([single, scored("average", moved), scored("baseline", one)], seed=0).method == "baseline"
    assert choose([single, scored("average", one), scored("baseline", one)], seed=0).method == "average"


def test_an_ensemble_that_is_clearly_worse_than_the_best_trial_gives_way_to_it():
    good, bad = pool(2.0, 0.3).values()
    worse = Interval(-0.2, -0.3, -0.1)
    pair = [scored("best_single", good), scored("average", bad, worse)]
    assert choose(pair, seed=0).method == "best_single"
    by_loss = Objectives(("log_loss",))
    assert choose(pair, seed=0, objectives=by_loss).method == "average"  # a lower loss is better
    pair[1] = scored("average", bad, Interval(-0.1, -0.3, 0.1))
    assert choose(pair, seed=0).method == "average"


def test_a_requirement_counts_before_the_score():
    good, bad = pool(3.0, 1.0).values()
    both = [scored("best_single", bad), scored("average", bad), scored("baseline", good)]
    asked = Objectives(("auc",), (parse_requirement("ms_per_image<=10"),))
    fast, slow = {"ms_per_image": 1.0}, {"ms_per_image": 50.0}
    assert choose(both, seed=0, objectives=asked, costs=[fast, fast, slow]).method == "average"
    assert choose(both, seed=0, objectives=asked, costs=[fast, slow, slow]).method == "best_single"


@pytest.fixture
def divided(tmp_path) -> RunFolder:
    """A run in which the ensemble is better than the baseline by what it does in one fold."""
    trials, better = pool(1.5, 0.4, 0.4), pool(1.0, 9.0)[1]
    trials = {number: with_folds_of(own, better, [2]) if number else own for number, own in trials.items()}
    return run_of(tmp_path, trials)


def test_a_divided_choice_is_kept_made_again_and_told(divided):
    built = build_ensembles(divided, methods=["average"], seed=0)
    best = read_ensemble(divided)
    assert {*best.chosen_without} == {"average", "baseline"}
    nested = nested_of(divided, best)
    assert area(nested) == pytest.approx(best.nested.auc)
    alone = nested_again(pool_of(divided, best), best, is_of_choice=False)
    assert area(alone) != pytest.approx(best.nested.auc)
    others = {one.method: nested_of(divided, one) for one in built if not one.is_chosen} | {
        best.method: alone
    }
    again = by_fold(others, best.method, best.chosen_without)
    np.testing.assert_array_equal(nested.probabilities, again.probabilities)
    own_threshold, _ = out_of_fold_of(divided, ensemble=best.method, is_of_choice=False)
    np.testing.assert_array_equal(own_threshold.probabilities, alone.probabilities)
    swept = sweep(alone.labels, cross_fit(alone, metrics=()).probabilities, chosen=best.rule.threshold)
    assert [one.found for one in sweep_of(divided).decisions] == [one.found for one in swept]
    words = str(ensemble_table(built).caption)
    other = next(method for method in best.chosen_without if method != best.method)
    folds = best.chosen_without.count(other)
    assert f"Without {folds} of 5 folds {other} would have been chosen" in words


def test_what_all_folds_agree_on_is_predicted_once_for_what_is_asked_of_its_decisions(tmp_path, monkeypatch):
    run = run_of(tmp_path, pool(0.2, 2.0, 2.0, 2.0))
    build_ensembles(run, methods=["average"], seed=0)
    best, asked = read_ensemble(run), Operation(at=parse_operating_point("sensitivity=0.9"))
    wanted = out_of_fold_metrics(nested_of(run, best), objectives_of(run.search()).at(asked))
    predicted = []

    def counting(*arguments, **options):
        predicted.append(arguments)
        return nested_again(*arguments, **options)

    monkeypatch.setattr(selected_model, "nested_again", counting)
    found = resolve_model(run, operation=asked)
    assert (best.chosen_without, len(predicted)) == ((), 1)
    assert wanted.items() <= found.metrics.items()


def test_the_threshold_of_a_divided_choice_is_that_of_what_is_shipped(divided):
    build_ensembles(divided, methods=["average"], seed=0)
    best = read_ensemble(divided)
    alone = best.model_copy(update={"chosen_without": ()})
    divided.write_json(divided.ensemble_file("best"), alone.model_dump(mode="json"))
    asked = Operation(at=parse_operating_point("sensitivity=0.9"))
    wanted = resolve_model(divided, operation=asked)
    divided.write_json(divided.ensemble_file("best"), best.model_dump(mode="json"))
    found = resolve_model(divided, operation=asked)
    assert found.rule == wanted.rule
    assert found.metrics != wanted.metrics


def test_the_baseline_is_scored_by_the_folds_that_did_not_choose_it():
    trials = pool(1.0, 1.2, 0.1, 0.1)
    members = align(trials, baselines=[0, 1])
    *_, found = nested_evaluation(members, ["average"], max_members=2, seed=0)
    assert found.method == "baseline"
    for fold in range(5):
        own, others = trials[0].folds == fold, trials[0].folds != fold
        best = max((0, 1), key=lambda number: area(trials[number].where(others)))
        np.testing.assert_allclose(found.out_of_fold.probabilities[own], trials[best].probabilities[own])
    assert isinstance(found.out_of_fold, OutOfFold)
