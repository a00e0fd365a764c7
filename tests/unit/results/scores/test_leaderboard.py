"""The leaderboard ranks complete trials, says how sure it is, and reads well in a terminal."""

import csv
import datetime
import io
import json

import numpy as np
import pytest
from rich.console import Console

from results.run.damage import damaged_trials
from results.run.records import OutOfFold, SearchRecord, TrialRecord
from results.run.run_folder import RunFolder
from results.scores.fold_scores import out_of_fold_metrics
from results.scores.leaderboard import Row, leaderboard
from results.scores.leaderboard_table import leaderboard_table, rows_as_csv, rows_as_json
from results.scores.metrics import mean_fold_auc
from results.scores.settings_text import settings_text
from trainables.common.errors import OneClassError

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
CONFIG = {
    "model": {"backbone": "efficientnet_lite0", "cut": "top+1", "trained_stages": "all"},
    "optimizer": {"name": "rmsprop", "lr": 0.000123},
}

SIMPLEST = {"model.backbone": "intensity", "classical.name": "logistic"}


def predictions(strength, noise=0, images=400, folds=5):
    """Scores of the same images with a noise of their own, two images a patient."""
    random = np.random.default_rng(0)
    patients = np.arange(images) // 2
    labels = random.permutation(np.arange(images) % 5 < 2).astype(np.int64)
    positive = 1 / (
        1 + np.exp(-(strength * (labels - 0.5) + np.random.default_rng(noise).normal(size=images)))
    )
    return OutOfFold(
        np.arange(images),
        labels,
        patients % folds,
        patients.astype(str),
        np.stack([1 - positive, positive], 1),
    )


def search_record(metric="auc"):
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
        metric=metric,
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


def keep(run, number, value, out_of_fold=None, **changes):
    asked = {"state": "complete", "trained_parameters": 1000, "wall_seconds": 12.5, "epochs": 9}
    asked |= {"config": CONFIG, **changes}
    run.write_record(
        TrialRecord(
            number=number,
            value=value,
            fingerprint="abc",
            seed=0,
            finished_at=NOW,
            **asked,
        )
    )
    if out_of_fold is not None:
        run.write_out_of_fold(number, out_of_fold)


@pytest.fixture
def empty_run(tmp_path):
    run = RunFolder(tmp_path / "benign_malignant" / "first")
    run.write_search(search_record())
    return run


@pytest.fixture
def run(empty_run):
    """Strong, nearly as strong, weak, pruned and failed trials, out of order."""
    keep(empty_run, 0, 0.60, predictions(0.3))
    keep(empty_run, 1, 0.85, predictions(1.50))
    keep(empty_run, 2, None, state="failed", cause="out_of_memory", error="CUDA out of memory")
    keep(empty_run, 3, 0.55, state="pruned", cause="pruner")
    keep(empty_run, 4, 0.84, predictions(1.50, noise=1))
    keep(empty_run, 5, 0.58, state="pruned", cause="collapse", collapsed_folds=(0,))
    return empty_run


def shown(rows, **choices):
    with io.StringIO() as text:
        Console(width=80, file=text).print(leaderboard_table(rows, **choices))
        return text.getvalue()


def test_of_very_many_trials_the_predictions_of_the_best_are_read_and_the_others_keep_rank_and_value(
    empty_run, monkeypatch
):
    for number in range(7):
        found = predictions(1.5, noise=number)
        keep(empty_run, number, 0.9 - 0.01 * number, found)
    keep(empty_run, 7, 0.5, predictions(0.2), config=SIMPLEST)
    keep(empty_run, 8, 0.4, predictions(0.1), config=SIMPLEST)
    every = leaderboard(empty_run)
    read, whole = [], RunFolder.predictions_of
    monkeypatch.setattr(
        RunFolder, "predictions_of", lambda run, record: (read.append(record.number), whole(run, record))[1]
    )
    monkeypatch.setattr("results.scores.leaderboard.MOST_COMPARED", 3)
    found = leaderboard(empty_run)
    assert read == [0, 1, 2, 7]  # and the best one on colour and intensity only, which is always shown
    assert [(row.rank, row.trial, row.value) for row in found] == [
        (row.rank, row.trial, row.value) for row in every
    ]
    assert [row.tied is None for row in found[:9]] == [False] * 3 + [True] * 6
    assert [row.auc is None for row in found[:9]] == [False] * 3 + [True] * 4 + [False, True]
    same = ("low", "high", "auc", "f2", "recall", "settings", "fewest_patients")
    for place in (0, 1, 2, 7):
        assert [getattr(found[place], name) for name in same] == [
            getattr(every[place], name) for name in same
        ]
    lines = shown(found, limit=4).splitlines()
    assert any("4  " in line and "0.87 " in line and "<" not in line for line in lines)
    assert len(list(csv.DictReader(io.StringIO(rows_as_csv(found))))) == 10


