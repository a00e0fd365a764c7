"""Whether what a search ships is better than colour and intensity alone, and how that is said."""

import datetime
import io

import numpy as np
import pytest
from rich.console import Console
from simulated_run import make_run
from simulated_trials import simulate

from orchestrator.api.ranked import RankedTrials
from orchestrator.api.result import SearchResult
from orchestrator.cli.closing import close_search
from orchestrator.cli.main import main
from orchestrator.report.facts import RunFacts
from orchestrator.report.sections.headline import HEADLINE
from results.ensembles.against_baseline import baseline_verdict
from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import read_ensemble
from results.ensembles.out_of_fold import nested_of
from results.run.baseline_record import BaselineRecord, write_baseline
from results.run.run_folder import RunFolder
from results.scores.baseline import BaselineVerdict, difference_from
from results.scores.interval import Interval
from results.scores.joint_comparison import differences_to
from results.scores.metrics import mean_fold_auc
from results.scores.ranking import Objectives

SIMPLEST = {"model.backbone": "intensity", "classical.name": "logistic"}
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def pool(*strengths, images=300, folds=5):
    """Trials that tell the classes apart by so much; all hold the same images."""
    return {
        number: simulate(trials=number + 1, images=images, strength=strength, folds=folds)[number]
        for number, strength in enumerate(strengths)
    }


def run_of(folder, trials, *, baselines=(0,), **options):
    run = make_run(folder, trials, **options)
    for number in baselines:
        run.write_record(run.record(number).model_copy(update={"config": SIMPLEST}))
    return run


def with_reference(run, predictions, **changes):
    known = {"config": SIMPLEST, "fingerprint": "abc", "seed": 0, "wall_seconds": 1.0, "finished_at": NOW}
    write_baseline(run, BaselineRecord(**(known | changes)), predictions)
    return run


def test_where_the_best_trial_is_the_baseline_nothing_did_better(tmp_path):
    verdict = baseline_verdict(run_of(tmp_path, pool(2.0, 0.5)))
    assert (verdict.model, verdict.difference, verdict.is_better) == ("trial 0", None, False)
    assert verdict.message() == "nothing did better than colour and intensity only (trial 0)"


def test_a_best_trial_that_chance_could_have_made_best_is_not_better(tmp_path):
    trials = pool(1.0, 1.1)
    verdict = baseline_verdict(run_of(tmp_path, trials))
    assert verdict.model == "trial 1"
    assert verdict.difference.low < 0 < verdict.difference.high
    assert not verdict.is_better
    assert verdict.message().startswith(
        "trial 1 is not better than colour and intensity only (trial 0) by more than chance: AUC "
    )
    assert f"[{verdict.difference.low:+.3f}, {verdict.difference.high:+.3f}]" in verdict.message()


def test_a_best_trial_that_is_better_by_patient_has_no_message_and_says_by_how_much(tmp_path):
    trials = pool(0.3, 3.0)
    verdict = baseline_verdict(run_of(tmp_path, trials))
    (wanted,) = differences_to(trials[0], [trials[1]], seed=0)
    assert verdict.difference == wanted
    assert wanted.low > 0
    assert verdict.is_better
    assert verdict.message() == ""
    assert verdict.sentence() == (
        "trial 1 is better than colour and intensity only (trial 0): "
        f"AUC {wanted.estimate:+.3f} [{wanted.low:+.3f}, {wanted.high:+.3f}], paired by patient and "
        "chosen anew without each fold"
    )


def test_a_best_trial_that_cannot_be_chosen_anew_is_said_to_owe_to_luck(tmp_path):
    labels = (np.arange(80) < 2).astype(np.int64)  # one patient
    trials = {
        number: simulate(trials=1, images=80, strength=strength, folds=1, labels=labels, seed=number)[0]
        for number, strength in enumerate((0.3, 1.0))
    }
    verdict = baseline_verdict(run_of(tmp_path, trials))
    assert verdict.model == "trial 1"
    assert "anew" not in verdict.sentence()
    assert verdict.sentence().endswith(
        "paired by patient and selected by this score, which is therefore too high: too few patients are "
        "left to correct it"
    )


