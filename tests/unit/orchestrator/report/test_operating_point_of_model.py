"""A report, strata and Python say what a model does at the operating point that it was built for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reported_run import make_reported_run

from orchestrator import open_run
from orchestrator.report.evidence.of_model import OUTPUT
from orchestrator.report.evidence.of_results import CONFUSION
from orchestrator.report.facts import RunFacts
from orchestrator.report.sections.gallery import GALLERY
from orchestrator.report.sections.strata import STRATA
from results.ensembles.build import build_ensembles
from results.ensembles.ensemble import read_ensemble
from results.ensembles.judged import judged_model
from results.run.run_folder import RunFolder
from results.scores.operating_point import NOTHING_ASKED, Operation


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose ensembles were built to find nearly every positive, at the price of false alarms."""
    return operated(tmp_path_factory.mktemp("operated"), at="sensitivity=0.95")


def operated(folder: Path, **asked: Any) -> RunFolder:
    run = make_reported_run(folder, trials=4, with_ensembles=False)
    build_ensembles(run, methods=["average"], seed=0, operation=Operation.of(**asked))
    return run


def test_a_judged_ensemble_calls_at_the_operating_point_that_it_was_built_for(run: RunFolder) -> None:
    found, operation = judged_model(run), read_ensemble(run).operation
    assert str(operation) == "sensitivity=0.95"
    np.testing.assert_array_equal(found.fitted.called, judged_model(run, operation=operation).fitted.called)
    positive = found.predictions.labels == 1
    assert found.fitted.called[positive].mean() > 0.88
    other = judged_model(run, operation=Operation.of(at="specificity=0.95"))
    assert other.fitted.called[positive].mean() < 0.88


def test_a_judged_trial_keeps_the_threshold_of_the_search(run: RunFolder) -> None:
    found = judged_model(run, trial=3)
    asked = judged_model(run, trial=3, operation=read_ensemble(run).operation)
    assert (found.fitted.called != asked.fitted.called).any()


def test_strata_of_a_report_and_of_python_are_those_of_the_operating_point(run: RunFolder) -> None:
    wanted = judged_model(run, operation=read_ensemble(run).operation).strata()
    reported = RunFacts(run).strata
    assert reported is not None
    recalls = [
        [one.metrics["recall"].estimate for one in own.strata if "recall" in one.metrics]
        for own in (wanted, reported, open_run(run.path).strata())
    ]
    assert recalls[0]
    assert recalls[0] == recalls[1] == recalls[2]


def test_the_confusion_matrix_and_the_gallery_count_the_calls_of_the_operating_point(run: RunFolder) -> None:
    facts, found = RunFacts(run), judged_model(run, operation=read_ensemble(run).operation)
    labels, called = found.predictions.labels, found.fitted.called
    rows = [
        ", ".join(str(int(((labels == own) & (called == other)).sum())) for other in (0, 1)) for own in (0, 1)
    ]
    answer = CONFUSION.find(facts)
    assert answer is not None
    assert f"benign: {rows[0]}; malignant: {rows[1]}." in answer.text
    gallery = GALLERY.build(facts)
    assert gallery is not None
    alarms = int(((labels == 0) & (called == 1)).sum())
    assert alarms > 12
    assert f"False alarms: benign, the worst of {alarms}" in gallery.html


def test_the_report_names_the_operating_point_where_it_shows_calls(run: RunFolder) -> None:
    facts = RunFacts(run)
    for section in (GALLERY, STRATA):
        content = section.build(facts)
        assert content is not None
        assert "Calls are those for sensitivity=0.95." in content.html
    output = OUTPUT.find(facts)
    assert output is not None
    assert "chosen for sensitivity=0.95 out of fold" in output.text


def test_a_report_of_a_model_without_an_operating_point_names_none(tmp_path: Path) -> None:
    facts = RunFacts(operated(tmp_path))
    content, output = GALLERY.build(facts), OUTPUT.find(facts)
    assert content is not None
    assert output is not None
    assert "Calls are those for" not in content.html
    assert "chosen for balanced accuracy out of fold" in output.text


def test_a_report_names_the_metric_of_a_threshold_as_the_card_does(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"best_for": "f2", "operation": NOTHING_ASKED}
    monkeypatch.setattr(RunFacts, "chosen", read_ensemble(run).model_copy(update=changes))
    output = OUTPUT.find(RunFacts(run))
    assert output is not None
    assert "chosen for F2 out of fold" in output.text