def test_complete_trials_are_ranked_and_the_others_follow_without_rank(run):
    found = [(row.rank, row.trial, row.state) for row in leaderboard(run)]
    assert found == [
        (1, 1, "complete"),
        (2, 4, "complete"),
        (3, 0, "complete"),
        (None, None, "reference"),
        (None, None, "baseline"),
        (None, 5, "pruned"),
        (None, 3, "pruned"),
        (None, 2, "failed"),
    ]


def test_of_equal_trials_the_smaller_ranks_first(empty_run):
    keep(empty_run, 0, 0.8, predictions(1.0), trained_parameters=500)
    keep(empty_run, 1, 0.8, predictions(1.0), trained_parameters=100)
    keep(empty_run, 2, 0.8, predictions(1.0), trained_parameters=None)
    assert [row.trial for row in leaderboard(empty_run)[:3]] == [2, 1, 0]  # one in closed form trained none


def test_a_loss_ranks_the_lowest_first(empty_run):
    empty_run.write_search(search_record(metric="log_loss"))
    keep(empty_run, 0, 0.9, predictions(1.0))
    keep(empty_run, 1, 0.3, predictions(1.0))
    assert [row.trial for row in leaderboard(empty_run)[:2]] == [1, 0]


def test_the_auc_is_the_mean_over_folds_with_its_spread(run):
    first, out_of_fold = leaderboard(run)[0], run.out_of_fold(1)
    areas = [
        mean_fold_auc(out_of_fold.labels[own], out_of_fold.probabilities[own], out_of_fold.folds[own])
        for own in (out_of_fold.folds == fold for fold in range(5))
    ]
    assert first.auc == pytest.approx(np.mean(areas))
    assert first.auc_sd == pytest.approx(np.std(areas, ddof=1))
    assert first.auc_low < first.auc < first.auc_high


def test_only_trials_that_chance_can_explain_are_tied_with_the_first(run):
    assert [row.tied for row in leaderboard(run)[:3]] == [True, True, False]


def test_every_complete_trial_has_an_interval_and_is_compared(run):
    rows = leaderboard(run)
    assert all(row.auc_low < row.auc < row.auc_high for row in rows[:3])
    assert [row.tied for row in rows[3:]] == [None] * 5


def test_rank_one_says_what_its_selection_is_worth_without_luck(empty_run):
    for number in range(30):
        kept = predictions(0.0, noise=number + 1, images=120, folds=4)
        keep(empty_run, number, float(mean_fold_auc(kept.labels, kept.probabilities, kept.folds)), kept)
    first, *others = leaderboard(empty_run)
    assert first.auc > 0.57
    assert first.selected_low < 0.5 < first.selected_high
    assert first.selected_value < first.auc - 0.03
    assert all(row.selected_value is None for row in others)
    words = " ".join(shown([first, *others], limit=5).split())
    assert f"selected anew without each fold, the best has {first.selected_value:.2f} [" in words


def test_few_patients_of_a_class_are_said(empty_run):
    keep(empty_run, 0, 0.7, predictions(1.0, images=20, folds=3))
    words = " ".join(shown(leaderboard(empty_run)).split())
    assert "of one class: every number is rough." in words


def test_scores_are_those_of_every_other_table(run):
    row, kept = leaderboard(run)[0], run.out_of_fold(1)
    metrics = out_of_fold_metrics(kept)
    assert (row.auc, row.f2, row.balanced_accuracy) == (
        metrics["auc"],
        metrics["f2"],
        metrics["balanced_accuracy"],
    )


def test_the_majority_row_does_not_look_better_in_f2_than_a_model_that_ranks(run):
    rows = leaderboard(run)
    majority_positive = 5 * 0.4 / (5 * 0.4 + 0.6)  # everything called positive
    assert rows[0].f2 > majority_positive - 0.02


def test_folds_that_collapsed_are_named_by_their_predictions_whatever_an_earlier_version_wrote(empty_run):
    one = predictions(1.0)
    probabilities = one.probabilities.copy()
    probabilities[one.folds == 3] = [0.9, 0.1]
    keep(
        empty_run,
        0,
        0.7,
        OutOfFold(one.rows, one.labels, one.folds, one.groups, probabilities),
        collapsed_folds=(1,),
    )
    rows = leaderboard(empty_run)
    assert rows[0].collapsed == (3,)
    assert "collapsed" in shown(rows)


def test_the_majority_baseline_is_always_there(run):
    baseline = next(row for row in leaderboard(run) if row.state == "baseline")
    assert (baseline.auc, baseline.balanced_accuracy, baseline.recall) == (0.5, 0.5, 0.0)
    assert baseline.accuracy == pytest.approx(0.6)


def test_the_baseline_of_a_metric_that_forgives_false_alarms_calls_all_positive(empty_run):
    empty_run.write_search(search_record(metric="f2"))
    keep(empty_run, 0, 0.7, predictions(1.0))
    baseline = next(row for row in leaderboard(empty_run) if row.state == "baseline")
    positives = predictions(1.0).labels.mean()
    assert (baseline.settings, baseline.recall) == ("always the positive class", 1.0)
    assert baseline.value == pytest.approx(5 * positives / (4 * positives + 1))


