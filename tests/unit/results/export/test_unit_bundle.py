"""A model of breasts as a bundle: the search, the file and `predict` agree, with any number of views."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom
from PIL import Image
from unit_run import CONFIGS, make_unit_run

from orchestrator.api.frames import files_predicted
from orchestrator.cli.main import main
from orchestrator.postprocessing.test_set import open_test_part
from results.ensembles.build import build_ensembles
from results.errors import ExportError
from results.export.allowed_change import AllowedChange
from results.export.bundle import export_bundle
from results.export.dicom_report import write_reports
from results.export.exported_model import load_bundle
from results.export.in_memory import model_in_memory
from results.export.onnx_predictor import predict_files
from results.export.precision_check import Precision
from results.export.unit_table import units_by_header
from results.predictors.loading import open_model, open_row_predictor
from results.run.run_folder import RunFolder
from trainables.data.patches import PatchSet, open_patch_set
from trainables.data.prepared.identity import hashed

pytestmark = pytest.mark.slow

BREASTS = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    made = make_unit_run(tmp_path_factory.mktemp("units"))
    build_ensembles(made, seed=0)
    return made


@pytest.fixture(scope="module")
def exported(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "attention"
    export_bundle(run, out, trial=2)
    return out


def patch_set_of(run: RunFolder) -> PatchSet:
    return open_patch_set(*run.search().data_location)


def views_of(run: RunFolder, count: int = BREASTS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First rows of some breasts, the rows of all their views, and the breast of each."""
    rows = np.sort(run.out_of_fold(0).rows)[:count]
    images, places = open_model(run, trial=0).images_of(rows)
    assert places is not None
    return rows, images, places


