"""Opening the sealed test part: logged before a label is used, scored with intervals over patients."""

import csv
import errno
import io
import json
import os
import shutil
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from finished_run import NOW, search_record
from rich.console import Console
from sklearn.metrics import fbeta_score, roc_auc_score

from orchestrator.report.sections.test_part import TEST
from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import read_ensemble
from results.ensembles.weighted_mean import WeightedMean
from results.errors import EnsembleError, RunError
from results.predictors import test_evaluation
from results.predictors.selected_model import resolve_model
from results.predictors.test_evaluation import (
    TestEvaluation,
    evaluate_test,
    evaluation_as_csv,
    evaluation_as_json,
    evaluation_table,
    first_look,
    score_test,
)
from results.run.records import OutOfFold, TrialRecord
from results.run.run_folder import RunFolder
from results.run.split_labels import NAIVE_WARNING
from results.run.test_accesses import SealedPatients, read_accesses, record_access
from results.scores.calibration import sigmoid
from results.scores.metrics import STANDARD, mean_fold_auc
from results.scores.operating_point import Operation
from trainables.common.errors import DataError, OneClassError
from trainables.data.group_names import named_by_rows

pytestmark = pytest.mark.slow

TEST_ROWS = np.arange(100, 160)
LABELS = np.arange(60) % 2
GROUPS = np.array([f"p{row // 4}" for row in range(60)])