def test_images_of_the_same_patients_count_once(tmp_path):
    """Every image again, as another of the same patients, tells nothing new."""
    trials = pool(1.0, 1.6, images=200)

    def twice(one):
        doubled = {name: np.concatenate([getattr(one, name)] * 2) for name in type(one).ARRAYS}
        return type(one)(**doubled | {"rows": np.arange(2 * len(one.rows))})

    once, doubled = (
        baseline_verdict(run_of(tmp_path / name, {n: change(own) for n, own in trials.items()})).difference
        for name, change in (("once", lambda one: one), ("twice", twice))
    )
    assert doubled.low == pytest.approx(once.low, abs=1e-9)
    assert doubled.high == pytest.approx(once.high, abs=1e-9)


def test_the_luck_of_the_best_of_many_is_none_of_its_merit(tmp_path):
    trials = pool(*[0.0] * 40, images=120)
    run = run_of(tmp_path, trials)
    best = max(run.records(), key=lambda record: record.value)
    (own,) = differences_to(trials[0], [trials[best.number]], seed=0)
    verdict = baseline_verdict(run)
    assert own.estimate > 0.1
    assert verdict.difference.estimate < own.estimate - 0.05
    assert not verdict.is_better


def test_without_a_trial_on_colour_and_intensity_the_reference_is_the_baseline(tmp_path):
    reference, *trials = pool(2.0, 0.5, 0.6).values()
    run = with_reference(run_of(tmp_path, dict(enumerate(trials)), baselines=()), reference)
    verdict = baseline_verdict(run)
    assert verdict.difference.high < 0
    assert "colour and intensity only (reference, no trial of this search)" in verdict.message()


def test_a_trial_counts_before_the_reference_unless_its_predictions_are_damaged(tmp_path):
    reference, *trials = pool(2.0, 0.5, 3.0).values()
    run = with_reference(run_of(tmp_path, dict(enumerate(trials))), reference)
    assert "(trial 0)" in baseline_verdict(run).sentence()
    run.predictions_file(0).write_bytes(b"spoilt")
    assert "reference" in baseline_verdict(run).sentence()


@pytest.mark.parametrize("what", ["no trial", "no baseline", "reference failed", "predictions gone"])
def test_where_files_are_missing_there_is_no_verdict(tmp_path, what):
    trials = {} if what == "no trial" else pool(1.0, 2.0)
    run = run_of(tmp_path, trials, baselines=(0,) if what == "predictions gone" else ())
    if what == "reference failed":
        with_reference(run, None, error="no room")
    if what == "predictions gone":
        for number in trials:
            run.predictions_file(number).unlink()
    assert baseline_verdict(run) is None


def test_what_is_compared_is_what_the_search_optimises(tmp_path):
    trials = pool(0.3, 3.0)
    verdict = baseline_verdict(run_of(tmp_path, trials, metrics=("log_loss",)))
    (wanted,) = differences_to(trials[0], [trials[1]], seed=0, objectives=Objectives(("log_loss",)))
    assert verdict.difference == wanted
    assert wanted.high < 0
    assert verdict.is_better  # a lower loss


@pytest.mark.parametrize(
    ("metric", "low", "high", "is_better"),
    [
        ("auc", 0.01, 0.2, True),
        ("auc", -0.01, 0.2, False),
        ("auc", -0.2, -0.1, False),
        ("log_loss", -0.2, -0.01, True),
        ("log_loss", -0.2, 0.01, False),
        ("log_loss", 0.1, 0.2, False),
    ],
)
def test_better_is_an_interval_on_the_better_side_of_zero(metric, low, high, is_better):
    verdict = BaselineVerdict("trial 1", "it", Interval((low + high) / 2, low, high), metric)
    assert verdict.is_better is is_better
    assert (verdict.message() == "") is is_better


def test_the_chosen_ensemble_is_compared_by_its_nested_predictions(tmp_path):
    trials = pool(0.8, 1.0, 1.0, 1.0, 1.0)
    run = run_of(tmp_path, trials)
    build_ensembles(run, methods=["average"], seed=0)
    best = read_ensemble(run)
    assert best.method == "average"
    verdict = baseline_verdict(run, best)
    (wanted,) = differences_to(trials[0], [nested_of(run, best)], seed=0)
    assert verdict.difference == wanted
    assert verdict.model == f"ensemble average of trials {', '.join(map(str, best.trials))}"
    assert verdict.is_better
    assert baseline_verdict(run).difference.estimate < wanted.estimate  # that of the best trial


