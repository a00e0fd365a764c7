"""The free-response curve of explained films stands in the report."""

import shutil
from pathlib import Path

import cv2
import numpy as np

from orchestrator.report.report import make_report
from results.relevance.explained_folder import EXPLANATIONS_FILE
from results.relevance.explanation import Explanations
from results.run.run_folder import RunFolder


def test_shares_of_marked_lesions_stand_by_their_rate_of_false_marks(run: RunFolder, tmp_path: Path) -> None:
    moved = tmp_path / "runs" / "benign_malignant" / "first"
    shutil.copytree(run.path, moved)
    folder = moved / "explanations" / "trial-1-windows"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "row-3.png"), np.zeros((8, 8), np.uint8))
    found = Explanations(
        model="trial 1",
        trials=(1,),
        method="windows",
        about="the probability of the windows that hold the pixel",
        source="",
        images=(),
        found_at={0.5: 0.625, 2.0: 0.875},
    )
    (folder / EXPLANATIONS_FILE).write_text(found.model_dump_json())
    html = make_report(RunFolder(moved)).html
    assert "(FROC)" in html
    assert "trial 1, windows" in html
    assert all(words in html for words in ("0.5 false marks", "2 false marks", "62%", "88%"))
    (folder / EXPLANATIONS_FILE).write_text("{")
    assert "(FROC)" not in make_report(RunFolder(moved)).html
