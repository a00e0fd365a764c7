"""A bundle of prepared mammograms: `predict` on an exam gives the numbers of the prepared set."""

import csv
import importlib.util
import json
import shutil
import sys
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_files import PLANTED, dicom, film
from finished_run import CONFIGS, make_run

from orchestrator import prepare_set
from orchestrator.cli.main import main
from results.errors import ExportError
from results.export import explained_files
from results.export.bundle import export_bundle
from results.export.exported_model import Bundle, load_bundle
from results.export.onnx_predictor import predict_files
from results.relevance.explanation import explanations_as_csv
from results.relevance.frame import Frame
from results.relevance.method import RelevanceSettings
from trainables.data.dicom.reading import read_dicom
from trainables.data.mammogram.preparation import Preparation
from trainables.data.prepared_set import open_prepared_set

pytestmark = pytest.mark.slow

IMAGES = 40
TRAPS = (
    {},
    {"PhotometricInterpretation": "MONOCHROME1"},
    {"WindowCenter": 2000.0, "WindowWidth": 3000.0},
    {"syntax": "1.2.840.10008.1.2.4.70"},
    {"syntax": "1.2.840.10008.1.2.5", "bits": 16},
)


def exams(folder: Path) -> Path:
    """Films of 20 women with a bright lump in every second one, and a table of labels."""
    rows = []
    for number in range(IMAGES):
        trap = dict(TRAPS[number % len(TRAPS)])
        bits = int(trap.pop("bits", 12))
        image = film(bits=bits, side=(160 + number, 120), seed=number)
        if number % 2:
            image[70:90, 20:40] = 2**bits - 1
        if number % 3 == 0:
            image, trap = image[:, ::-1].copy(), trap | {"ImageLaterality": "R"}
        if trap.get("PhotometricInterpretation") == "MONOCHROME1":
            image = (2**bits - 1 - image).astype(image.dtype)
        name = f"woman {number // 2}/{number}.dcm"
        uid = pydicom.uid.generate_uid(entropy_srcs=[str(number)])
        dicom(folder / name, image, bits=bits, SOPInstanceUID=uid, **trap)
        rows.append({"file": name, "label": number % 2, "patient": f"P{number // 2 % 10}-{number % 2}"})
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exams(tmp_path_factory.mktemp("exams"))


