"""Luck is told from gain: by resampled selection, over the trials of a search, in a sentence and a curve."""

import json
from pathlib import Path

import numpy as np
import pytest
from finished_run import NOW
from simulated_run import make_run

from orchestrator import open_run
from orchestrator.cli.main import main
from results.errors import RunError, ScoreError
from results.run.records import OutOfFold
from results.run.test_accesses import TestAccess, record_access
from results.scores.calibration import sigmoid
from results.scores.overtuning import overtuning_of
from results.scores.overtuning_table import curve
from results.scores.ranking import BY_AUC, Objectives
from results.scores.resampled_selection import resample_selection

pytestmark = pytest.mark.slow


def trial(seed, strength=0.0, images=120, folds=4):
    labels, rows = np.arange(images) % 2, np.arange(images)
    value = strength * labels + np.random.default_rng(seed).normal(size=images)
    probabilities = np.stack([sigmoid(-value), sigmoid(value)], axis=1)
    return OutOfFold(rows, labels, rows // 2 % folds, rows.astype(str), probabilities)


def noise(trials=24, seed=0):
    return [(number, trial(1000 * seed + number)) for number in range(trials)]


def test_the_best_of_pure_noise_is_corrected_to_chance():
    found = [
        resample_selection([own for _, own in noise(seed=seed)], "auc", ("auc",), seed=0)
        for seed in range(12)
    ]
    assert np.mean([one.of_first(24).estimate for one in found]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([one.of_first(1).estimate for one in found]) == pytest.approx(0.5, abs=0.03)


def test_planted_overtuning_is_found_and_real_gain_is_not_called_luck():
    planted = [overtuning_of(noise(seed=seed), BY_AUC, seed=0) for seed in range(10)]
    assert sum(one.verdict == "luck" for one in planted) >= 9
    assert np.mean([one.optimism for one in planted]) > 0.06
    better = [(number, trial(number, strength=0.3 + 0.08 * number, images=200)) for number in range(24)]
    real = overtuning_of(better, BY_AUC, seed=0)
    assert real.verdict != "luck"
    assert real.gain.low > 0
    assert real.luck_share is not None
    assert real.luck_share < 0.4


@pytest.mark.parametrize("metric", ["balanced_accuracy", "log_loss", "average_precision"])
def test_every_kind_of_metric_is_judged(metric):
    objectives = Objectives((metric,))
    trials = [(number, trial(number, strength=0.2 + 0.5 * number, images=64)) for number in range(5)]
    found = overtuning_of(trials, objectives, seed=0)
    assert found.late_claimed > 0
    assert found.gain.estimate > 0
    assert found.stages[-1].best == 4


@pytest.mark.parametrize("metric", ["f2", "f1", "recall", "precision", "mcc", "balanced_accuracy"])
def test_draws_without_a_positive_patient_are_no_luck_of_the_selection(metric):
    labels = np.tile([0] * 9 + [1], 4)
    positive = np.where(labels == 1, 0.9, 0.1)
    same = OutOfFold(
        np.arange(40),
        labels,
        np.arange(40) // 10,
        np.arange(40).astype(str),
        np.stack([1 - positive, positive], axis=1),
    )
    found = overtuning_of([(number, same) for number in range(8)], Objectives((metric,)), seed=0)
    assert found.claimed.estimate == found.corrected.estimate == 1.0
    assert found.optimism == 0.0
    assert found.verdict != "luck"


def test_a_winner_of_the_first_half_has_settled_the_search():
    trials = [(0, trial(0)), (1, trial(1, strength=3.0)), *noise(8, seed=3)[2:]]
    found = overtuning_of(trials, BY_AUC, seed=0)
    assert found.verdict == "settled"
    assert "Trial 1 was the best after" in found.sentence


def test_few_trials_and_few_patients_say_that_nothing_can_be_claimed():
    assert "say nothing about longer searches" in overtuning_of(noise(3), BY_AUC, seed=0).sentence
    one = trial(0, images=8, folds=2)
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    few = OutOfFold(one.rows, labels, one.folds, one.groups, one.probabilities)
    with pytest.raises(ScoreError, match="at least 3 patients of each class, found 2"):
        overtuning_of([(0, few)], BY_AUC, seed=0)


def test_the_curve_fits_a_terminal_and_holds_what_it_explains():
    text = curve(overtuning_of(noise(), BY_AUC, seed=0))
    assert max(map(len, text.splitlines())) <= 80
    assert all(mark in text for mark in ("o", "*", "-", "24 trials"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    return make_run(tmp_path_factory.mktemp("run"), dict(noise(10)))


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_the_verb_prints_it_and_tensorboard_gets_the_curve(run, capsys, form):
    assert main(["overtuning", str(run.path), "--format", form]) == 0
    printed = capsys.readouterr().out
    if form == "table":
        assert max(map(len, printed.splitlines())) <= 80
        assert "best trial" in printed
    elif form == "json":
        assert json.loads(printed)["verdict"] in ("luck", "settled", "flat", "pays")
    else:
        assert len(printed.splitlines()) == 11
    assert list((run.tensorboard / "search").glob("*.overtuning"))


def test_the_score_of_the_sealed_part_says_of_which_model_and_which_look_it_is(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)  # the record names its store by a relative path
    interval = {"estimate": 0.7, "low": 0.6, "high": 0.8}
    access = TestAccess.of(
        np.array(["p"]), run=run.path, by="a test", when=NOW, model="trial 3", trials=(3,), threshold=0.5
    )
    record_access(run, access.opened)
    record_access(run, access.opened | {"result": {"metrics": {"auc": interval}, "opening": 2}})
    try:
        found = open_run(run.path).overtuning()
        assert (found.sealed_model, found.sealed_opening) == ("trial 3", 2)
        assert main(["overtuning", str(run.path)]) == 0
        assert "trial 3, at opening number 2" in " ".join(capsys.readouterr().out.split())
    finally:
        run.openings_file.unlink()


def test_it_is_there_from_python(run):
    assert open_run(run.path).overtuning().metric == "auc"


def test_a_run_of_pruned_trials_only_says_what_cannot_be_claimed(tmp_path: Path):
    run = make_run(tmp_path, dict(noise(2)), state="pruned")
    with pytest.raises(RunError, match="nothing can be claimed"):
        open_run(run.path).overtuning()
