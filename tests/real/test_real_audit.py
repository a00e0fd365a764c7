"""Audits of real sets: what was planted is found, and untouched sets raise what is in them and no more."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audited_sets import examined, raw_of, with_copies

from benchmarks.changed_copies import all_of_it, mirrored
from orchestrator.audit.audit import audit_set
from results.run.audit_record import AuditRecord
from trainables.config.tasks import task_named
from trainables.data.image_files import decode_image
from trainables.data.patches import PatchSet, RawPatches
from trainables.data.sources import load_patch_set

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
FILMS, INFN, IDC, MIAS = (
    "ddsm_mass_films_227.npz",
    "infn_mass_patches_150.npz",
    "idc",
    "mias_pisa_layout",
)
TASK = "benign_malignant"


def load(name: str, store: Path, task: str = TASK) -> PatchSet:
    if not (DATA / name).exists():
        pytest.skip(f"the real set {name} is not at {DATA}")
    return load_patch_set(str(DATA / name), task=task_named(task), label_codes=None, store=store)[0]


def some_films(store: Path, patients: int) -> RawPatches:
    """All films of some patients of both classes; none of them is there under two names."""
    raw = raw_of(load(FILMS, store))
    assert raw.patients is not None
    kept = np.isin(raw.patients, np.unique(raw.patients)[:: 825 // patients])
    return replace(
        raw, images=raw.images[kept], labels=raw.labels[kept], patients=raw.patients[kept], columns=None
    )


def checks(record: AuditRecord) -> set[str]:
    return {finding.check for finding in record.warnings}


def test_copies_of_films_after_jpeg_brightness_flip_and_crop_are_found(tmp_path: Path) -> None:
    raw = some_films(tmp_path, 150)
    rows = list(range(0, 200, 10))
    raw = with_copies(raw, rows, [all_of_it(raw.images[row]) for row in rows], "planted")
    record = audit_set(examined(raw, tmp_path, TASK))
    (finding,) = [one for one in record.findings if one.check == "copies"]
    assert finding.count == len(rows)
    assert all("planted" in example for example in finding.examples)


def test_a_film_patient_in_two_parts_is_found(tmp_path: Path) -> None:
    raw = some_films(tmp_path, 60)
    is_test = np.arange(len(raw.labels)) % 2 == 0
    raw = replace(raw, is_test=is_test)
    record = audit_set(examined(raw, tmp_path, TASK, is_split=False))
    (finding,) = [one for one in record.findings if one.check == "parts"]
    assert finding.count >= 55


def test_films_that_are_turned_with_their_label_give_it_away(tmp_path: Path) -> None:
    raw = raw_of(load(FILMS, tmp_path))
    turned = np.stack(
        [mirrored(image) if label else image for image, label in zip(raw.images, raw.labels, strict=True)]
    )
    record = audit_set(examined(replace(raw, images=turned), tmp_path, TASK))
    thumbnail = next(one for one in record.shortcuts if one.name == "thumbnail")
    assert thumbnail.auc > 0.99
    assert "shortcut" in checks(record)


def test_films_as_they_are_hold_three_pictures_under_two_patients_and_nothing_else(tmp_path: Path) -> None:
    record = audit_set(examined(raw_of(load(FILMS, tmp_path)), tmp_path, TASK, test_share=0.2))
    (finding,) = record.findings
    assert (finding.check, finding.count) == ("copies", 3)
    assert "row 810 (patient B_3109) and row 1093 (patient B_3065)" in finding.examples
    assert max(one.auc for one in record.shortcuts) < 0.62


def test_the_colour_of_idc_patches_tells_their_class(tmp_path: Path) -> None:
    record = audit_set(examined(raw_of(load(IDC, tmp_path, "idc")), tmp_path, "idc"))
    assert checks(record) == {"shortcut"}
    mean = next(one for one in record.shortcuts if one.name == "mean")
    assert 0.82 < mean.auc < 0.92


def test_mini_mias_films_on_wide_margins_hold_no_copies(tmp_path: Path) -> None:
    folder = DATA / "mini_mias"
    if not folder.exists():
        pytest.skip(f"the real set mini_mias is not at {DATA}")
    with (folder / "labels.csv").open() as file:
        table = {row["ref"]: row for row in csv.DictReader(file)}
    images = np.stack([decode_image(folder / "images_512" / f"{ref}.png").pixels for ref in table])
    raw = RawPatches(
        images,
        np.array([int(row["abnormality"] != "NORM") for row in table.values()]),
        "task",
        patients=np.array([row["patient"] for row in table.values()]),
    )
    assert audit_set(examined(raw, tmp_path, "normal_abnormal")).findings == ()


@pytest.mark.parametrize("name", [INFN, MIAS])
def test_small_sets_as_they_are_raise_nothing(name: str, tmp_path: Path) -> None:
    how = {} if name == MIAS else {"test_share": 0.2}
    assert audit_set(examined(raw_of(load(name, tmp_path)), tmp_path, TASK, **how)).findings == ()
