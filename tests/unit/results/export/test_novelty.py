"""The novelty score in a bundle: calibrated, in the graph, and told by `predict`."""

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from finished_run import CONFIGS, make_run

from orchestrator.cli.main import main
from results.errors import ExportError
from results.export.exported_model import Bundle, load_bundle
from results.export.manifest import MANIFEST_FILE, MODEL_FILE, Manifest
from results.export.model_file import describe_model, sha256_of
from results.predictors.loading import open_model
from results.predictors.novelty_features import novelty_of
from results.run.run_folder import RunFolder
from trainables.common.onnx_runtime import onnxruntime
from trainables.data.phantom import make_phantom

pytestmark = pytest.mark.long  # a training and an export of a pretrained net

FROZEN = CONFIGS[1] | {"model.cut": "block2"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    raw = make_phantom(patients=40, lesions_per_patient=1, size_px=32, seed=1)
    return make_run(tmp_path_factory.mktemp("novelty"), {0: CONFIGS[0], 1: FROZEN}, raw=raw)


@pytest.fixture(scope="module")
def folder(run: RunFolder) -> Path:
    out = run.path / "bundle"
    assert main(["export", str(run.path), "--trial", "1", "--out", str(out), "--quiet"]) == 0
    return out


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return load_bundle(folder)


def test_the_manifest_says_what_the_score_rests_on(bundle: Bundle) -> None:
    novelty = bundle.manifest.novelty
    assert novelty is not None
    assert (novelty.backbone, novelty.tap, novelty.trial) == ("efficientnet_lite0", "block2.gap", 1)
    assert (novelty.patients, novelty.images, novelty.level) == (32, 32, 0.05)


def test_the_file_gives_the_p_values_of_the_reference(run: RunFolder, bundle: Bundle) -> None:
    opened = open_model(run, trial=1)
    found = novelty_of(run, opened)
    assert found is not None
    rows = np.sort(run.out_of_fold(1).rows)[:12]
    images = list(opened.patch_set.images[rows])
    probabilities, p_values = bundle.predict_with_novelty(images)
    facts = bundle.manifest.novelty
    assert p_values is not None
    assert facts is not None
    # A step of the p-value is one patient; half precision in the store may move an image over one.
    assert (p_values > facts.level).mean() > 0.8
    np.testing.assert_allclose(bundle.predict(images), probabilities)


def test_images_of_another_kind_are_called_unlike_and_new_ones_of_the_same_are_not(bundle: Bundle) -> None:
    same = make_phantom(patients=30, lesions_per_patient=1, size_px=32, seed=7).images[1::2]
    noise = np.random.default_rng(0).integers(0, 65535, (10, 32, 32)).astype(np.uint16)
    _, of_same = bundle.predict_with_novelty(list(same))
    _, of_noise = bundle.predict_with_novelty(list(noise))
    assert of_same is not None
    assert of_noise is not None
    assert (of_noise <= 0.05).all()
    assert (of_same <= 0.05).mean() < 0.25


def test_predict_names_unlike_images_in_words_columns_and_json(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    like = make_phantom(patients=1, lesions_per_patient=1, size_px=32, seed=7).images[1]
    cv2.imwrite(str(tmp_path / "like.png"), like)
    noise = np.random.default_rng(0).integers(0, 65535, (32, 32)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    words = ["predict", str(folder), str(tmp_path / "like.png"), str(tmp_path / "noise.png")]
    assert main([*words, "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert [one["is_unlike_training"] for one in json.loads(printed.out)] == [False, True]
    assert "1 of 2 images are unlike the training images" in printed.err
    assert "noise.png" in printed.err
    assert main([*words, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert float(rows[1]["novelty_p"]) <= 0.05 < float(rows[0]["novelty_p"])
    assert main(words) == 0
    assert "! 0.0" in capsys.readouterr().out
    assert "`novelty_p`" in (folder / "model_card.md").read_text()


def test_a_bundle_of_an_earlier_version_predicts_without_a_score(folder: Path, tmp_path: Path) -> None:
    manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    earlier = Bundle(manifest.model_copy(update={"novelty": None}), session)
    image = make_phantom(patients=1, lesions_per_patient=1, size_px=32).images[1]
    probabilities, p_values = earlier.predict_with_novelty([image])
    assert p_values is None
    assert probabilities.shape == (1, 2)


def test_a_model_without_frozen_stages_has_no_score(run: RunFolder, tmp_path: Path) -> None:
    assert novelty_of(run, open_model(run, trial=0)) is None


def test_a_file_that_lacks_the_output_that_its_manifest_names_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "bundle"
    shutil.copytree(folder, copy)
    manifest = Manifest.model_validate_json((copy / MANIFEST_FILE).read_text())
    assert manifest.novelty is not None
    other = manifest.novelty.model_copy(update={"output": "other"})
    manifest = manifest.model_copy(update={"novelty": other})
    (copy / MANIFEST_FILE).write_text(manifest.model_dump_json())
    with pytest.raises(ExportError, match=r"does not describe model\.onnx: novelty is"):
        load_bundle(copy)
    describe_model(copy / MODEL_FILE, manifest)  # the model says so, too, and has no such output
    manifest = manifest.model_copy(update={"sha256": sha256_of(copy / MODEL_FILE)})
    (copy / MANIFEST_FILE).write_text(manifest.model_dump_json())
    with pytest.raises(ExportError, match="puts out other"):
        load_bundle(copy)
