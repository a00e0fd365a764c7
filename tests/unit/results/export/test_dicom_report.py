"""Structured reports of single images: where they are written, and what they say."""

from pathlib import Path

import highdicom
import pydicom
import pytest
from dicom_files import dicom, film
from finished_run import CONFIGS, make_run

from orchestrator.cli.main import main
from results.export.bundle import export_bundle
from results.export.dicom_report import write_reports
from results.export.exported_model import Bundle, load_bundle
from results.export.onnx_predictor import Prediction

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reported")
    export_bundle(make_run(place, {0: CONFIGS[0]}), place / "bundle", trial=0, held_out_limit=2)
    return place / "bundle"


def image(path: Path, **changes: str) -> Path:
    return dicom(path, film(bits=16, side=(64, 64)), bits=16, **changes)


@pytest.mark.filterwarnings("ignore:.* for VR UI")
@pytest.mark.parametrize(
    ("name", "uid"),
    [
        ("SOPInstanceUID", "../../escaped"),
        ("SOPInstanceUID", "/outside"),
        ("SOPInstanceUID", "1." * 40 + "1"),
        ("SOPClassUID", "1.2.03.4"),
        ("SeriesInstanceUID", "1.2.840.abc"),
        ("StudyInstanceUID", "x/y"),
    ],
)
def test_an_image_whose_uid_is_none_gets_no_report_and_nothing_leaves_the_folder(
    name: str, uid: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = str(tmp_path / "outside") if uid == "/outside" else uid
    files = [image(tmp_path / "in" / "wrong.dcm", **{name: wrong}), image(tmp_path / "in" / "right.dcm")]
    out = tmp_path / "a" / "reports"
    assert main(["predict", str(folder), *map(str, files), "--dicom-sr", str(out)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "no report: " in said
    assert "which is no UID" in said
    (written,) = tmp_path.rglob("*.sr.dcm")
    assert written.parent == out
    assert pydicom.dcmread(written).StudyInstanceUID == pydicom.dcmread(files[1]).StudyInstanceUID


@pytest.mark.parametrize("classes", [("gutartig", "bösartig"), ("良性", "恶性")])
def test_names_of_classes_and_ids_of_patients_are_read_back_in_any_script(
    classes: tuple[str, str], folder: Path, tmp_path: Path
) -> None:
    loaded = load_bundle(folder)
    manifest = loaded.manifest.model_copy(update={"classes": classes, "positive": classes[1]})
    file = image(tmp_path / "a.dcm", PatientID="Jürgen-1", SpecificCharacterSet="ISO_IR 100")
    predictions = [Prediction(str(file), (0.2, 0.8), 0.8, classes[1], 0.5)]
    found = write_reports(
        Bundle(manifest, loaded.session), predictions, tmp_path / "out", has_patient_id=True
    )
    report = highdicom.sr.srread(found.files[0])
    (group,) = report.content.get_image_measurement_groups()
    assert [one.name.meaning for one in group.get_measurements()] == [
        f"Probability of {name} (research use only)" for name in classes
    ]
    (called,) = group.get_qualitative_evaluations()
    assert called.value.meaning == classes[1]
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert pydicom.dcmread(found.files[0]).PatientID == "Jürgen-1"


def test_reports_that_say_something_else_have_other_uids_and_each_model_has_its_own_file(
    folder: Path, tmp_path: Path
) -> None:
    loaded, file = load_bundle(folder), image(tmp_path / "a.dcm")
    other = Bundle(loaded.manifest.model_copy(update={"sha256": "ab" * 32}), loaded.session)
    found = []
    for bundle, malignant, has_id in (
        (loaded, 0.8, False),
        (loaded, 0.7, False),
        (loaded, 0.7, True),
        (other, 0.7, True),
    ):
        prediction = Prediction(str(file), (1 - malignant, malignant), malignant, "malignant", 0.5)
        (written,) = write_reports(bundle, [prediction], tmp_path / "out", has_patient_id=has_id).files
        report = pydicom.dcmread(written)
        assert report.file_meta.MediaStorageSOPInstanceUID == report.SOPInstanceUID
        found.append((written.name, report.SOPInstanceUID))
    assert len({uid for _, uid in found}) == 4
    assert len({name for name, _ in found}) == len(list((tmp_path / "out").iterdir())) == 2
    assert found[-1][0] == f"{pydicom.dcmread(file).SOPInstanceUID}.abababab.sr.dcm"


def test_of_two_files_with_one_uid_the_second_gets_no_report(folder: Path, tmp_path: Path) -> None:
    files = [image(tmp_path / name) for name in ("a.dcm", "b.dcm")]
    predictions = [Prediction(str(file), (0.2, 0.8), 0.8, "malignant", 0.5) for file in files]
    found = write_reports(load_bundle(folder), predictions, tmp_path / "out")
    assert len(found.files) == 1
    assert found.problems == (
        f"no report: {files[1]} has the SOPInstanceUID of {files[0]}, which has a report",
    )
