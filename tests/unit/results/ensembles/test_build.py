"""Ensembles of a run folder: built, chosen, whole on disk, and shown in eighty columns."""

import dataclasses
import datetime
import json
import math

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console
from simulated_run import make_run, trial_record
from simulated_trials import simulate

from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import Ensemble, read_ensemble
from results.ensembles.members import align
from results.ensembles.methods import METHODS
from results.ensembles.out_of_fold import nested_of
from results.ensembles.tables import ensemble_table, ensembles_as_csv, ensembles_as_json
from results.errors import EnsembleError, OutdatedEnsembleError
from results.predictors.selected_model import resolve_model
from results.run.prediction_costs import ModelCost
from results.run.records import OutOfFold
from results.scores.fold_scores import out_of_fold_metrics
from results.scores.interval import Interval
from results.scores.operating_point import NOTHING_ASKED, Operation
from results.scores.ranking import objectives_of
from trainables.common.errors import UnknownNameError
from trainables.config.tasks import Task

pytestmark = pytest.mark.slow

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, simulate())


def shown(table):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(table)
    return console.export_text()


def test_ensembles_are_written_and_read_back(run):
    built = build_ensembles(run, max_members=3, seed=1)
    assert [ensemble.method for ensemble in built] == ["best_single", *METHODS]
    assert sum(ensemble.is_chosen for ensemble in built) == 1
    for ensemble in built:
        assert read_ensemble(run, ensemble.method) == ensemble
        assert 1 <= len(ensemble.trials) <= 3
        assert ensemble.calibration is not None
        assert 0 < ensemble.threshold < 1
        assert all(math.isfinite(value) for value in ensemble.nested.metrics.values())
    assert built[0].nested.difference is None
    assert read_ensemble(run) == next(ensemble for ensemble in built if ensemble.is_chosen)


def with_other_predictions(run, number):
    """Run a trial again, with another outcome."""
    found = run.out_of_fold(number)
    other = dataclasses.replace(found, probabilities=found.probabilities[:, ::-1].copy())
    run.write_out_of_fold(number, other)
    run.write_record(run.record(number).model_copy(update={"predictions_digest": other.digest}))


def test_an_ensemble_of_a_trial_that_was_run_again_is_refused_and_built_again(run):
    built = build_ensembles(run, methods=["average"], seed=0)
    members = built[1].trials
    with_other_predictions(run, members[0])
    said = rf"average\.json was built on other predictions of trial {members[0]} than .*orchestrate ensemble"
    with pytest.raises(OutdatedEnsembleError, match=said):
        read_ensemble(run, "average")
    build_ensembles(run, methods=["average"], seed=0)
    assert read_ensemble(run, "average").method == "average"


def test_an_ensemble_of_an_earlier_version_is_read_without_digests(run):
    (_, built) = build_ensembles(run, methods=["average"], seed=0)
    run.write_json(run.ensemble_file("average"), built.model_dump(mode="json", exclude={"digests"}))
    with_other_predictions(run, built.trials[0])
    assert read_ensemble(run, "average").digests == ()


def test_an_ensemble_whose_member_lost_its_predictions_is_read(run):
    (_, built) = build_ensembles(run, methods=["average"], seed=0)
    run.predictions_file(built.trials[0]).unlink()
    assert read_ensemble(run, "average") == built


def test_members_without_weight_are_dropped(tmp_path):
    trials = {0: simulate(trials=1, strength=-3.0)[0], 1: simulate(trials=1, strength=3.0)[0]}
    run = make_run(tmp_path, trials)
    build_ensembles(run, methods=["greedy"], seed=0)
    found = read_ensemble(run, "greedy")
    assert (found.trials, found.fitted.weights, found.pool) == ((1,), (1.0,), (1, 0))


def test_every_complete_trial_is_in_the_pool_and_only_those_with_weights_are_members(run):
    run.write_record(trial_record(0, value=0.99, has_weights=False))
    built = build_ensembles(run, methods=["average"], seed=0)
    assert set(built[0].pool) == {record.number for record in run.records()}
    assert all(0 not in ensemble.trials for ensemble in built)


def test_of_very_many_trials_the_best_are_in_the_pool_and_no_other_is_read(run, monkeypatch):
    read, whole = [], type(run).predictions_of

    def noted(run, record):
        read.append(record.number)
        return whole(run, record)

    monkeypatch.setattr(type(run), "predictions_of", noted)
    monkeypatch.setattr("results.ensembles.ground.MOST_COMPARED", 2)
    built = build_ensembles(run, methods=["average"], seed=0)
    ranked = sorted(run.records(), key=lambda record: (-record.value, record.number))
    assert len(ranked) > 2
    assert set(built[0].pool) == set(read) == {record.number for record in ranked[:2]}
    words = " ".join(str(ensemble_table(built).caption).split())
    assert "out of the 2 that all folds ranked first of 4 complete trials, and everything" in words


