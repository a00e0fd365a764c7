"""The sweep over thresholds: equal to sklearn at each, from out-of-fold predictions alone."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from finished_run import CONFIGS, make_run
from rich.console import Console
from simulated_run import make_run as simulated_run
from simulated_trials import simulate
from sklearn.metrics import accuracy_score, confusion_matrix, fbeta_score, precision_score, recall_score

from orchestrator.cli.main import main
from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import read_ensemble
from results.ensembles.members import align
from results.ensembles.nested import nested_predictions
from results.ensembles.out_of_fold import out_of_fold_of
from results.errors import EnsembleError, RunError
from results.predictors.threshold_sweep import (
    STEPS,
    sweep,
    sweep_as_csv,
    sweep_as_json,
    sweep_of,
    sweep_table,
)
from results.scores.decision_rule import cross_fit
from results.scores.operating_point import Operation
from trainables.common.errors import DataError

LABELS = np.array([0, 0, 1, 1, 0, 1, 1, 0])
POSITIVE = np.array([0.1, 0.42, 0.3, 0.8, 0.55, 0.7, 0.05, 0.2])


def both(positive):
    return np.stack([1 - positive, positive], axis=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("run"), {0: CONFIGS[0], 5: CONFIGS[0]})
    build_ensembles(run, methods=("average", "stack_logistic"), max_members=1, seed=0)
    return run


def test_every_score_is_that_of_sklearn():
    for one in sweep(LABELS, both(POSITIVE), chosen=0.46):
        called = (one.threshold <= POSITIVE).astype(int)
        assert one.accuracy == pytest.approx(accuracy_score(LABELS, called))
        assert one.recall == pytest.approx(recall_score(LABELS, called))
        assert one.precision == pytest.approx(precision_score(LABELS, called, zero_division=0))
        assert one.specificity == pytest.approx(recall_score(LABELS, called, pos_label=0))
        assert one.f1 == pytest.approx(fbeta_score(LABELS, called, beta=1))
        assert one.f2 == pytest.approx(fbeta_score(LABELS, called, beta=2))
        counts = [[one.passed, one.alarms], [one.missed, one.found]]
        np.testing.assert_array_equal(counts, confusion_matrix(LABELS, called))


def test_nineteen_steps_and_the_chosen_threshold_in_order():
    found = sweep(LABELS, both(POSITIVE), chosen=0.333)
    assert [one.threshold for one in found] == sorted([*STEPS, 0.333])
    assert [one.threshold for one in found if one.is_chosen] == [0.333]
    assert tuple(np.round(np.arange(0.05, 0.96, 0.05), 2)) == STEPS


def test_a_chosen_threshold_that_is_a_step_is_marked_there():
    found = sweep(LABELS, both(POSITIVE), chosen=0.35)
    assert [one.threshold for one in found if one.is_chosen] == [0.35]
    assert len(found) == 19


def test_probabilities_that_are_none_are_refused():
    with pytest.raises(DataError, match="probabilities lie in"):
        sweep(LABELS, both(POSITIVE + 1), chosen=0.5)


def test_a_trial_is_judged_by_probabilities_calibrated_on_the_other_folds(run):
    kept = run.out_of_fold(5)
    swept = sweep_of(run, trial=5)
    expected = sweep(kept.labels, cross_fit(kept).probabilities, chosen=0.5)
    by_threshold = {one.threshold: one for one in swept.decisions}
    assert [by_threshold[one.threshold].found for one in expected] == [one.found for one in expected]
    assert (swept.model, swept.positive) == ("trial 5", "malignant")


def test_an_ensemble_is_judged_by_predictions_that_it_was_not_fitted_on(run):
    pool = align({number: run.out_of_fold(number) for number in (0, 5)})
    nested = nested_predictions(pool, "stack_logistic", max_members=1, seed=0)
    expected = sweep(nested.labels, cross_fit(nested).probabilities, chosen=0.5)
    found = {one.threshold: one for one in sweep_of(run, ensemble="stack_logistic").decisions}
    assert [found[one.threshold].alarms for one in expected] == [one.alarms for one in expected]
    assert any(one.alarms not in (0, 16) for one in expected)


def test_the_test_part_has_no_part_in_it(run):
    kept = run.out_of_fold(0)
    for model in ({"trial": 0}, {"ensemble": "best"}):
        assert {one.found + one.missed for one in sweep_of(run, **model).decisions} == {
            int(kept.labels.sum())
        }
    assert not run.openings_file.exists()


def test_the_table_fits_eighty_columns_and_marks_one_threshold(run):
    console = Console(width=80, file=io.StringIO())
    console.print(sweep_table(sweep_of(run, trial=0)))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.lstrip().startswith("* 0.") for line in lines) == 1
    assert "trial 0, out of fold: malignant from this threshold on" in lines[0]


def test_a_row_whose_images_chose_the_threshold_is_said_to_be_too_good(run):
    swept = sweep_of(run, trial=0)
    assert "* was chosen on these images, so its row is a little too good" in sweep_table(swept).caption
    assert "too good" not in sweep_table(replace(swept, at=Operation.of(at="cost=10:1").at)).caption


def test_csv_and_json_hold_the_same_rows(run):
    swept = sweep_of(run, trial=0)
    as_json, as_csv = sweep_as_json(swept), list(csv.DictReader(io.StringIO(sweep_as_csv(swept))))
    assert [str(row["threshold"]) for row in as_json] == [row["threshold"] for row in as_csv]
    assert {"model", "is_chosen", "recall", "f2", "missed", "split"} < set(as_json[0])


def test_the_verb_prints_the_sweep(run, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["thresholds", str(run.path), "--trial", "0"]) == 0
    captured = capsys.readouterr()
    assert "0.95" in captured.out
    assert "SYNTHETIC" in captured.err


def test_more_than_two_classes_have_no_threshold(run, tmp_path):
    from results.run.run_folder import RunFolder

    other = RunFolder(tmp_path / "run")
    other.write_search(run.search().model_copy(update={"classes": ("normal", "benign", "malignant")}))
    with pytest.raises(RunError, match="thresholds belong to two classes; benign_malignant has 3"):
        sweep_of(other)


def test_an_ensemble_that_was_not_built_is_asked_for(run):
    with pytest.raises(EnsembleError, match="build it first with: orchestrate ensemble"):
        sweep_of(run, ensemble="greedy")


@pytest.mark.parametrize("at", [None, "ppv=0.05"])
def test_the_star_marks_what_an_ensemble_for_another_prevalence_calls(tmp_path, at):
    run = simulated_run(tmp_path, simulate(trials=1, images=2000, strength=1.5))
    build_ensembles(run, seed=0, operation=Operation.of(at=at, prevalence=0.01))
    ensemble, swept = read_ensemble(run), sweep_of(run)
    predictions, _ = out_of_fold_of(run, is_of_choice=False)
    called = cross_fit(
        predictions, searched=run.search().metrics, metrics=(), operation=ensemble.operation
    ).called
    (star,) = [one for one in swept.decisions if one.is_chosen]
    assert star.threshold == pytest.approx(ensemble.threshold)
    assert star.recall == pytest.approx(called[predictions.labels == 1].mean(), abs=0.03)
    assert star.specificity == pytest.approx(1 - called[predictions.labels == 0].mean(), abs=0.03)
    assert {one.prevalence for one in swept.decisions} == {0.01}
    assert {row["prevalence"] for row in sweep_as_json(swept)} == {0.01}


def test_the_caption_names_the_prevalence_that_thresholds_are_for(tmp_path):
    run = simulated_run(tmp_path, simulate(trials=1, images=400, strength=1.5))
    build_ensembles(run, seed=0)
    assert "prevalence" not in sweep_table(sweep_of(run)).caption
    assert sweep_of(run).prevalence is None
    build_ensembles(run, seed=0, operation=Operation.of(prevalence=0.006))
    assert "All thresholds are probabilities at prevalence 0.006; " in sweep_table(sweep_of(run)).caption


def test_a_sweep_at_another_prevalence_moves_the_odds_of_every_probability():
    moved = sweep(LABELS, both(POSITIVE), chosen=0.05, prevalence=0.1)  # half of the labels are positive
    here = sweep(LABELS, both(POSITIVE), chosen=0.05 * 9 / (0.05 * 9 + 0.95))
    (star,) = [one for one in moved if one.is_chosen]
    (same,) = [one for one in here if one.is_chosen]
    assert (star.found, star.alarms) == (same.found, same.alarms)