def write_views(run: RunFolder, folder: Path) -> tuple[np.ndarray, Path]:
    """Views as 16 bit PNG files with their table; returns the first rows of the breasts, and the table."""
    rows, images, _ = views_of(run)
    stored = patch_set_of(run)
    assert stored.columns is not None
    assert stored.patients is not None
    with (folder / "views.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "patient", "exam", "laterality"])
        for row in images:
            Image.fromarray(stored.images[row]).save(folder / f"{row}.png")
            own = [stored.columns[name][row] for name in ("exam", "laterality")]
            table.writerow([f"{row}.png", stored.patients[row], *own])
    return rows, folder / "views.csv"


def test_records_hold_one_prediction_a_breast(run: RunFolder) -> None:
    kept = run.out_of_fold(0)
    stored = patch_set_of(run)
    assert stored.columns is not None
    names = {(stored.patients[row], stored.columns["laterality"][row]) for row in kept.rows}  # type: ignore[index] # the phantom has patients
    assert len(names) == len(kept.rows)
    probabilities = [run.out_of_fold(number).probabilities for number in CONFIGS]
    assert not any(np.allclose(probabilities[0], other) for other in probabilities[1:])


@pytest.mark.long
def test_the_file_gives_the_numbers_of_the_search(run: RunFolder, exported: Path) -> None:
    rows, images, places = views_of(run)
    predict = load_bundle(exported).predict
    found = predict(list(patch_set_of(run).images[images]), units=[f"breast {place}" for place in places])
    np.testing.assert_allclose(found, open_row_predictor(run, trial=2)(rows), atol=1e-5)


@pytest.mark.long
def test_an_ensemble_combines_each_member_by_its_own_rule(run: RunFolder, tmp_path: Path) -> None:
    report = export_bundle(run, tmp_path / "bundle", ensemble="average")
    members = report.manifest.members  # the best of the trials, each of which has a rule of its own
    assert len({one.settings["unit.combine"] for one in members}) == len(members) > 2
    rows, images, places = views_of(run)
    pixels, names = list(patch_set_of(run).images[images]), [str(place) for place in places]
    expected = open_row_predictor(run, ensemble="average")(rows)
    for bundle in (load_bundle(tmp_path / "bundle"), model_in_memory(run, ensemble="average")):
        np.testing.assert_allclose(bundle.predict(pixels, units=names), expected, atol=1e-5)


def test_a_missing_view_and_views_of_other_sizes_are_predicted(run: RunFolder, exported: Path) -> None:
    _, images, _ = views_of(run, 1)
    one, other = (np.asarray(patch_set_of(run).images[row]) for row in images)
    bundle = load_bundle(exported)
    both = bundle.predict([one, other[4:, 2:]], units=["a", "a"])
    assert both.shape == (1, 2)
    alone, same = bundle.predict([one], units=["a"]), bundle.predict([one, one], units=["a", "a"])
    np.testing.assert_allclose(alone, same, atol=1e-6)
    many = bundle.predict([one] * 20 + [other], units=[*["a"] * 20, "b"])
    np.testing.assert_allclose(many[0], alone[0], atol=1e-6)


def test_predict_reads_a_table_or_a_folder_a_breast(
    run: RunFolder, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, table = write_views(run, tmp_path)
    expected = open_row_predictor(run, trial=2)(rows)[:, 1]
    assert main(["predict", str(exported), "--units", str(table), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["images"] for one in found] == [2] * BREASTS
    assert found[0]["breast"].startswith("phantom-")
    np.testing.assert_allclose([one["probability"] for one in found], expected, atol=1e-5)
    exams = []
    for number in range(2):
        exams.append(tmp_path / f"exam {number}")
        exams[-1].mkdir()
        _, images, places = views_of(run)
        for row in images[places == number]:
            shutil.copy(tmp_path / f"{row}.png", exams[-1])
    assert main(["predict", str(exported), *map(str, exams), "--format", "csv"]) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [line["breast"] for line in lines] == [str(exam) for exam in exams]
    np.testing.assert_allclose([float(line["probability"]) for line in lines], expected[:2], atol=1e-5)


def test_predict_takes_the_breast_from_dicom_headers_and_names_nobody(
    run: RunFolder, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, images, places = views_of(run)
    stored = patch_set_of(run)
    assert stored.columns is not None
    bits = int(np.log2(stored.max_value + 1))
    files = [
        dicom(
            tmp_path / f"{row}.dcm",
            stored.images[row],
            bits=bits,
            PatientID="planted-id",
            StudyInstanceUID=f"1.2.826.{place + 1}",
            ImageLaterality=str(stored.columns["laterality"][row]),
        )
        for row, place in zip(images, places, strict=True)
    ]
    (tmp_path / "key.txt").write_text("0123456789abcdef")
    command = ["predict", str(exported), *map(str, files), "--hash-ids", str(tmp_path / "key.txt")]
    assert main([*command, "--format", "json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    np.testing.assert_allclose(
        [one["probability"] for one in found], open_row_predictor(run, trial=2)(rows)[:, 1], atol=1e-5
    )
    key, side = b"0123456789abcdef", stored.columns["laterality"][images[0]]
    assert found[0]["breast"] == (
        f"patient-{hashed('planted-id', key)}/exam-{hashed('1.2.826.1', key)}/{side}"
    )
    assert [one["images"] for one in found] == [2] * BREASTS
    assert "planted" not in said.out + said.err
    assert units_by_header(files[:1], "patient")[1] != units_by_header(files[:1], "patient")[1]
    sideless = dicom(tmp_path / "no side.dcm", stored.images[0], bits=bits, ImageLaterality=None)
    for file, reason in {
        sideless: "states no ImageLaterality, which would tell its breast",
        tmp_path / "key.txt": "is no DICOM file whose header would tell its breast",
        tmp_path / "absent.dcm": "there is no file",
    }.items():
        assert main(["predict", str(exported), str(file)]) != 0
        assert reason in " ".join(capsys.readouterr().err.split())
    assert main(["predict", str(exported), str(tmp_path), "--hash-ids", "env:NOBODY"]) != 0
    assert "--hash-ids names the units of DICOM files" in " ".join(capsys.readouterr().err.split())


def test_a_view_that_cannot_be_read_is_named_and_its_breast_predicted_from_the_other(
    run: RunFolder, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, table = write_views(run, tmp_path)
    _, images, _ = views_of(run)
    (tmp_path / f"{images[0]}.png").write_bytes(b"no image")
    assert main(["predict", str(exported), "--units", str(table), "--format", "json"]) == 1
    said = capsys.readouterr()
    assert [one["images"] for one in json.loads(said.out)] == [1, *[2] * (BREASTS - 1)]
    assert [len(one["left_out"]) for one in json.loads(said.out)] == [1, *[0] * (BREASTS - 1)]
    unit = json.loads(said.out)[0]["breast"]
    note = f"1 of {BREASTS} breasts are predicted from a part of their images: {unit} without {images[0]}.png"
    assert note in " ".join(said.err.split())
    assert main(["predict", str(exported), "--units", str(table), "--format", "csv"]) == 1
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(line["images"], line["left_out"]) for line in lines[:2]] == [("1", "1"), ("2", "0")]
    assert main(["predict", str(exported), "--units", str(table)]) == 1
    assert "1 of 2" in capsys.readouterr().out


def test_a_breast_of_torn_dicom_files_says_which_views_it_lacks(
    run: RunFolder, exported: Path, tmp_path: Path
) -> None:
    write_views(run, tmp_path)
    stored, whole = patch_set_of(run), tmp_path / f"{views_of(run)[1][0]}.png"
    bits = int(np.log2(stored.max_value + 1))
    facts = {"ViewPosition": "MLO", "ImageLaterality": "R"}
    torn = dicom(tmp_path / "torn.dcm", stored.images[0], bits=bits, **facts)
    torn.write_bytes(torn.read_bytes()[:-2000])
    bundle = load_bundle(exported)
    found = predict_files(bundle, [torn, whole, torn], units=["one", "one", "other"])
    assert [(one.file, one.images, one.left_out) for one in found.predictions] == [("one", 1, (str(torn),))]
    assert "one without torn.dcm (R MLO)" in found.notes[-2]
    assert found.notes[-1] == "1 unit without a file that can be used: other"
    with pytest.warns(UserWarning, match="without|could not be predicted") as warned:
        table = files_predicted(bundle, [torn, whole, torn], [], [], ["one", "one", "other"])
    assert {str(one.message) for one in warned} >= set(found.notes[-2:])
    assert (list(table.index), table["images"].tolist()) == (["one", "other"], [1, 0])
    assert table["fault"].str.contains("torn.dcm").all()
    assert table["predicted_class"].isna().tolist() == [False, True]


def test_wrong_tables_and_missing_units_say_what_is_needed(
    run: RunFolder, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, images, _ = views_of(run, 1)
    with pytest.raises(ExportError, match="give the breast of each image, found 0 for 1"):
        load_bundle(exported).predict([patch_set_of(run).images[images[0]]])
    cases = {
        "file,patient\na.png,1\n": "lacks the column laterality",
        "file,laterality\na.png,L\n": "lacks the column exam or patient",
        "file,patient,laterality\na.png,,L\n": "line 2: patient must not be empty",
        "": "names no image",
    }
    for text, reason in cases.items():
        (tmp_path / "t.csv").write_text(text)
        assert main(["predict", str(exported), "--units", str(tmp_path / "t.csv")]) != 0
        assert reason in " ".join(capsys.readouterr().err.split())
    assert main(["predict", str(exported), str(tmp_path / "t.csv")]) != 0
    assert "give a folder for each breast" in " ".join(capsys.readouterr().err.split())
    assert main(["predict", str(exported)]) != 0
    assert "nothing to predict" in capsys.readouterr().err


def test_a_bundle_without_its_rule_or_with_another_is_refused(exported: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(exported, tmp_path / "bundle")
    with (copy / "units.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ExportError, match=r"units.onnx is not the file that was exported"):
        load_bundle(copy)
    (copy / "units.onnx").unlink()
    with pytest.raises(ExportError, match=r"holds no units.onnx"):
        load_bundle(copy)


def test_the_card_and_the_test_part_count_breasts(run: RunFolder, exported: Path) -> None:
    assert "Unit: a breast." in (exported / "model_card.md").read_text()
    evaluation = open_test_part(run, ensemble="best", trial=0, by="a test")
    assert evaluation.unit == "breast"
    assert evaluation.images == 2 * evaluation.groups
    data, scored = load_bundle(exported).manifest.data, run.out_of_fold(2)
    assert data.share_of("malignant") == scored.labels.mean()
    assert sum(data.scored.values()) == len(scored.labels) < data.images


@pytest.mark.long
def test_a_model_of_breasts_is_converted_image_by_image_and_compared_breast_by_breast(
    run: RunFolder, tmp_path: Path
) -> None:
    place, wanted = tmp_path / "bundle", Precision("int8", AllowedChange(1.0, 1.0))
    found = export_bundle(run, place, trial=4, held_out_limit=4, precision=wanted).manifest.precision
    assert found is not None
    assert found.images == len(run.out_of_fold(4).rows)
    _, images, places = views_of(run)
    predicted = load_bundle(place).predict(
        list(patch_set_of(run).images[images]), units=[str(one) for one in places]
    )
    assert predicted.shape == (BREASTS, 2)


def test_reports_of_a_model_of_breasts_are_refused_before_anything_is_predicted(
    run: RunFolder, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, table = write_views(run, tmp_path)
    out = tmp_path / "reports"
    assert main(["predict", str(exported), "--units", str(table), "--dicom-sr", str(out)]) == 2
    said = capsys.readouterr()
    assert "a report is of a single image, and this model predicts breasts" in " ".join(said.err.split())
    assert said.out == ""
    assert not out.exists()
    with pytest.raises(ExportError, match="this model predicts breasts; leave --dicom-sr out"):
        write_reports(load_bundle(exported), [], out)
