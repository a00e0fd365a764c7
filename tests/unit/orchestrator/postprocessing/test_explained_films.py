"""Files of mammograms are explained as they are predicted: made ready by the stated view and side."""

from pathlib import Path

import numpy as np
import pytest
from films_with_table import films_with_table
from finished_run import CONFIGS, make_run

from orchestrator import SearchResult, prepare_set
from orchestrator.cli.main import main
from orchestrator.postprocessing.explanations import ExplanationRequest, explain_run
from results.errors import ExportError
from results.export.exported_model import Bundle
from results.export.in_memory import model_in_memory
from results.export.onnx_predictor import predict_files
from results.export.view_and_side import Stated
from results.relevance.explanation import Explanations
from results.relevance.method import RelevanceSettings
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError
from trainables.data.prepared_set import open_prepared_set

pytestmark = pytest.mark.slow

CC, MLO = Stated("CC", "L"), Stated("MLO", "L")
SETTINGS = RelevanceSettings(masks=4)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    tree = films_with_table(tmp_path_factory.mktemp("films"))
    return [tree / "0.png", tree / "1.png"]


@pytest.fixture(scope="module")
def run(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    out = tmp_path_factory.mktemp("run")
    films = {"mammograms": "yes"}
    prepare_set(
        "dicom",
        files[0].parent,
        out / "set",
        options=films,
        size=(96, 72),
        steps={"remove_pectoral": True},
        workers=1,
    )
    return make_run(out, {0: CONFIGS[0]}, raw=open_prepared_set(out / "set").as_patches())


@pytest.fixture(scope="module")
def bundle(run: RunFolder) -> Bundle:
    return model_in_memory(run, trial=0)


def predicted(bundle: Bundle, files: list[Path], stated: list[Stated]) -> list[float]:
    return [one.probability for one in predict_files(bundle, files, stated=stated).predictions]


def probabilities(found: Explanations) -> list[float]:
    return [one.probability for one in found.images]


@pytest.mark.parametrize("stated", [[CC], [MLO, CC], []])
def test_the_probability_is_that_of_a_prediction_with_the_same_view(
    run: RunFolder, bundle: Bundle, files: list[Path], stated: list[Stated], tmp_path: Path
) -> None:
    request = ExplanationRequest(files=tuple(files), stated=tuple(stated), settings=SETTINGS)
    found, _ = explain_run(run, request, trial=0, out=tmp_path / "maps")
    np.testing.assert_allclose(probabilities(found), predicted(bundle, files, stated), atol=1e-6)
    assert any("state no view" in note for note in found.notes) == (not stated)


def test_the_verb_and_python_take_views_and_sides(
    run: RunFolder,
    bundle: Bundle,
    files: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    by_cc, by_mlo = predicted(bundle, files[:1], [CC]), predicted(bundle, files[:1], [MLO])
    assert abs(by_cc[0] - by_mlo[0]) > 1e-4  # so the view matters
    words = ["explain", str(run.path), "--trial", "0", "--images", str(files[0]), "--masks", "4"]
    assert main([*words, "--view", "cc", "--laterality", "left", "--out", str(tmp_path / "verb")]) == 0
    assert "no view" not in capsys.readouterr().err
    kept = Explanations.model_validate_json((tmp_path / "verb" / "explanations.json").read_bytes())
    np.testing.assert_allclose(probabilities(kept), by_cc, atol=1e-6)
    found = SearchResult(run).explain(
        files[:1], trial=0, masks=4, views="MLO", laterality=["L"], out=tmp_path / "python"
    )
    np.testing.assert_allclose(probabilities(found), by_mlo, atol=1e-6)
    assert main([*words, "--view", "sideways"]) == 2
    assert "unknown view sideways; known are" in " ".join(capsys.readouterr().err.split())


def test_views_that_do_not_fit_are_refused(run: RunFolder, files: list[Path]) -> None:
    request = ExplanationRequest(files=(*files, files[0]), stated=(CC, MLO), settings=SETTINGS)
    with pytest.raises(ExportError, match=r"as many as the 3 image\(s\) in the same order; 2 found"):
        explain_run(run, request, trial=0)
    with pytest.raises(ConfigError, match="a view or side is stated of image files"):
        ExplanationRequest(rows=(1,), stated=(CC,))
