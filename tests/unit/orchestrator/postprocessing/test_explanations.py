"""A run's models explained: by every method, on held-out images, and never on the sealed part."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from finished_run import CONFIGS, TASK, make_run, pixels

from orchestrator import SearchResult
from orchestrator.cli.main import main
from orchestrator.postprocessing.explanations import ExplanationRequest, explain_run
from orchestrator.postprocessing.relevance_methods import any_method
from results.ensembles.build import build_ensembles
from results.errors import RunError
from results.export.explained_files import predictor_of
from results.export.exported_model import Bundle, load_bundle
from results.predictors.explained_model import explained_row, raw_image
from results.predictors.loading import OpenedModel, open_model
from results.relevance.explained_folder import EXPLANATIONS_FILE, MAPS_FILE
from results.relevance.explaining import relevance_map, score_of
from results.relevance.explanation import Explanations
from results.relevance.method import RelevanceSettings
from results.relevance.methods import RELEVANCE_METHODS
from results.run.run_folder import RunFolder
from results.scores.operating_point import Operation
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.tasks import task_named
from trainables.data.patches import select_rows
from trainables.data.split_record import TEST, read_split
from trainables.relevance.methods import GRADIENT_METHODS
from trainables.relevance.preferred_image import preferred_image
from trainables.relevance.shuffled_weights import shuffled_copy

pytestmark = pytest.mark.slow

SETTINGS = RelevanceSettings(masks=24)
FROZEN = CONFIGS[1] | {"model.cut": "block3", "training.augmentation": "flips"}  # four views


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("explained"), {0: CONFIGS[0], 1: FROZEN})


@pytest.fixture(scope="module", params=[0, 1], ids=["from pixels", "frozen"])
def opened(run: RunFolder, request: pytest.FixtureRequest) -> OpenedModel:
    return open_model(run, trial=request.param)


@pytest.fixture(scope="module")
def bundle(run: RunFolder) -> Bundle:
    SearchResult(run).export(run.path / "bundle", trial=0)
    return load_bundle(run.path / "bundle")


def rows_of(run: RunFolder) -> tuple[list[int], list[int]]:
    """Rows of the training part and of the test part."""
    selected = select_rows(run.patch_set(), task_named(TASK))
    is_test = read_split(run.split_file).folds_of(selected) == TEST
    return selected.rows[~is_test].tolist(), selected.rows[is_test].tolist()


def test_the_worst_mistakes_are_explained_by_the_models_that_held_them_out(run: RunFolder) -> None:
    found, folder = explain_run(run, ExplanationRequest(worst=3, settings=SETTINGS), trial=0)
    kept = run.out_of_fold(0)
    assert folder == run.explanations / "trial-0-occlusion"
    for one in found.images:
        place = int(np.flatnonzero(kept.rows == one.row)[0])
        assert one.fold == kept.folds[place]
        assert one.label == found_classes(run)[kept.labels[place]]
    assert [one.label for one in found.images[:2]] == ["malignant", "benign"]
    assert Explanations.model_validate_json((folder / EXPLANATIONS_FILE).read_bytes()) == found
    maps = np.load(folder / MAPS_FILE)
    for one in found.images:
        assert maps[one.name].shape == (64, 64)
        assert cv2.imread(str(folder / f"{one.name}.map.png")) is not None


def test_images_of_a_class_that_may_hold_lesions_are_not_taken_for_healthy(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def seen(images: object, *, healthy: str | None) -> tuple[dict[float, float], int]:
        asked.append(healthy)
        return {}, 0

    monkeypatch.setattr("orchestrator.postprocessing.explanations.sensitivities", seen)
    request = ExplanationRequest(rows=tuple(rows_of(run)[0][:1]), settings=SETTINGS)
    explain_run(run, request, trial=0, out=tmp_path / "maps")
    assert asked == [None]


def test_probabilities_out_of_fold_are_at_the_prevalence_of_the_model(run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "runs" / TASK / "small")
    shutil.copytree(run.path, copy.path)
    build_ensembles(copy, methods=["average"], seed=0, operation=Operation.of(prevalence=0.001))
    found, _ = explain_run(copy, ExplanationRequest(worst=2, settings=SETTINGS))
    assert len(found.images) >= 2
    for one in found.images:
        assert one.out_of_fold is not None
        assert one.probability < 0.1
        assert one.out_of_fold < 0.1


def found_classes(run: RunFolder) -> tuple[str, ...]:
    return run.search().classes


def test_held_out_models_predict_what_the_search_predicted(run: RunFolder, opened: OpenedModel) -> None:
    kept = run.out_of_fold(opened.chosen.trials[0])
    calibration = opened.chosen.rule.calibration
    assert calibration is not None
    expected = calibration.apply(kept.probabilities[:4].astype(np.float64))
    for row, fold, own in zip(kept.rows[:4], kept.folds[:4], expected, strict=True):
        model = explained_row(opened, int(row), int(fold))
        found = model.predict(raw_image(opened, int(row))[None])[0]
        np.testing.assert_allclose(found, own, atol=0.02)


@pytest.mark.parametrize("name", [*RELEVANCE_METHODS, *GRADIENT_METHODS])
def test_every_method_explains_both_kinds_of_nets(name: str, run: RunFolder, opened: OpenedModel) -> None:
    training, _ = rows_of(run)
    model = explained_row(opened, training[1], None)
    found = any_method(name).compute(model, raw_image(opened, training[1]), 1, SETTINGS)
    assert found.values.shape == (64, 64)
    assert np.isfinite(found.values).all()
    assert np.ptp(found.values) > 0


def test_integrated_gradients_add_up_to_the_difference_of_log_odds(run: RunFolder) -> None:
    from trainables.relevance.gradient_method import GradientSettings
    from trainables.relevance.methods.integrated_gradients import integrated_gradients
    from trainables.relevance.reference_image import blurred

    opened, row = open_model(run, trial=0), rows_of(run)[0][1]
    model = explained_row(opened, row, None)
    raw = torch.from_numpy(raw_image(opened, row).astype(np.float32))[None]
    found = integrated_gradients(model, raw, 1, GradientSettings(steps=64))
    with torch.no_grad():
        difference = float(model.log_odds(raw, 1) - model.log_odds(blurred(raw), 1))
    assert found.sum() == pytest.approx(difference, abs=0.05 * abs(difference) + 0.01)


def test_gradient_methods_leave_the_model_as_it_was(run: RunFolder, opened: OpenedModel) -> None:
    row = rows_of(run)[0][0]
    model, image = explained_row(opened, row, None), raw_image(opened, row)
    before = model.predict(image[None])
    for name in GRADIENT_METHODS:
        any_method(name).compute(model, image, 1, SETTINGS)
    np.testing.assert_array_equal(model.predict(image[None]), before)


def test_shuffled_weights_keep_their_values_and_change_the_model(opened: OpenedModel) -> None:
    shuffled = shuffled_copy(opened.module)
    before, after = list(opened.module.parameters()), list(shuffled.parameters())
    assert all(
        torch.equal(one.flatten().sort().values, other.flatten().sort().values)
        for one, other in zip(before, after, strict=True)
    )
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_preferred_image_has_higher_odds_than_the_noise_that_it_came_from(opened: OpenedModel) -> None:
    model = explained_row(opened, 0, None)
    found, odds = preferred_image(model, (64, 64), 1, max_value=65535, steps=12)
    assert found.shape == (64, 64)
    assert 0 <= found.min() <= found.max() <= 65535
    assert odds[-1] > odds[0]


@pytest.mark.long
def test_occlusion_through_onnx_equals_occlusion_through_torch(run: RunFolder, bundle: Bundle) -> None:
    opened = open_model(run, trial=0)
    row = rows_of(run)[0][1]
    model, image = explained_row(opened, row, None), raw_image(opened, row)
    torch_map = relevance_map("occlusion", score_of(model.predict, 1), image, SETTINGS)
    onnx_map = relevance_map("occlusion", score_of(predictor_of(bundle), 1), image, SETTINGS)
    np.testing.assert_allclose(onnx_map.values, torch_map.values, atol=1e-5)
    assert onnx_map.evaluations == torch_map.evaluations


def test_the_sealed_part_is_not_looked_at(run: RunFolder) -> None:
    _, sealed = rows_of(run)
    with pytest.raises(RunError, match="sealed test part"):
        explain_run(run, ExplanationRequest(rows=(sealed[0],)), trial=0)
    with pytest.raises(RunError, match="no part in the task"):
        explain_run(run, ExplanationRequest(rows=(10_000,)), trial=0)


def test_requests_that_cannot_be_met_are_refused(run: RunFolder) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'layer_cam'"):
        explain_run(run, ExplanationRequest(method="layercam"), trial=0)
    with pytest.raises(ConfigError, match="no image is named to explain"):
        SearchResult(run).explain(images=[], trial=0)
    with pytest.raises(ConfigError, match="found both"):
        ExplanationRequest(rows=(1,), files=(Path("a.png"),))
    with pytest.raises(ConfigError, match="at least 1"):
        ExplanationRequest(worst=0)


def test_preferred_images_are_among_the_pictures_that_are_said_to_be_written(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "trainables.relevance.preferred_image.preferred_image", lambda *_, **__: (np.zeros((64, 64)), [0.0])
    )
    words = ["explain", str(run.path), "--trial", "0", "--worst", "1", "--masks", "8", "--preferred"]
    assert main([*words, "--out", str(tmp_path / "maps")]) == 0
    written = len(list((tmp_path / "maps").glob("*.png")))
    assert written > 2
    assert f"{written} pictures in" in " ".join(capsys.readouterr().err.split())


def test_files_and_rows_are_explained_from_python_and_the_command_line(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "film.png"), pixels(images=1)[0])
    found = SearchResult(run).explain(tmp_path / "film.png", trial=0, masks=12, out=tmp_path / "maps")
    assert (found.images[0].file, found.images[0].fold) == (str(tmp_path / "film.png"), None)
    assert (tmp_path / "maps" / "film.map.png").is_file()
    row = rows_of(run)[0][1]
    words = [
        "explain",
        str(run.path),
        "--trial",
        "0",
        "--rows",
        str(row),
        "--method",
        "layer_cam",
        "--checks",
    ]
    assert main([*words, "--format", "json", "--out", str(tmp_path / "cam")]) == 0
    said = json.loads(capsys.readouterr().out)
    told = SearchResult(run).explain([row], trial=0, method="layer_cam", checks=True, out=tmp_path / "same")
    (one,) = told.model_dump(mode="json")["images"]
    assert said["images"][0]["randomised"] == pytest.approx(one["randomised"])
    assert said["images"][0]["faithfulness"] == pytest.approx(one["faithfulness"])
    assert main([*words, "--out", str(tmp_path / "cam")]) == 0
    printed = capsys.readouterr().out
    assert f"row {row}" in printed
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.long
def test_predict_writes_maps_beside_its_predictions(
    run: RunFolder, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), pixels(images=1)[0])
    words = ["predict", str(run.path / "bundle"), str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert main([*words, "--explain", str(tmp_path / "maps"), "--map-seconds", "0.2"]) == 0
    assert "2 maps" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        "a.map.png", "b.map.png", EXPLANATIONS_FILE, MAPS_FILE
    ]  # fmt: skip
    assert main([*words, "--explain", str(tmp_path / "maps"), "--map-method", "layer_cam"]) == 2
    assert "unknown relevance method" in capsys.readouterr().err
