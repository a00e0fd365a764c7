"""Tables, sentences and messages name what is counted: images where patients are not known, or units."""

import io

import numpy as np
import pytest
from rich.console import Console
from simulated_run import make_run

from results.ensembles.against_baseline import baseline_verdict
from results.errors import ScoreError
from results.export.precision_record import Distillation, LowerPrecision
from results.run.records import OutOfFold
from results.scores.calibration import sigmoid
from results.scores.calibration_update import fit_update
from results.scores.decision_curve import decision_curve
from results.scores.decision_curve_table import decision_curve_table
from results.scores.interval import Interval
from results.scores.judged_images import JudgedImages
from results.scores.leaderboard import leaderboard
from results.scores.leaderboard_table import leaderboard_table
from results.scores.model_comparison import NamedPredictions, compare_models
from results.scores.model_comparison_table import comparison_table
from results.scores.overtuning import overtuning_of
from results.scores.overtuning_table import overtuning_table
from results.scores.ranking import BY_AUC
from results.scores.selection import selected_again
from results.scores.strata import score_strata
from results.scores.strata_table import sentences_of
from results.scores.triage import fit_triage, parse_triage
from trainables.data.group_names import named_by_rows


def trial(seed, *, images=48, together=1, folds=4, strength=1.0):
    """Predictions of a set without patients, of which `together` images stay in one part each."""
    rows = np.arange(images)
    labels = rows // together % 2
    value = strength * labels + np.random.default_rng(seed).normal(size=images)
    probabilities = np.stack([sigmoid(-value), sigmoid(value)], axis=1)
    groups = named_by_rows((rows // together * together).tolist())
    return OutOfFold(rows, labels, rows // (2 * together) % folds, groups, probabilities)


def few_of_one_class(images=8):
    one = trial(0, images=images, folds=2)
    labels = (np.arange(images) == images - 1).astype(np.int64)
    return OutOfFold(one.rows, labels, one.folds, one.groups, one.probabilities)


def shown(table):
    console = Console(file=io.StringIO(), width=80)
    console.print(table)
    return " ".join(console.file.getvalue().split())


@pytest.mark.parametrize(
    ("together", "counted", "paired"),
    [(1, "48 images that all", "Paired by image,"), (2, "of 24 image groups that", "Paired by image group,")],
)
def test_a_comparison_counts_images_or_their_groups(together, counted, paired):
    models = [NamedPredictions(str(seed), trial(seed, together=together)) for seed in range(2)]
    text = shown(comparison_table(compare_models(models, metric="auc", seed=0)))
    assert counted in text
    assert paired in text
    assert "patient" not in text


def test_a_comparison_of_breasts_counts_breasts():
    models = [NamedPredictions(str(seed), trial(seed)) for seed in range(2)]
    found = compare_models(models, metric="auc", seed=0, unit="breast")
    assert "48 breasts that all models predicted" in shown(comparison_table(found))


def test_a_leaderboard_warns_of_few_images(tmp_path):
    run = make_run(tmp_path, {number: trial(number, images=16) for number in range(2)})
    assert "Only 8 images of one class" in shown(leaderboard_table(leaderboard(run)))


def test_a_baseline_is_compared_by_images(tmp_path):
    run = make_run(tmp_path, {number: trial(number, strength=number) for number in range(2)})
    config = {"model.backbone": "intensity", "classical.name": "logistic"}
    run.write_record(run.record(0).model_copy(update={"config": config}))
    assert "paired by image and" in baseline_verdict(run).sentence()


def test_overtuning_is_over_images():
    found = overtuning_of([(number, trial(number)) for number in range(8)], BY_AUC, seed=0)
    for verdict in ("luck", "pays", "flat"):
        said = shown(overtuning_table(found.model_copy(update={"verdict": verdict, "luck_share": 0.5})))
        assert "image" in said
        assert "patient" not in said


def test_a_stratum_with_few_images_says_so():
    one = trial(0)
    called = one.probabilities.argmax(axis=1)
    judged = JudgedImages(one.labels, one.probabilities, one.probabilities, called, 0 * one.folds, one.groups)
    scores = score_strata(judged, {"site": np.where(one.rows < 3, "a", "b")}, ("benign", "malignant"), seed=0)
    assert scores.group_unit == "image"
    assert scores.strata[0].reason == "2 images with benign and 1 image with malignant; scores need 10"
    assert "Too few images for all scores of site a" in " ".join(sentences_of(scores))


def test_a_decision_curve_of_breasts_acts_on_breasts():
    one = trial(0)
    curve = decision_curve(one.labels, one.probabilities, one.groups, thresholds=[0.2])
    assert "of 100 images" in str(decision_curve_table(curve).caption)
    of_breasts = str(decision_curve_table(curve.model_copy(update={"unit": "breast"})).caption)
    assert "of 100 breasts" in of_breasts
    assert "Needed: breasts acted on" in of_breasts


def test_what_needs_more_groups_says_of_what():
    few = few_of_one_class()
    with pytest.raises(ScoreError, match="at least two images of each class, found 1"):
        selected_again([few], seed=0)
    with pytest.raises(ScoreError, match="at least 3 images of each class, found 1"):
        overtuning_of([(0, few)], BY_AUC, seed=0)
    with pytest.raises(ScoreError, match="a calibration needs 10 images of each class, found 1 of one"):
        fit_update(few.labels, few.probabilities, few.groups)
    with pytest.raises(ScoreError, match="can be promised from 49 images with the finding on, found 1"):
        fit_triage(few.labels, few.probabilities[:, 1], few.groups, parse_triage("missed=0.02,alarms=0.5"))


def test_a_change_of_a_model_of_breasts_is_measured_on_breasts():
    facts = {
        "images": 100,
        "unit": "breast",
        "how": "out of fold",
        "auc_before": 0.9,
        "auc_change": Interval(0.0, -0.01, 0.01),
        "changed_calls": 0.0,
        "largest_difference": 0.1,
        "max_auc_loss": 0.005,
        "max_changed_calls": 0.01,
    }
    lower = LowerPrecision(**facts, name="fp16", converted=3)
    student = Distillation(
        **facts, teacher="ensemble average", teacher_trials=(1, 2), trial=1, weight=0.5, seed=0
    )
    for change in (lower, student):
        assert "On 100 training breasts AUC" in change.sentences(None)[0]
