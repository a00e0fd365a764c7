"""What is searched decides: rank, members, chosen ensemble, threshold and reports, not the AUC."""

import json

import numpy as np
import pytest
from rich.console import Console
from simulated_run import make_run
from simulated_trials import simulate, simulate_two_kinds

from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import read_ensemble
from results.ensembles.members import align
from results.ensembles.methods import fit
from results.ensembles.tables import ensemble_table, ensembles_as_json
from results.predictors.selected_model import resolve_model
from results.predictors.test_evaluation import evaluation_table, score_test
from results.predictors.threshold_sweep import sweep_of, sweep_table
from results.scores.decision_rule import best_threshold
from results.scores.fold_scores import objective_value
from results.scores.leaderboard import leaderboard
from results.scores.leaderboard_table import leaderboard_table, rows_as_csv, rows_as_json
from results.scores.operating_point import Operation
from results.scores.ranking import Objectives, objectives_of, parse_requirement
from results.scores.selection import selected_again

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trials():
    found = simulate_two_kinds()
    for metric, remainder in (("auc", 0), ("f2", 1)):
        values = {number: objective_value(one, metric) for number, one in found.items()}
        assert [number % 2 for number in sorted(values, key=values.get)][2:] == [remainder] * 2
    return found


@pytest.fixture
def by_f2(tmp_path, trials):
    return make_run(tmp_path, trials, metrics=("f2",))


def shown(table):
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def ranked(rows):
    return [row.trial for row in rows if row.rank]


def test_the_leaderboard_ranks_by_what_is_searched(tmp_path, trials, by_f2):
    by_auc = make_run(tmp_path / "auc", trials)
    assert [number % 2 for number in ranked(leaderboard(by_auc))] == [0, 0, 1, 1]
    rows = leaderboard(by_f2)
    assert [number % 2 for number in ranked(rows)] == [1, 1, 0, 0]
    assert rows[0].tied is True
    assert rows[0].metric == "f2"
    assert rows[0].selected_value == pytest.approx(rows[0].value, abs=0.03)
    text = shown(leaderboard_table(rows, objectives=objectives_of(by_f2.search())))
    assert max(map(len, text.splitlines())) <= 80
    assert text.split()[2:8] == ["F2", "[95", "%]", "AUC", "BAcc", "settings"]


def test_the_trial_selected_again_is_selected_by_what_is_searched(trials):
    again = selected_again(list(trials.values()), seed=0, objectives=Objectives(("f2",)))
    assert objective_value(again, "f2") > 0.82
    assert objective_value(selected_again(list(trials.values()), seed=0), "f2") < 0.82


def test_members_method_and_threshold_of_an_ensemble_go_by_what_is_searched(by_f2, trials):
    built = build_ensembles(by_f2, max_members=2, methods=("average", "greedy"), seed=0)
    assert [set(one.trials) <= {1, 3} for one in built] == [True] * 3
    assert {one.nested.metric for one in built} == {"f2"}
    assert all(one.nested.interval.estimate == one.nested.metrics["f2"] for one in built)
    best = read_ensemble(by_f2)
    assert best.best_for == "f2"
    assert best.threshold == best.thresholds["f2"]
    assert best.rule.best_for == "f2"
    as_json = json.loads(json.dumps(ensembles_as_json(built)))
    assert {row["metric"] for row in as_json} == {"f2"}
    assert as_json[0]["value"] == built[0].nested.metrics["f2"]
    text = shown(ensemble_table(built, objectives_of(by_f2.search())))
    assert "F2 [95 %]" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_same_trials_searched_by_auc_give_other_members(tmp_path, trials):
    run = make_run(tmp_path, trials)
    built = build_ensembles(run, max_members=2, methods=("average",), seed=0)
    assert [set(one.trials) <= {0, 2} for one in built] == [True] * 2
    assert read_ensemble(run).best_for == "balanced_accuracy"


def test_weights_are_found_by_what_is_searched(trials):
    for method in ("greedy", "grid"):
        by_f2 = fit(method, align(trials, objectives=Objectives(("f2",))), 0)
        by_auc = fit(method, align(trials), 0)

        def value_of(rule, name):
            return objective_value(align(trials).out_of_fold(rule.combine(align(trials).probabilities)), name)

        assert value_of(by_f2, "f2") > value_of(by_auc, "f2"), method
        assert value_of(by_f2, "auc") < value_of(by_auc, "auc"), method


def test_the_shipped_model_and_its_reports_go_by_what_is_searched(by_f2, trials):
    build_ensembles(by_f2, max_members=2, methods=("average",), seed=0)
    model = resolve_model(by_f2)
    assert model.threshold == model.rule.thresholds["f2"]
    assert model.value.estimate == model.metrics["f2"]
    single = resolve_model(by_f2, trial=1)
    one = trials[1]
    wanted = best_threshold(one.labels, single.rule.calibration.apply(one.probabilities), metric="f2")
    assert single.threshold == wanted
    swept = sweep_of(by_f2, trial=1)
    assert next(step.threshold for step in swept.decisions if step.is_chosen) == pytest.approx(wanted)
    assert "the best one for F2" in " ".join(shown(sweep_table(swept)).split())
    evaluation = score_test(
        model, one.probabilities, one.labels, one.groups, training_shares=np.array([0.75, 0.25]), seed=0
    )
    assert next(iter(evaluation.metrics)) == "f2"
    text = " ".join(shown(evaluation_table(evaluation)).split())
    assert model.rule.thresholds["f1"] == model.threshold
    assert f"Decisions at {model.threshold:.3f}, best for F2; out of fold" in text
    operated = resolve_model(by_f2, operation=Operation.of(at="sensitivity=0.5"))
    evaluation = score_test(
        operated, one.probabilities, one.labels, one.groups, training_shares=np.array([0.75, 0.25]), seed=0
    )
    text = " ".join(shown(evaluation_table(evaluation)).split())
    assert "for sensitivity=0.5 out of fold, F2 and F1 at thresholds of their own; " in text