def test_a_search_that_ships_its_baseline_says_so(tmp_path):
    run = run_of(tmp_path, pool(1.5, 0.2, 0.2, 0.2, 0.2, 0.2))
    build_ensembles(run, methods=["average"], seed=0)
    verdict = baseline_verdict(run, read_ensemble(run))
    assert verdict.message() == "nothing did better than colour and intensity only (trial 0)"


def test_an_ensemble_that_has_lost_predictions_gives_way_to_the_best_trial(tmp_path):
    run = run_of(tmp_path, pool(0.3, 2.0, 2.0, 2.0))
    build_ensembles(run, methods=["average"], seed=0)
    best = read_ensemble(run)
    run.predictions_file(best.trials[-1]).write_bytes(b"spoilt")
    assert baseline_verdict(run, best).model.startswith("trial ")


def test_both_are_scored_in_the_folds_of_nested_predictions_of_a_hold_out(tmp_path):
    trials = pool(0.5, 2.0, 2.0, folds=1)
    run = run_of(tmp_path, trials)
    build_ensembles(run, methods=["average"], seed=0)
    best = read_ensemble(run)
    nested = nested_of(run, best)
    assert len(set(nested.folds)) > 1
    verdict = baseline_verdict(run, best)
    assert verdict.difference == difference_from(trials[0], nested, objectives=Objectives(("auc",)), seed=0)
    assert verdict.difference.estimate == pytest.approx(best.nested.auc - _area(trials[0], nested.folds))


def _area(one, folds):
    return float(mean_fold_auc(one.labels, one.probabilities, folds))


NOT_BETTER, BETTER = (1.0, 1.1), (0.2, 2.0, 2.0)
LITTLE_BETTER = (1.5, 0.5, 0.5)  # as an ensemble; the baseline is the best trial


def closed(run: RunFolder) -> str:
    """What is said at the end of a search."""
    said = Console(file=io.StringIO(), width=300)
    assert close_search(SearchResult(run, is_interrupted=False), said, finish=False) == 0
    return said.file.getvalue()


@pytest.mark.parametrize(("strengths", "is_said"), [(NOT_BETTER, True), (BETTER, False)])
def test_the_closing_line_says_so_where_the_winner_is_not_better(tmp_path, strengths, is_said):
    said = closed(run_of(tmp_path, pool(*strengths)))
    assert ("trial 1 is not better than colour and intensity only (trial 0)" in said) is is_said


def test_the_closing_line_names_the_reference_of_a_search_with_fixed_settings(tmp_path):
    reference, *trials = pool(*NOT_BETTER).values()
    run = with_reference(run_of(tmp_path, dict(enumerate(trials)), baselines=()), reference)
    assert "(reference, no trial of this search)" in closed(run)


def test_the_closing_line_is_of_the_ensembles_if_they_know_all_trials(tmp_path):
    run = run_of(tmp_path, pool(*LITTLE_BETTER))
    build_ensembles(run, methods=["average"], seed=0)
    assert RankedTrials(run).against_baseline().model.startswith("ensemble average of trials")
    assert "ensemble average of trials" in closed(run)
    late = run.record(1).model_copy(update={"number": 9})
    run.write_out_of_fold(9, run.out_of_fold(1))
    run.write_record(late)
    assert "nothing did better" in closed(run)  # of the trials, the baseline is the best


@pytest.mark.parametrize(("strengths", "is_said"), [(LITTLE_BETTER, True), (BETTER, False)])
def test_the_verb_that_builds_ensembles_says_so(tmp_path, capsys, monkeypatch, strengths, is_said):
    monkeypatch.setattr(RunFolder, "has_sealed_part", False)
    run = run_of(tmp_path, pool(*strengths))
    assert main(["ensemble", str(run.path), "--methods", "average", "--no-costs"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert ("is not better than colour and intensity only (trial 0)" in said) is is_said


@pytest.mark.parametrize(("strengths", "is_said"), [(LITTLE_BETTER, True), (BETTER, False)])
def test_the_report_says_so_beside_the_score(tmp_path, strengths, is_said):
    run = run_of(tmp_path, pool(*strengths))
    build_ensembles(run, methods=["average"], seed=0)
    page = HEADLINE.build(RunFacts(run)).html
    assert ("Beware: ensemble average of trials" in page) is is_said
