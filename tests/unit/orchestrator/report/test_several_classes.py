"""A run of three classes, whose models have neither thresholds nor calibrations, is not told of any."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reported_run import PATIENTS, make_reported_run, patches

from orchestrator.cli.main import main
from orchestrator.report.evidence.of_model import IMBALANCE, OUTPUT
from orchestrator.report.evidence.of_results import METRICS
from orchestrator.report.facts import RunFacts
from orchestrator.report.report import make_report
from orchestrator.report.sections.curves import CURVES
from orchestrator.report.sections.gallery import GALLERY
from orchestrator.report.sections.ranking import RANKING
from results.run.run_folder import RunFolder
from results.scores.decision_rule import MOST_PROBABLE


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of three classes."""
    raw = replace(patches(), labels=np.arange(2 * PATIENTS) // 2 % 3)
    return make_reported_run(tmp_path_factory.mktemp("three"), trials=4, raw=raw, of_task="finding_type")


def test_its_leaderboard_names_no_threshold(several: RunFolder, run: RunFolder, capsys) -> None:
    words = []
    for one in (several, run):
        assert main(["leaderboard", str(one.path)]) == 0
        words.append(" ".join(capsys.readouterr().out.split()))
    assert "F2" in words[0]
    assert "threshold" not in words[0]
    assert "F2 is at its own best threshold." in words[1]


def test_its_report_says_that_the_most_probable_class_is_called(several: RunFolder, run: RunFolder) -> None:
    of_three, of_two = (make_report(one).html for one in (several, run))
    assert "threshold" not in of_three
    assert "calibrated by" not in of_three
    for section in (RANKING, CURVES, GALLERY):
        content = section.build(RunFacts(several))
        assert content is not None
        assert MOST_PROBABLE in "".join([content.html, *(one.description for one in content.figures)])
    assert "calibrated by what was fitted on the other folds" in of_two
    assert "a threshold that was chosen on the other folds" in of_two
    assert "predicted is the calibrated probability of malignant" in of_two
    assert MOST_PROBABLE not in of_two


def test_its_checklists_name_no_threshold(several: RunFolder, tmp_path: Path) -> None:
    bare = make_reported_run(
        tmp_path,
        trials=2,
        with_ensembles=False,
        raw=replace(patches(), labels=np.arange(2 * PATIENTS) // 2 % 3),
        of_task="finding_type",
    )
    facts = RunFacts(several)
    for evidence in (METRICS, IMBALANCE, OUTPUT):
        answer = evidence.find(facts)
        assert answer is not None
        assert "threshold" not in answer.text
        assert "most probable" in answer.text
    assert OUTPUT.find(RunFacts(bare)) is None
    assert OUTPUT.missing_in(RunFacts(bare)) == "build ensembles: orchestrate ensemble RUN"
