"""An audit finds what was planted, says it in five lines, and raises nothing where nothing is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audited_sets import examined, textured_set, with_copies

from benchmarks.changed_copies import brightened, saved_again
from orchestrator.audit.audit import Effort, audit_set
from orchestrator.audit.origin import categories_of
from orchestrator.audit.parts import plain_patient
from orchestrator.audit.stored_audits import FOLDER, audit_once
from results.run.audit_record import AuditRecord, Finding
from trainables.common.types import IntArray
from trainables.data.columns import PLACES, SITES
from trainables.data.patches import RawPatches

TASK = "benign_malignant"


def found(record: AuditRecord, check: str) -> list[Finding]:
    return [finding for finding in record.findings if finding.check == check]


def test_a_set_without_faults_has_no_findings(tmp_path: Path) -> None:
    record = audit_set(examined(textured_set(), tmp_path, TASK))
    assert record.findings == ()
    assert len(record.lines()) == 5
    assert record.lines()[0].startswith("audit: 40 images of 20 patients in ")
    assert record.lacks == ("vendor", "site", "size")


def test_a_copy_of_another_patient_is_a_warning_that_names_both(tmp_path: Path) -> None:
    raw = textured_set()
    raw = with_copies(raw, [7], [brightened(saved_again(raw.images[7]))], "planted")
    (finding,) = audit_set(examined(raw, tmp_path, TASK)).findings
    assert (finding.check, finding.is_warning, finding.count) == ("copies", True, 1)
    assert finding.examples == ("row 7 (patient p03) and row 40 (patient planted-7)",)
    assert "1 pair of images of different patients shows the same picture" in finding.text


def test_a_copy_with_another_label_is_a_warning_about_labels(tmp_path: Path) -> None:
    raw = textured_set()
    raw = with_copies(raw, [7], [brightened(raw.images[7])], "planted")
    raw = replace(raw, labels=np.append(raw.labels[:-1], 1 - raw.labels[-1]))
    (finding,) = found(audit_set(examined(raw, tmp_path, TASK)), "labels")
    assert "two labels" in finding.text


def test_exact_copies_under_two_patients_are_a_remark_since_the_split_joins_them(tmp_path: Path) -> None:
    raw = textured_set()
    raw = with_copies(raw, [7], [raw.images[7]], "planted")
    raw = replace(raw, duplicate_of=np.append(np.full(40, -1), 7))
    (finding,) = audit_set(examined(raw, tmp_path, TASK)).findings
    assert (finding.check, finding.is_warning) == ("copies", False)
    assert "the split keeps them together" in finding.text


def test_a_patient_in_training_and_test_part_is_found_though_no_split_can_be_made(tmp_path: Path) -> None:
    is_test = np.arange(40) >= 31  # row 30 and 31 are of one patient
    raw = textured_set(is_test=is_test)
    (finding,) = found(audit_set(examined(raw, tmp_path, TASK, is_split=False)), "parts")
    assert (finding.text, finding.examples) == ("1 patient is in two parts", ("p15",))


def test_a_naive_split_tears_patients(tmp_path: Path) -> None:
    (finding,) = found(audit_set(examined(textured_set(), tmp_path, TASK, is_naive=True)), "parts")
    assert finding.is_warning
    assert "patients are in two parts" in finding.text


def test_two_spellings_of_one_patient_are_found(tmp_path: Path) -> None:
    raw = textured_set()
    assert raw.patients is not None
    names = np.array([f"P_{name[1:]}" for name in raw.patients])
    names[1::8] = [f"p 0{name[2:]}" for name in names[1::8]]
    (finding,) = found(audit_set(examined(replace(raw, patients=names), tmp_path, TASK)), "parts")
    assert "spelt in two ways" in finding.text
    assert plain_patient("C_0033") != plain_patient("C_0303")


def columns(**values: object) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in values.items()}


def test_a_lesion_in_two_parts_is_found(tmp_path: Path) -> None:
    lesions = [f"l{row // 4}" for row in range(40)]  # two patients share a lesion: one of them is misnamed
    raw = textured_set(columns=columns(lesion=lesions))
    (finding,) = found(audit_set(examined(raw, tmp_path, TASK)), "parts")
    assert "lesion" in finding.text


@pytest.mark.parametrize(
    "exams", [[row % 2 + 1.0 for row in range(40)], [str(row % 2 + 1) for row in range(40)], [np.nan] * 40]
)
def test_exams_that_each_patient_numbers_are_no_exams_in_two_parts(
    tmp_path: Path, exams: list[object]
) -> None:
    record = audit_set(examined(textured_set(columns=columns(exam=exams)), tmp_path, TASK))
    assert found(record, "parts") == []


def test_a_lesion_whose_number_is_not_known_is_in_no_part(tmp_path: Path) -> None:
    record = audit_set(examined(textured_set(columns=columns(lesion=[np.nan] * 40)), tmp_path, TASK))
    assert found(record, "parts") == []


def test_an_exam_of_a_torn_patient_is_named_with_its_patient(tmp_path: Path) -> None:
    exams = [str(row // 2 % 2) for row in range(40)]
    torn = examined(textured_set(columns=columns(exam=exams)), tmp_path, TASK, is_naive=True)
    (finding,) = [one for one in found(audit_set(torn), "parts") if "examination" in one.text]
    assert " of patient p" in finding.examples[0]


def tiles(left: IntArray, **changes: object) -> RawPatches:
    size = np.full(40, 50.0)
    boxes = columns(
        file=[f"film-{row // 2}" for row in range(40)],
        box_left=left.astype(float), box_top=np.zeros(40), box_width=size, box_height=size,
    )  # fmt: skip
    return textured_set(columns=boxes, **changes)


def test_tiles_that_overlap_between_parts_are_a_warning_and_within_a_patient_a_remark(tmp_path: Path) -> None:
    overlapping = np.tile([0, 30], 20)
    (finding,) = audit_set(examined(tiles(overlapping), tmp_path, TASK)).findings
    assert (finding.is_warning, finding.count) == (False, 20)
    own = np.array([f"p{row}" for row in range(40)])
    torn = examined(tiles(overlapping, patients=own), tmp_path, TASK)
    assert any("overlap and are in two parts" in one.text for one in audit_set(torn).warnings)
    assert audit_set(examined(tiles(np.tile([0, 50], 20)), tmp_path, TASK)).findings == ()


def test_tiles_are_known_by_the_names_of_the_idc_set(tmp_path: Path) -> None:
    looked_at = examined(textured_set(), tmp_path, TASK)
    names = tuple(f"1/0/10{row // 2}_idx5_x{40 * (row % 2)}_y1251_class0.png" for row in range(40))
    named = replace(looked_at, patch_set=replace(looked_at.patch_set, names=names))
    (finding,) = audit_set(named).findings
    assert finding.text.startswith("20 pairs of tiles overlap")
    assert finding.examples[0].startswith(names[0])


@pytest.mark.parametrize("other", ["Siemens", "GE"])  # with two vendors nothing is left to vary in a class
def test_a_class_of_one_vendor_alone_is_found(other: str, tmp_path: Path) -> None:
    labels = np.arange(40) // 2 % 2
    vendors = np.where(labels == 1, "Hologic", np.where(np.arange(40) < 20, "GE", other))
    record = audit_set(examined(textured_set(columns=columns(vendor=vendors)), tmp_path, TASK))
    (finding,) = found(record, "origin")
    assert "vendor" in finding.text
    assert record.shortcuts[0].name == "vendor"
    assert record.shortcuts[0].auc == pytest.approx(1.0)
    assert found(record, "shortcut")
    assert "vendor" not in record.lacks


@pytest.mark.parametrize("column", SITES)
def test_classes_of_one_site_each_are_found_whatever_the_column_is_called(
    column: str, tmp_path: Path
) -> None:
    places = np.where(np.arange(40) // 2 % 2 == 1, "north", "south")
    record = audit_set(examined(textured_set(columns=columns(**{column: places})), tmp_path, TASK))
    (finding,) = found(record, "origin")
    assert finding.is_warning
    assert f"{column} north" in finding.text
    assert record.shortcuts[0].name == column
    assert ("site" in record.lacks) == (column not in PLACES)


@pytest.mark.parametrize("column", SITES)
def test_brightness_that_tells_the_label_is_found_and_scores_within_sites_stand_beside(
    column: str, tmp_path: Path
) -> None:
    raw = textured_set(80, columns=columns(**{column: ["a" if row < 40 else "b" for row in range(80)]}))
    brighter = raw.images + np.uint8(40) * raw.labels[:, None, None].astype(np.uint8)
    record = audit_set(examined(replace(raw, images=brighter), tmp_path, TASK))
    (finding,) = found(record, "shortcut")
    assert "alone tells the label" in finding.text
    mean = next(one for one in record.shortcuts if one.name == "mean")
    assert mean.auc > 0.95
    assert mean.within_sites == pytest.approx(mean.auc, abs=0.05)
    assert "within sites" in record.lines()[4]


def test_sites_that_are_numbers_are_looked_at_as_words_are(tmp_path: Path) -> None:
    names = ["a" if row < 40 else "b" for row in range(80)]
    numbers = [{"a": 1.0, "b": 2.0}[name] for name in names]
    words, coded = (
        audit_set(examined(textured_set(80, columns=columns(site=site)), tmp_path, TASK))
        for site in (names, numbers)
    )
    assert [one.within_sites for one in coded.shortcuts] == [one.within_sites for one in words.shortcuts]
    unknown = np.array(numbers)
    unknown[1::4] = np.nan
    looked_at = examined(textured_set(80, columns=columns(site=unknown)), tmp_path, TASK)
    assert set(categories_of(looked_at)["site"].tolist()) == {"", "1", "2"}


def test_a_class_whose_images_lie_in_one_fold_alone_has_nothing_to_be_learned_from(tmp_path: Path) -> None:
    labels = np.arange(40) // 2 % 2
    patients = np.where(labels == 1, "p1", [f"q{row // 8}" for row in range(40)])
    raw = replace(textured_set(), patients=patients, is_test=None)
    record = audit_set(examined(raw, tmp_path, TASK, is_split=False))
    assert found(record, "shortcut") == []


def test_the_sealed_test_part_is_not_scored(tmp_path: Path) -> None:
    record = audit_set(examined(textured_set(), tmp_path, TASK, test_share=0.25))
    assert record.scored == 30
    assert record.compared == 40


def test_of_a_large_set_some_images_are_drawn_and_that_is_said(tmp_path: Path) -> None:
    effort = Effort(images=25, scored=20, pairs=10, pixel_bytes=1e9)
    record = audit_set(examined(textured_set(), tmp_path, TASK), effort)
    assert (record.compared, record.images) == (25, 40)
    assert record.scored <= 20
    assert "25 of them, drawn at random" in record.lines()[0]


def test_a_set_is_audited_once(tmp_path: Path) -> None:
    looked_at = examined(textured_set(), tmp_path / "data", TASK)
    first = audit_once(looked_at, tmp_path)
    (file,) = (tmp_path / FOLDER).iterdir()
    file.write_text(first.model_copy(update={"images": 7}).model_dump_json())
    assert audit_once(looked_at, tmp_path).images == 7
    file.write_text("{")  # as a full disk may have left it
    assert audit_once(looked_at, tmp_path).images == 40
    audit_once(examined(textured_set(), tmp_path / "data", TASK, seed=1), tmp_path)
    assert len(list((tmp_path / FOLDER).iterdir())) == 2


def test_the_record_of_a_run_names_nobody(tmp_path: Path) -> None:
    raw = textured_set()
    raw = with_copies(raw, [7], [brightened(raw.images[7])], "planted")
    record = audit_set(examined(raw, tmp_path, TASK))
    assert "planted" in record.model_dump_json()
    assert "planted" not in record.without_names().model_dump_json()
    assert record.without_names().lines()[0] == record.lines()[0]