def test_named_trials_are_the_only_candidates(run):
    built = build_ensembles(run, trials=[1, 2], methods=["average"], seed=0)
    assert set(built[1].pool) == set(built[1].trials) == {1, 2}
    assert built[1].said_of_pool == "the trials that were named"


def test_a_limit_of_time_says_what_it_left(run):
    def measure(models):
        return {
            tuple(sorted(one)): ModelCost(core_ms=len(one), megabytes=1.0, trials=tuple(sorted(one)))
            for one in models
        }

    (*_, built) = build_ensembles(run, methods=["average"], seed=0, measure=measure, max_ms=2)
    assert built.said_of_pool == (
        "those of the 4 trials completed by then that kept their weights by the scores of all folds and "
        "answer within 2 ms"
    )


def test_an_ensemble_of_an_earlier_version_says_how_many_trials_it_knew(run):
    (*_, built) = build_ensembles(run, methods=["average"], seed=0)
    assert built.said_of_pool == "the 4 trials completed by then"
    known = built.model_dump(mode="json", exclude={"complete", "compared", "is_named", "recipe"})
    assert Ensemble.model_validate(known).said_of_pool == "the 4 trials completed by then"


def test_no_ensemble_of_an_earlier_build_stays_beside_those_of_the_last(run):
    asked = Operation.of(at="specificity=0.9")
    build_ensembles(run, seed=0, operation=asked)
    built = build_ensembles(run, methods=["average"], seed=0)
    assert {file.stem for file in run.ensembles.iterdir()} == {"best", "best_single", "average"}
    found = [read_ensemble(run, one.method) for one in built]
    (chosen,) = (one for one in found if one.is_chosen)
    assert read_ensemble(run) == chosen
    assert chosen.operation == NOTHING_ASKED


def test_requirements_are_judged_by_the_decisions_that_are_asked_for(tmp_path):
    asked = Operation.of(at="sensitivity=0.97")
    run = make_run(tmp_path, simulate(), requirements=("recall>=0.9",))
    objectives = objectives_of(run.search())
    for operation in (NOTHING_ASKED, asked):
        built = build_ensembles(run, methods=["average"], seed=0, operation=operation)
        for ensemble in built:
            wanted = out_of_fold_metrics(nested_of(run, ensemble), objectives.at(operation))
            assert ensemble.nested.metrics == pytest.approx(wanted)
            assert ensemble.nested.missed == objectives.missed(wanted)
        assert any(ensemble.nested.missed for ensemble in built) is (operation is NOTHING_ASKED)


def test_the_searched_metric_has_the_interval_of_the_decisions_that_are_asked_for(tmp_path):
    run = make_run(tmp_path, simulate(), metrics=("recall",))
    operation = Operation.of(at="specificity=0.9")
    (*_, built) = build_ensembles(run, methods=["average"], seed=0, operation=operation)
    assert built.nested.value == pytest.approx(built.nested.metrics["recall"])
    assert built.nested.low < built.nested.metrics["recall"] < built.nested.high
    again = resolve_model(run, ensemble="average", operation=Operation.of(at="specificity=0.6"))
    assert again.value.estimate == pytest.approx(again.metrics["recall"])
    assert again.metrics["recall"] > built.nested.metrics["recall"] + 0.1


def test_a_single_trial_is_an_ensemble_of_one_and_says_so(tmp_path):
    run = make_run(tmp_path, simulate(trials=1))
    built = build_ensembles(run, seed=0)
    assert [(one.method, one.trials, one.is_chosen) for one in built] == [("best_single", (0,), True)]
    assert read_ensemble(run).method == "best_single"
    assert "Only one trial can be a member" in " ".join(shown(ensemble_table(built)).split())


def with_a_dead_fold(predictions):
    probabilities = predictions.probabilities.copy()
    probabilities[predictions.folds == 1] = [0.7, 0.3]
    return dataclasses.replace(predictions, probabilities=probabilities)


def test_trials_with_one_score_for_a_whole_fold_are_no_members(tmp_path):
    trials = simulate()
    run = make_run(tmp_path, trials | {0: with_a_dead_fold(trials[0])})
    run.write_record(trial_record(0, value=0.99))
    assert all(0 not in one.trials for one in build_ensembles(run, methods=["average"], seed=0))