def predict(rows):
    noise = np.random.default_rng(1).normal(size=len(rows))
    positive = sigmoid(1.5 * (rows % 2 - 0.5) + noise)
    return np.stack([1 - positive, positive], axis=1)


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.write_search(search_record("abc", tmp_path / "store"))
    random = np.random.default_rng(0)
    rows = np.arange(100)
    for number in range(2):
        positive = sigmoid(rows % 2 + random.normal(size=100))
        probabilities = np.stack([1 - positive, positive], axis=1)
        kept = OutOfFold(rows, rows % 2, rows // 2 % 4, (rows // 2).astype(str), probabilities)
        run.write_out_of_fold(number, kept)
        value = float(mean_fold_auc(kept.labels, kept.probabilities, kept.folds))
        run.write_record(
            TrialRecord(
                number=number,
                state="complete",
                config={},
                value=value,
                fingerprint="abc",
                seed=0,
                has_weights=True,
                finished_at=NOW,
            )
        )
    build_ensembles(run, methods=("average",), seed=0)
    return run


def evaluate(run, **changes):
    asked = {
        "predict": predict,
        "test_rows": TEST_ROWS,
        "labels": LABELS,
        "groups": GROUPS,
        "by": "orchestrate evaluate first",
        "now": NOW,
        "training_shares": np.array([0.5, 0.5]),
    }
    return evaluate_test(run, **{**asked, **changes})


def test_the_scores_are_those_of_sklearn_at_the_ensembles_threshold(run):
    found = evaluate(run)
    positive = predict(TEST_ROWS)[:, 1]
    decided = positive >= found.threshold
    assert found.model == "ensemble average"
    assert found.metrics["auc"].estimate == pytest.approx(roc_auc_score(LABELS, positive))
    for_f2 = positive >= found.thresholds["f2"]
    assert found.metrics["f2"].estimate == pytest.approx(fbeta_score(LABELS, for_f2, beta=2))
    assert found.metrics["accuracy"].estimate == pytest.approx((decided == LABELS).mean())
    assert found.confusion == (
        (int((~decided & (LABELS == 0)).sum()), int((decided & (LABELS == 0)).sum())),
        (int((~decided & (LABELS == 1)).sum()), int((decided & (LABELS == 1)).sum())),
    )
    assert found.groups == 15
    assert found.counts == {"benign": 30, "malignant": 30}


def test_every_metric_has_an_interval_an_expectation_and_a_baseline(run):
    found = evaluate(run)
    assert set(found.metrics) == set(found.expected) == set(found.baseline) == set(STANDARD)
    for interval in found.metrics.values():
        assert interval.low < interval.high
        assert interval.holds(interval.estimate)
    assert found.baseline["auc"] == 0.5


def test_intervals_resample_patients_not_images(run):
    of_patient = np.repeat(np.arange(15), 4)  # images of a patient share label and prediction
    asked = {"labels": of_patient % 2, "predict": lambda rows: predict(np.arange(15))[of_patient]}
    by_patient = evaluate(run, **asked)
    by_image = evaluate(run, **asked, groups=np.arange(60).astype(str))
    for name in ("auc", "accuracy", "brier"):
        patient, image = by_patient.metrics[name], by_image.metrics[name]
        assert patient.high - patient.low > 1.3 * (image.high - image.low)


def test_a_single_trial_is_evaluated_with_a_decision_rule_of_its_own(run):
    found = evaluate(run, ensemble=None, trial=1)
    assert found.model == "trial 1"
    assert found.trials == (1,)
    assert 0 < found.threshold < 1


# -- the log


def test_the_opening_is_on_disk_before_anything_is_predicted(run):
    def look(rows):
        (opening,) = read_accesses(run)
        assert opening.by == "orchestrate evaluate first"
        assert opening.when == NOW
        assert opening.model == "ensemble average"
        assert opening.images == 60
        assert opening.result is None
        return predict(rows)

    found = evaluate(run, predict=look)
    (opening,) = read_accesses(run)
    assert TestEvaluation.model_validate(opening.result) == found
    assert len(run.openings_file.read_text().splitlines()) == 2


def test_an_opening_that_failed_stays_on_record(run):
    def fail(rows):
        raise MemoryError

    with pytest.raises(MemoryError):
        evaluate(run, predict=fail)
    assert [opening.result for opening in read_accesses(run)] == [None]
    assert evaluate(run).opening == 2


def test_openings_are_counted(run):
    assert read_accesses(run) == []
    assert [evaluate(run).opening for _ in range(3)] == [1, 2, 3]
    assert len(read_accesses(run)) == 3


def test_the_second_of_two_looks_at_once_is_not_called_the_first(run, monkeypatch):
    def together(run, entry):
        if "result" not in entry:
            monkeypatch.setattr(test_evaluation, "record_access", record_access)
            assert evaluate(run).opening == 1
        record_access(run, entry)

    monkeypatch.setattr(test_evaluation, "record_access", together)
    assert evaluate(run, now=NOW + timedelta(seconds=1)).opening == 2


def test_looks_at_the_same_patients_are_counted_over_all_runs_in_the_store(run, tmp_path):
    other = RunFolder(tmp_path / "other")
    shutil.copytree(run.path, other.path)
    assert [evaluate(one).opening for one in (run, other, run)] == [1, 2, 3]
    assert len(read_accesses(other)) == 1
    assert len(read_accesses(other, patients=SealedPatients.of(GROUPS))) == 3
    others = np.array([f"q{row // 4}" for row in range(60)])
    assert evaluate(other, groups=others).opening == 2  # its own first look; other patients were sealed


def test_a_log_that_cannot_be_written_keeps_the_test_part_closed(run, tmp_path):
    (tmp_path / "store").mkdir(exist_ok=True)
    (tmp_path / "store" / "test_openings").write_text("in the way")
    with pytest.raises(RunError, match="the test part stays closed, since the log of its openings cannot be"):
        evaluate(run)


def test_a_log_of_which_one_part_cannot_be_written_counts_no_look(run):
    run.openings_file.symlink_to("missing/file")  # cannot be appended to, as one of a read-only run folder
    with pytest.raises(RunError, match="the test part stays closed"):
        evaluate(run)
    run.openings_file.unlink()
    assert evaluate(run).opening == 1


def test_a_look_at_some_of_the_patients_is_a_look(run, tmp_path):
    other = RunFolder(tmp_path / "other")
    shutil.copytree(run.path, other.path)
    evaluate(run)
    some = np.array([*GROUPS[:8], *(f"q{row // 4}" for row in range(52))])
    assert evaluate(other, groups=some).opening == 2
    assert not any(f'"{name}"' in run.openings_file.read_text() for name in set(GROUPS))


def test_a_perfect_score_of_few_patients_has_an_interval_that_says_how_few(run):
    labels = np.array([0] * 5 + [1] * 5)
    found = evaluate(
        run,
        test_rows=TEST_ROWS[:10],
        labels=labels,
        groups=np.arange(10).astype(str),
        predict=lambda rows: np.stack([1 - labels, labels], axis=1) * 0.98 + 0.01,
    )
    for name in ("auc", "recall", "specificity", "accuracy", "average_precision", "f2", "balanced_accuracy"):
        assert found.metrics[name].estimate == 1.0
        assert found.metrics[name].low < 0.8, name
    console = Console(width=80, file=io.StringIO())
    console.print(evaluation_table(found))
    assert "Only 5 patients of one class: every number is rough." in " ".join(console.file.getvalue().split())


def test_the_majority_row_is_the_majority_of_the_training_part(run):
    found = evaluate(run, training_shares=np.array([0.7, 0.3]))
    assert (found.baseline["recall"], found.baseline["specificity"]) == (0.0, 1.0)


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"opening": "a"}'])
def test_a_damaged_log_is_never_passed_over(run, line):
    evaluate(run)
    with run.openings_file.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RunError, match=r"is damaged at .*; it is the record of who looked at the test part"):
        read_accesses(run)