def test_a_loss_is_minimised_everywhere(tmp_path):
    trials = {**simulate(trials=2, strength=0.3, seed=1), 5: simulate(trials=1, strength=2.0, seed=2)[0]}
    labels = trials[0].labels
    trials[5] = simulate(trials=1, strength=2.0, seed=2, labels=labels)[0]
    run = make_run(tmp_path, trials, metrics=("log_loss",))
    rows = [row for row in leaderboard(run) if row.rank]
    assert rows[0].trial == 5
    assert rows[0].value == min(row.value for row in rows)
    assert [row.tied for row in rows] == [True, False, False]
    members = align(trials, objectives=Objectives(("log_loss",)))
    assert [members.trials[place] for place in members.order(1)] == [5]
    weights = fit("greedy", members, 0)
    assert weights.weights[2] == max(weights.weights)
    built = build_ensembles(run, max_members=3, methods=("average", "greedy"), seed=0)
    chosen = next(one for one in built if one.is_chosen)
    assert chosen.nested.value == min(one.nested.value for one in built[1:])
    assert chosen.best_for == "balanced_accuracy"


def test_two_metrics_have_a_front_in_every_report(tmp_path, trials):
    costs = {number: {"ms_per_image": 5.0 + number} for number in trials}
    run = make_run(tmp_path, trials, metrics=("auc", "ms_per_image"), costs=costs)
    objectives, rows = objectives_of(run.search()), leaderboard(run)
    front = {row.trial for row in rows if row.is_on_front}
    auc = {number: objective_value(one, "auc") for number, one in trials.items()}
    wanted = {
        number
        for number in trials
        if not any(
            (auc[other] >= auc[number] and other < number) or (auc[other] > auc[number] and other <= number)
            for other in trials
        )
    }
    assert front == wanted
    assert {row["trial"]: row["values"] for row in rows_as_json(rows)}[1] == {"ms_per_image": 6.0}
    assert "ms_per_image" in rows_as_csv(rows).splitlines()[0].split(",")
    text = shown(leaderboard_table(rows, objectives=objectives))
    assert "* on the front" in text
    assert "ms/image" in text
    assert max(map(len, text.splitlines())) <= 80
    built = build_ensembles(run, max_members=2, methods=("average",), seed=0)
    assert built[1].nested.metrics["ms_per_image"] == sum(5.0 + number for number in built[1].trials)
    assert built[0].nested.is_on_front is True  # the cheapest of the two
    text = " ".join(shown(ensemble_table(built, objectives)).split())
    assert "front: no other is better in all of auc, ms_per_image." in text
    assert "ms/image: the sum over members, at most." in text


def test_what_misses_a_requirement_ranks_behind_and_is_not_chosen(tmp_path, trials):
    run = make_run(tmp_path, trials, requirements=("recall>=0.9",))
    rows = leaderboard(run)
    assert [number % 2 for number in ranked(rows)] == [1, 1, 0, 0]
    assert [bool(row.missed) for row in rows if row.rank] == [False, False, True, True]
    assert rows[2].missed[0].startswith("recall 0.7")
    assert [row.tied for row in rows if row.rank][2:] == [None, None]
    text = " ".join(shown(leaderboard_table(rows, objectives=objectives_of(run.search()))).split())
    assert "3!" in text
    assert "! misses what was required (recall >= 0.9), so it ranks behind." in text
    built = build_ensembles(run, max_members=2, methods=("average",), seed=0)
    assert set(read_ensemble(run).trials) <= {1, 3}
    assert not any(one.nested.missed for one in built)


def test_a_bound_on_the_cost_leaves_the_single_trial_where_ensembles_are_too_slow(tmp_path, trials):
    costs = {number: {"ms_per_image": 15.0} for number in trials}
    asked = ("ms_per_image<=20",)
    run = make_run(tmp_path, trials, requirements=asked, costs=costs)
    built = build_ensembles(run, max_members=2, methods=("average",), seed=0)
    assert [one.nested.missed for one in built] == [(), ("ms_per_image 30 > 20",)]
    assert read_ensemble(run).method == "best_single"
    text = " ".join(shown(ensemble_table(built, objectives_of(run.search()))).split())
    assert "! misses a requirement (average: ms_per_image 30 > 20)." in text
    assert parse_requirement(asked[0]).violation(15.0) < 0


def test_a_file_of_an_earlier_version_shows_its_auc(tmp_path, trials):
    run = make_run(tmp_path, trials)
    (built, *_) = build_ensembles(run, max_members=2, methods=("average",), seed=0)
    old = built.model_dump(mode="json")
    for name in ("metric", "value", "low", "high", "missed", "is_on_front"):
        del old["nested"][name]
    del old["best_for"]
    again = type(built).model_validate(old)
    assert again.nested.interval.estimate == built.nested.auc
    assert again.rule.best_for == "balanced_accuracy"