def test_trials_on_one_side_of_a_half_are_candidates_whatever_an_earlier_version_called_them(tmp_path):
    trials = simulate()
    positive = trials[0].probabilities[:, 1] / 4
    low = dataclasses.replace(trials[0], probabilities=np.stack([1 - positive, positive], axis=1))
    run = make_run(tmp_path, trials | {0: low})
    run.write_record(trial_record(0, value=0.99, collapsed_folds=(1,)))
    assert 0 in build_ensembles(run, methods=["average"], seed=0)[1].trials


def test_collapsed_trials_are_used_when_there_is_nothing_else_and_it_is_said(tmp_path):
    trials = simulate(trials=2)
    run = make_run(tmp_path, {number: with_a_dead_fold(own) for number, own in trials.items()})
    built = build_ensembles(run, methods=["average"], seed=0)
    assert built[1].collapsed == built[1].trials
    assert "Collapsed in some fold: trials 0, 1." in shown(ensemble_table(built))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": "pruned"}, "no trial of .* was completed, so there is no model of which anything"),
        ({"has_weights": False}, "kept their weights, found none among 4 complete ones"),
        ({"fingerprint": "other"}, r"trials \[0, 1, 2, 3\] were run on other data"),
    ],
)
def test_trials_that_cannot_be_members_say_what_to_do(tmp_path, changes, message):
    run = make_run(tmp_path, simulate(), **changes)
    with pytest.raises(EnsembleError, match=message):
        build_ensembles(run, seed=0)


def test_named_trials_must_have_been_completed(run):
    with pytest.raises(EnsembleError, match="needs a complete trial, found none among 0"):
        build_ensembles(run, trials=[99], seed=0)


def test_an_ensemble_needs_a_member(run):
    with pytest.raises(EnsembleError, match="at least 1 member, found members 0"):
        build_ensembles(run, max_members=0, seed=0)


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
    build_ensembles(run, methods=["average"], seed=0)
    found, members = read_ensemble(run), align(trials)
    combined = found.fitted.combine(members.only(found.trials).probabilities)
    positive = found.calibration.apply(combined)[:, 1]
    assert positive.mean() == pytest.approx(members.labels.mean(), abs=0.02)
    assert np.mean((positive >= found.threshold) == members.labels) > 0.75
    assert found.mean_calibration.slope > found.calibration.slope
    assert set(found.rule.thresholds) == {"f1", "f2"}


def test_a_hold_out_has_one_model_and_so_one_calibration(tmp_path):
    run = make_run(tmp_path, simulate(folds=1))
    for ensemble in build_ensembles(run, methods=["average"], seed=0):
        assert ensemble.mean_calibration == ensemble.calibration


def test_a_file_of_an_earlier_version_uses_its_only_calibration_for_the_mean_too(run):
    build_ensembles(run, methods=["average"], seed=0)
    kept = json.loads(run.ensemble_file("average").read_text())
    del kept["mean_calibration"], kept["thresholds"]
    rule = Ensemble.model_validate(kept).rule
    assert rule.mean_calibration == rule.calibration
    assert rule.threshold_of("f2") == rule.threshold


def test_tables_fit_eighty_columns_and_rows_are_plain(run):
    built = build_ensembles(run, seed=0)
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
    kept = build_ensembles(run, methods=[], seed=0)[0].model_dump()
    with pytest.raises(ValidationError, match="Extra inputs"):
        Ensemble.model_validate({**kept, "colour": "red"})


def of_three_classes():
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    trials = {}
    for number in range(3):
        logits = random.normal(0, 1, (90, 3)) + (1 + number) * np.eye(3)[labels]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        groups = np.array([f"p{row // 3}" for row in range(90)])
        trials[number] = OutOfFold(np.arange(90), labels, np.arange(90) // 3 % 4, groups, probabilities)
    return trials


def test_by_default_only_methods_for_as_many_classes_are_built(tmp_path):
    task = Task("grades", ("low", "middle", "high"), is_ordinal=True)
    run = make_run(tmp_path, of_three_classes())
    search = run.search()
    request = search.request.model_copy(update={"task": task.name, "own_task": task})
    run.write_search(search.model_copy(update={"request": request, "classes": task.classes}))
    built = build_ensembles(run, seed=0)
    assert [one.method for one in built] == ["best_single", "average", "greedy", "grid"]
    assert all({"quadratic_kappa", "class_distance"} <= set(one.nested.metrics) for one in built)
    assert "thresholds of their own" not in " ".join(shown(ensemble_table(built)).split())
    with pytest.raises(EnsembleError, match="a stacked ensemble needs two classes, found 3"):
        build_ensembles(run, methods=["stack_svm"], seed=0)


def test_two_classes_have_no_scores_of_an_order(run):
    built = build_ensembles(run, methods=["average"], seed=0)
    assert all("quadratic_kappa" not in one.nested.metrics for one in built)
