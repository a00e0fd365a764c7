"""The free-response curve of explained films stands in the report."""

import shutil
from pathlib import Path

import cv2
import numpy as np

from orchestrator.report.report import make_report
from results.ensembles.ensemble import read_ensemble
from results.relevance.explained_folder import EXPLANATIONS_FILE
from results.relevance.explanation import Explanation, Explanations, facts_of_map
from results.run.run_folder import RunFolder


def explained(model: str, trials: tuple[int, ...], digest: str | None) -> Explanations:
    image = Explanation(
        name="row-3",
        explained_class="malignant",
        probability=0.9,
        evaluations=1,
        seconds=0.1,
        **facts_of_map(np.eye(8)),
    )
    return Explanations(
        model=model,
        trials=trials,
        method="occlusion",
        about="what is lost",
        source="",
        images=(image,),
        model_digest=digest,
    )


def test_pictures_are_those_that_the_last_explanation_names_and_of_a_model_that_is_said(
    run: RunFolder, tmp_path: Path
) -> None:
    moved = RunFolder(tmp_path / "runs" / "benign_malignant" / "first")
    shutil.copytree(run.path, moved.path)
    folder = moved.explanations / "trial-1-occlusion"
    folder.mkdir(parents=True)
    for name in ("row-3.map.png", "row-9.map.png"):
        cv2.imwrite(str(folder / name), np.zeros((8, 8), np.uint8))
    for digest, is_other in ((moved.predictions_digest(1), False), ("e" * 64, True)):
        (folder / EXPLANATIONS_FILE).write_text(explained("trial 1", (1,), digest).model_dump_json())
        html = make_report(moved).html
        assert "trial-1-occlusion/row-3" in html
        assert "row-9" not in html
        assert "trial 1, occlusion: of trial 1." in html
        assert ("This model is another one by now" in html) == is_other


def test_a_picture_names_its_image_file_as_text_and_not_its_folder(run: RunFolder, tmp_path: Path) -> None:
    moved = RunFolder(tmp_path / "runs" / "benign_malignant" / "first")
    shutil.copytree(run.path, moved.path)
    folder = moved.explanations / "trial-1-occlusion"
    folder.mkdir(parents=True)
    for name in ("film-2.map.png", "film.map.png", "preferred-benign.png"):
        cv2.imwrite(str(folder / name), np.zeros((8, 8), np.uint8))
    found = explained("trial 1", (1,), None)
    files = {"film-2": "patients/jane/<b>film.png", "film": "patients/jane/film.png"}
    images = tuple(
        found.images[0].model_copy(update={"name": own, "file": file}) for own, file in files.items()
    )
    told = found.model_copy(update={"images": images})
    (folder / EXPLANATIONS_FILE).write_text(told.model_dump_json())
    html = make_report(moved).html
    assert "<figcaption>trial-1-occlusion/film-2: &lt;b&gt;film.png</figcaption>" in html
    assert "<figcaption>trial-1-occlusion/film</figcaption>" in html
    assert 'alt="image trial-1-occlusion/preferred-benign"' in html
    assert "jane" not in html


def test_maps_of_an_ensemble_that_was_built_of_others_are_told_from_those_of_the_present_one(
    run: RunFolder, tmp_path: Path
) -> None:
    moved = RunFolder(tmp_path / "runs" / "benign_malignant" / "first")
    shutil.copytree(run.path, moved.path)
    ensemble = read_ensemble(moved)
    folder = moved.explanations / f"ensemble-{ensemble.name}-occlusion"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "row-3.map.png"), np.zeros((8, 8), np.uint8))
    for trials, is_other in ((ensemble.trials, False), ((98, 99), True)):
        found = explained(f"ensemble {ensemble.name}", trials, None)  # of an earlier version
        (folder / EXPLANATIONS_FILE).write_text(found.model_dump_json())
        assert ("This model is another one by now" in make_report(moved).html) == is_other


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