def test_a_single_fold_has_no_spread(empty_run):
    keep(empty_run, 0, 0.7, predictions(1.0, folds=1))
    assert leaderboard(empty_run)[0].auc_sd is None


def test_folds_without_two_classes_cannot_be_ranked(empty_run):
    one = predictions(1.0)
    keep(empty_run, 0, 0.7, OutOfFold(one.rows, one.labels, one.labels, one.groups, one.probabilities))
    with pytest.raises(OneClassError, match="two classes within a fold; none of the 2 folds has them"):
        leaderboard(empty_run)


def test_a_complete_trial_that_lost_its_predictions_is_left_out_as_a_damaged_one_is(empty_run):
    keep(empty_run, 0, 0.7)
    keep(empty_run, 1, 0.6, predictions(1.0))
    assert [row.trial for row in leaderboard(empty_run) if row.state == "complete" and row.rank] == [1]
    assert "trials/0000/oof.npz is damaged: it is not there" in str(damaged_trials(empty_run)[0])


def test_a_run_without_trials_says_so(empty_run):
    assert leaderboard(empty_run) == []
    assert "No trial has ended yet." in shown([])
    assert rows_as_csv([]).startswith("rank,trial,state")


def test_a_run_with_nothing_but_failures_still_lists_them(empty_run):
    keep(empty_run, 0, None, state="failed", cause="nan")
    assert "failed: nan" in " ".join(shown(leaderboard(empty_run)).split())


def test_csv_and_json_hold_every_field_and_no_nan(run):
    rows = leaderboard(run)
    as_json = json.loads(json.dumps(rows_as_json(rows), allow_nan=False))
    as_csv = list(csv.DictReader(io.StringIO(rows_as_csv(rows))))
    assert set(as_json[0]) == {*as_csv[0], "values"} == set(Row.__dataclass_fields__)
    assert [row["trial"] for row in as_json] == [1, 4, 0, None, None, 5, 3, 2]
    assert as_csv[7]["cause"] == "out_of_memory"
    assert as_csv[5]["collapsed"] == "0"
    assert float(as_csv[0]["auc"]) == rows[0].auc


def test_the_table_fits_eighty_columns_and_names_the_causes(run):
    text = shown(leaderboard(run))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    words = " ".join(text.split())
    for wanted in ("efficientnet_lite0", " 2= 4 ", "pruned: pruner", "failed: out_of_memory", "majority"):
        assert wanted in words


def test_a_limited_table_says_how_many_trials_it_leaves_out(run):
    rows = leaderboard(run)
    words = " ".join(shown(rows, limit=2).split())
    assert "4 more trials not shown" in words
    assert "majority" in words
    assert "pruner" not in words
    assert "pruner" in shown(rows, limit=None)


def test_settings_read_as_short_text():
    assert settings_text(CONFIG) == "efficientnet_lite0 top+1 train all rmsprop 0.00012"
    assert settings_text({"optimizer.lr": 2e-5}) == "2e-5"
    assert settings_text({}) == ""


def test_the_leaderboard_repeats(run):
    assert leaderboard(run) == leaderboard(run)


@pytest.mark.parametrize(
    ("settings", "is_optimistic"),
    [
        ({"training.checkpoint_metric": "metric"}, True),
        ({"training.early_stopping_scope": "fold"}, True),
        ({"training.keep_epoch_by": "metric"}, True),
        ({"training.checkpoint_metric": "unweighted_loss"}, False),
        ({"training.checkpoint_metric": "metric", "classical.name": "svm"}, False),
        ({}, False),
    ],
    ids=["by the metric", "fold by fold", "of an earlier version", "by another loss", "classical", "plain"],
)
def test_a_trial_whose_epoch_the_held_out_labels_chose_does_not_lead_in_silence(
    empty_run, settings, is_optimistic
):
    folds = ({"auc": 0.8}, {"auc": 0.7})
    keep(empty_run, 0, 0.7, predictions(1.0), config=settings, fold_metrics=folds)
    keep(empty_run, 1, 0.6, predictions(0.9), fold_metrics=folds)
    rows = leaderboard(empty_run)
    assert [row.is_optimistic for row in rows[:2]] == [is_optimistic, False]
    assert rows_as_json(rows)[0]["is_optimistic"] is is_optimistic
    text = " ".join(shown(rows).split())
    assert ("0†" in text) is is_optimistic
    assert ("† too high: held-out labels chose the epoch" in text) is is_optimistic


def test_a_hold_out_that_stops_by_itself_stops_by_its_mean(empty_run):
    settings = {"training.early_stopping_scope": "fold"}
    keep(empty_run, 0, 0.7, predictions(1.0, folds=1), config=settings, fold_metrics=({"auc": 0.8},))
    assert not leaderboard(empty_run)[0].is_optimistic