def test_a_full_disk_leaves_no_half_line_that_closes_the_log(run, monkeypatch):
    evaluate(run)
    before = run.openings_file.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match=r"the test part stays closed, since .*No space left on device"):
            record_access(run, {"opening": "b" * 9000})
    shared = next((run.path.parent / "store" / "test_openings").iterdir())
    assert run.openings_file.read_bytes() == shared.read_bytes() == before
    assert evaluate(run).opening == 2


def test_lines_are_appended_and_never_replaced(run):
    record_access(run, {"opening": "a"})
    record_access(run, {"opening": "b"})
    assert [json.loads(line)["opening"] for line in run.openings_file.read_text().splitlines()] == ["a", "b"]


def test_a_line_is_flushed_to_the_disk_itself(run, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_ino))
    record_access(run, {"opening": "a"})
    shared = next((run.path.parent / "store" / "test_openings").iterdir())
    assert flushed == [
        run.path.stat().st_ino,
        shared.parent.stat().st_ino,
        run.openings_file.stat().st_ino,
        shared.stat().st_ino,
    ]


def test_a_model_that_does_not_exist_opens_nothing(run):
    with pytest.raises(EnsembleError, match="no ensemble 'grid'"):
        evaluate(run, ensemble="grid")
    assert not run.openings_file.exists()


def test_a_run_without_test_part_opens_nothing(run):
    with pytest.raises(RunError, match="has no test part: no image was sealed"):
        evaluate(run, test_rows=TEST_ROWS[:0], labels=LABELS[:0], groups=GROUPS[:0])
    assert not run.openings_file.exists()


def test_predictions_of_other_rows_are_refused(run):
    with pytest.raises(DataError, match="predictions need labels of shape"):
        evaluate(run, predict=lambda rows: predict(rows)[:-1])


def test_a_test_part_of_one_class_is_refused_and_stays_unopened(run):
    with pytest.raises(OneClassError, match=r"images of the test part .* are of one class"):
        evaluate(run, labels=np.zeros(60, dtype=np.int64))
    assert not run.openings_file.exists()
    assert evaluate(run).opening == 1


# -- whose scores they are


def test_scores_are_of_the_model_with_the_decisions_that_were_scored(run):
    cost = Operation.of(at="cost=10:1")
    evaluate(run, operation=cost)
    there = resolve_model(run, operation=Operation.of(at="cost=10:1", prevalence=0.006))
    here = resolve_model(run, operation=cost)
    assert here.threshold == there.threshold == pytest.approx(1 / 11)
    access, found = first_look(run, here)
    assert (access.model_digest, found.operation.at) == (here.digest, cost.at)
    assert first_look(run, there) is None
    assert first_look(run, resolve_model(run)) is None


@pytest.mark.parametrize("is_earlier", [False, True])
@pytest.mark.parametrize("asked", [{"trial": 1}, {"ensemble": "average"}])
def test_scores_of_weights_that_are_gone_are_no_scores_of_those_that_took_their_place(run, asked, is_earlier):
    asked = asked | {"operation": Operation.of(at="cost=10:1")}  # whose threshold is that of any model
    evaluate(run, **({"ensemble": None} | asked))
    if is_earlier:
        lines = [json.loads(line) for line in run.openings_file.read_text().splitlines()]
        for line in lines:
            del line["model_digest"]
        run.openings_file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    _, found = first_look(run, resolve_model(run, **asked))
    assert found.opening == 1
    kept = run.out_of_fold(1)
    again = np.clip(kept.probabilities + np.array([[0.01, -0.01]]) * (kept.rows % 3)[:, None], 0.001, 0.999)
    run.write_out_of_fold(1, replace(kept, probabilities=again / again.sum(axis=1, keepdims=True)))
    build_ensembles(run, methods=("average",), seed=0)
    assert resolve_model(run, **asked).threshold == found.threshold
    assert first_look(run, resolve_model(run, **asked)) is None


def test_an_ensemble_that_weighs_its_members_otherwise_is_another_model(run):
    found = read_ensemble(run, "average")
    other = found.model_copy(update={"fitted": WeightedMean(weights=(0.9, 0.1))})
    assert other.digest != found.digest
    assert read_ensemble(run).digest == found.digest  # under its other name


# -- shown