@pytest.fixture(scope="module")
def prepared(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("set") / "set"
    prepare_set("dicom", tree, out=out, size=(64, 48))
    return out


@pytest.fixture(scope="module")
def folder(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export")
    run = make_run(out, {0: CONFIGS[0]}, raw=open_prepared_set(prepared).as_patches())
    export_bundle(run, out / "bundle", trial=0, held_out_limit=4)
    return out / "bundle"


@pytest.mark.long
def test_predicting_an_exam_gives_the_numbers_of_the_prepared_set(
    folder: Path, prepared: Path, tree: Path
) -> None:
    found, bundle = open_prepared_set(prepared), load_bundle(folder)
    files = [tree / name for name in found.table["file"]]
    assert len(files) == IMAGES
    predicted = predict_files(bundle, files)
    assert (predicted.faults, len(predicted.predictions)) == ((), IMAGES)
    by_exam = np.array([one.probabilities for one in predicted.predictions])
    by_set = bundle.predict(list(found.images))
    np.testing.assert_allclose(by_exam, by_set, atol=1e-5)
    assert by_set[:, 1].std() > 1e-4  # not one answer for all


def test_the_bundle_holds_the_steps_as_values_and_as_one_importable_file(
    folder: Path, prepared: Path, tree: Path
) -> None:
    found, manifest = open_prepared_set(prepared), load_bundle(folder).manifest
    assert manifest.preparation == json.loads((folder / "preparation.json").read_text())
    assert manifest.preparation == found.facts["settings"]["steps"]
    card = (folder / "model_card.md").read_text()
    assert "Made ready before the model: breast cut out, background set to 0, chest wall to the left" in card
    assert Preparation.from_dict(manifest.preparation).digest in card
    spec = importlib.util.spec_from_file_location("bundled_steps", folder / "preparation.py")
    assert spec is not None
    assert spec.loader is not None
    steps = importlib.util.module_from_spec(spec)
    sys.modules["bundled_steps"] = steps  # dataclasses look their module up there
    try:
        spec.loader.exec_module(steps)
        image = read_dicom(tree / found.table["file"][0])
        values = steps.Preparation.from_dict(manifest.preparation)
        done = steps.prepare(image.pixels, image.max_value, preparation=values, laterality=image.laterality)
    finally:
        del sys.modules["bundled_steps"]
    scaled = done.pixels * (found.facts["max_value"] / image.max_value)
    np.testing.assert_allclose(scaled, found.images[0], atol=0.5)


def test_an_array_that_was_not_made_ready_is_refused_and_not_merely_resized(folder: Path) -> None:
    bundle = load_bundle(folder)
    ready, film = np.full((64, 48), 7, np.uint16), np.full((640, 480), 7, np.uint16)
    assert bundle.predict([ready]).shape == (1, 2)
    with pytest.raises(ExportError, match=r"image 1 has shape \(640, 480\), .* 64 rows and 48 columns"):
        bundle.predict([ready, film])


def test_steps_of_another_version_are_refused(folder: Path) -> None:
    bundle = load_bundle(folder)
    newer = bundle.manifest.model_copy(update={"preparation": {"version": 99}})
    with pytest.raises(ExportError, match=r"steps have version 99, this file has version 2; predict"):
        _ = Bundle(newer, bundle.session).preparation


def test_steps_that_were_edited_are_refused(folder: Path, tmp_path: Path) -> None:
    for number, steps in enumerate((Preparation(margin=0.2).as_dict(), None)):
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        manifest = json.loads((folder / "manifest.json").read_text()) | {"preparation": steps}
        (copy / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ExportError, match=r"preparation is .* in the model and .* in the manifest"):
            load_bundle(copy)


def test_reports_are_read_back_and_hold_no_person(folder: Path, tree: Path, tmp_path: Path) -> None:
    file = tree / "woman 0" / "0.dcm"
    reports = tmp_path / "reports"
    assert main(["predict", str(folder), str(file), "--dicom-sr", str(reports)]) == 0
    (written,) = reports.iterdir()
    source = read_dicom(file)
    model = load_bundle(folder).manifest.sha256[:8]
    assert written.name == f"{source.sop_instance_uid}.{model}.sr.dcm"
    report = highdicom.sr.srread(written)
    (group,) = report.content.get_image_measurement_groups()
    measured = {one.name.meaning: one.value for one in group.get_measurements()}
    (predicted,) = predict_files(load_bundle(folder), [file]).predictions
    assert measured["Probability of malignant (research use only)"] == pytest.approx(
        predicted.probabilities[1], abs=1e-6
    )
    assert group.source_images[0].referenced_sop_instance_uid == source.sop_instance_uid
    assert (report.StudyInstanceUID, report.PatientID, report.PatientName) == (source.study_uid, "", "")
    content = written.read_bytes()
    assert PLANTED.encode() not in content
    assert b"planted-id" not in content
    assert main(["predict", str(folder), str(file), "--dicom-sr", str(reports), "--sr-patient-id"]) == 0
    assert pydicom.dcmread(written).PatientID == "planted-id"
    assert PLANTED.encode() not in written.read_bytes()


def test_an_image_without_identifiers_gets_no_report_and_the_exit_code_says_so(
    folder: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    plain = tmp_path / "a.png"
    Image.fromarray(film(bits=8, side=(160, 120))).save(plain)
    out = tmp_path / "reports"
    command = ["predict", str(folder), str(plain), str(tree / "woman 1" / "2.dcm"), "--dicom-sr", str(out)]
    assert main(command) == 1
    assert "a.png is not a DICOM file" in " ".join(capsys.readouterr().err.split())
    assert len(list(out.iterdir())) == 1
    assert main(["predict", str(folder), str(plain), "--sr-patient-id"]) == 2
    assert "give their folder with --dicom-sr" in " ".join(capsys.readouterr().err.split())


def test_the_frame_of_a_prepared_film_is_told_in_pixels_of_the_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = film(bits=12, side=(400, 280), seed=1)[:, ::-1].copy()
    lesion = Frame(200, 150, 40, 40)
    image[150:190, 200:240] = 4095
    file = dicom(tmp_path / "right.dcm", image, bits=12, ImageLaterality="R")
    bundle = load_bundle(folder)
    white = bundle.manifest.input.max_value

    def bright_share(*_: object) -> explained_files.Predict:
        def predict(images: np.ndarray) -> np.ndarray:
            share = ((images.astype(float) > 0.93 * white).mean(axis=(1, 2)) * 20).clip(0, 1)
            return np.stack([1 - share, share], axis=1)

        return predict

    monkeypatch.setattr(explained_files, "predictor_of", bright_share)
    found = explained_files.explain_files(
        bundle, [file], tmp_path / "maps", settings=RelevanceSettings(masks=300)
    )
    (one,) = found.images
    assert one.pixels_of == "prepared image"
    assert one.frame_in_file is not None
    assert one.peak_in_file is not None
    assert lesion.holds(*one.peak_in_file)
    box = one.frame_in_file
    assert box.holds(150, 200)
    assert box.holds(189, 239)
    assert one.frame != box
    (row,) = csv.DictReader(explanations_as_csv(found).splitlines())
    assert row["pixels_of"] == "prepared image"
    assert row["frame_in_file"] == f"{box.left} {box.top} {box.width} {box.height}"


def test_nothing_that_names_a_person_reaches_the_bundle(folder: Path) -> None:
    files = list(folder.iterdir())
    assert {file.name for file in files} == {
        "model.onnx",
        "manifest.json",
        "model_card.json",
        "model_card.md",
        "preparation.json",
        "preparation.py",
        "training_reference.json",
    }
    for file in files:
        content = file.read_bytes()
        assert PLANTED.encode() not in content
        assert b"planted-id" not in content


def test_files_that_show_no_breast_are_named_or_refused(folder: Path, tree: Path, tmp_path: Path) -> None:
    bundle = load_bundle(folder)
    sizes = bundle.manifest.input.from_files
    assert sizes is not None
    assert (sizes.side_px[0], sizes.resized) == (pytest.approx((160 * 120) ** 0.5), None)
    whole = film(bits=12, side=(160, 120), seed=0)
    black = dicom(tmp_path / "black.dcm", np.zeros_like(whole), bits=12)
    small = dicom(tmp_path / "small.dcm", whole[60:64, 10:14], bits=12)
    patch = dicom(
        tmp_path / "patch.dcm", np.full((60, 60), 1500, np.uint16) + whole[50:110, 5:65] % 7, bits=12
    )
    found = predict_files(bundle, [black, small, patch, tree / "woman 0/0.dcm"])
    assert [fault.file for fault in found.faults] == [str(black), str(small)]
    assert (
        "black.dcm has one value in all of its pixels, so that it shows no breast" in found.faults[0].reason
    )
    assert "small.dcm is unlike the training images: it is 4x4 pixels" in found.faults[1].reason
    assert "1 of 2 images show no breast that could be found, and were kept whole: patch.dcm" in found.notes