def test_groups_that_are_no_patients_are_not_called_so(run):
    found = evaluate(run, groups=named_by_rows(np.unique(GROUPS, return_inverse=True)[1]))
    text = io.StringIO()
    Console(width=80, file=text).print(evaluation_table(found))
    shown = " ".join(text.getvalue().split())
    assert "60 images of 15 image groups" in shown
    assert "The first look at these image groups. Intervals are over image groups." in shown
    earlier = evaluation_as_json(found)
    del earlier["group_unit"]
    assert TestEvaluation.model_validate(earlier).group_unit == "patient"


@pytest.mark.parametrize("split", ["grouped split", "naive split"])
def test_the_report_names_a_naive_split_beside_each_score(run, split):
    found = evaluate(run).model_copy(update={"split": split, "group_unit": "image group"})
    (access,) = read_accesses(run)
    shown = TEST.build(
        SimpleNamespace(accesses=[access.model_copy(update={"result": evaluation_as_json(found)})])
    ).html
    is_naive = split == "naive split"
    assert ("AUC (naive split)" in shown) == (NAIVE_WARNING in shown) == is_naive
    assert "60 images of 15 image groups" in shown


def test_the_slope_stands_with_its_interval_and_that_of_an_earlier_version_without(run):
    found = evaluate(run)
    assert found.calibration.slope.estimate == found.calibration_slope
    text = io.StringIO()
    Console(width=80, file=text).print(evaluation_table(found))
    assert found.calibration.text in " ".join(text.getvalue().split())
    text = io.StringIO()
    Console(width=80, file=text).print(evaluation_table(found.model_copy(update={"calibration": None})))
    assert f"Calibration slope {found.calibration_slope:.2f}" in " ".join(text.getvalue().split())


def test_rows_hold_every_metric(run):
    found = evaluate(run)
    rows = list(csv.DictReader(io.StringIO(evaluation_as_csv(found))))
    assert [row["metric"] for row in rows] == list(STANDARD)
    assert float(rows[0]["test_low"]) == found.metrics["auc"].low
    plain = json.loads(json.dumps(evaluation_as_json(found), allow_nan=False))
    assert plain["metrics"]["auc"]["estimate"] == found.metrics["auc"].estimate


def test_the_table_fits_a_terminal_and_says_how_often_the_test_was_opened(run):
    evaluate(run)
    console = Console(width=80, file=io.StringIO())
    console.print(evaluation_table(evaluate(run)))
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    assert "Look number 2 at these patients, over all runs" in " ".join(shown.split())
    assert "BAcc" in shown
    assert "true \\ called" in shown


@pytest.mark.parametrize("trial", [None, 1])
def test_errors_of_probabilities_are_the_same_whatever_prevalence_decisions_are_for(run, trial):
    here, there = (
        resolve_model(run, trial=trial, operation=Operation.of(at="sensitivity=0.8", prevalence=prevalence))
        for prevalence in (None, 0.006)
    )
    score = predict(TEST_ROWS)
    one, moved = (
        score_test(
            model,
            model.calibration.apply(score),
            LABELS,
            GROUPS,
            training_shares=np.array([0.5, 0.5]),
            seed=0,
        )
        for model in (here, there)
    )
    assert there.calibration.apply(score)[:, 1].mean() < 0.05
    for name in ("log_loss", "brier", "auc", "recall", "specificity"):
        assert moved.metrics[name].estimate == pytest.approx(one.metrics[name].estimate, rel=1e-6)
        assert moved.expected[name] == pytest.approx(one.expected[name])
    assert moved.calibration_slope == pytest.approx(one.calibration_slope, rel=1e-3)
    assert moved.rates["recall_rate"].estimate < np.array(moved.confusion)[:, 1].sum() / 60
    text = io.StringIO()
    Console(width=80, file=text).print(evaluation_table(moved))
    assert "LogLoss and Brier are those at that of the data." in " ".join(text.getvalue().split())


def test_an_ensemble_built_for_a_prevalence_is_scored_at_that_of_the_data(run):
    plain = resolve_model(run, ensemble="average").calibration.apply(predict(TEST_ROWS))
    build_ensembles(run, methods=("average",), seed=0, operation=Operation.of(prevalence=0.006))
    model = resolve_model(run, ensemble="average")
    assert model.rule.operation.prevalence == 0.006
    assert model.shift == pytest.approx(np.log(0.006 / 0.994))
    moved = model.calibration.apply(predict(TEST_ROWS))
    assert moved[:, 1].mean() < 0.05 < plain[:, 1].mean()
    np.testing.assert_allclose(model.at_prevalence_of_data(moved), plain, rtol=1e-6)
