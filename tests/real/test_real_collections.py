"""Published tables and trees as they are: their counts. Skipped where they are absent."""

from collections import Counter
from pathlib import Path

import pytest

from trainables.data.collections import COLLECTIONS
from trainables.data.collections.cbis_ddsm import read_lesions
from trainables.data.collections.cdd_cesm import list_cdd_cesm
from trainables.data.collections.cmmd import list_cmmd
from trainables.data.collections.collection import Choices, Listing
from trainables.data.collections.ddsm_case import read_case
from trainables.data.collections.tables import read_table

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"


def real(name: str) -> Path:
    if not (DATA / name).exists():
        # Patient data that may not lie in the repository: CI and most clones have none.
        pytest.skip(f"the real set {name} is not at {DATA}")
    return DATA / name


def listed(collection: str, name: str, choices: Choices | None = None) -> Listing:
    return COLLECTIONS[collection].list(real(name), choices or Choices())


def test_mias_has_330_rows_of_which_119_have_coordinates() -> None:
    found = listed("mias", "mini_mias")
    assert found.notes[0].startswith("330 rows on 322 films")
    assert sum(one.box is not None for one in found.examples) == 119
    assert sum(one.label == 0 for one in found.examples) == 207
    assert "4 abnormal rows without coordinates left out" in found.notes
    assert found.problems == ()
    assert len({one.patient for one in found.examples}) <= 161


def test_mias_has_322_whole_films_of_161_patients() -> None:
    found = listed("mias", "mini_mias", Choices(regions="image"))
    assert len(found.examples) == 322
    assert len({one.patient for one in found.examples}) == 161
    assert next(one.label for one in found.examples if one.name == "mdb144") == 2


def test_idc_has_3668_patches_of_18_patients() -> None:
    found = listed("idc", "idc")
    assert len(found.examples) == 3668
    patients = {}
    for one in found.examples:
        patients.setdefault(one.patient, set()).add(one.label)
    assert len(patients) == 18
    assert sorted(str(patient) for patient, labels in patients.items() if len(labels) == 2) == [
        "8863",
        "8864",
        "8865",
    ]
    assert found.problems == ()


def test_cbis_tables_have_2864_training_and_704_test_rows() -> None:
    lesions, problems = read_lesions(sorted(real("cbis_ddsm_csv").glob("*.csv")))
    assert problems == []
    assert Counter((one.kind, one.is_test) for one in lesions) == {
        ("mass", False): 1318,
        ("mass", True): 378,
        ("calcification", False): 1546,
        ("calcification", True): 326,
    }
    train = {one.patient for one in lesions if not one.is_test}
    test = {one.patient for one in lesions if one.is_test}
    of = {
        key: {one.patient for one in lesions if (one.kind, one.is_test) == key}
        for key in (("mass", False), ("mass", True), ("calcification", False), ("calcification", True))
    }
    assert len(of["mass", False] & of["calcification", True]) == 13
    assert len(of["calcification", False] & of["mass", True]) == 18
    assert train & test == (of["mass", False] & of["calcification", True]) | (
        of["calcification", False] & of["mass", True]
    )


@pytest.mark.parametrize(
    "name", ["cbis-ddsm-edited/train/mass_case_description_train_set.csv", "cbis-ddsm-old/mass-data.csv"]
)
def test_other_editions_of_the_cbis_tables_name_the_same_masses(name: str) -> None:
    other, problems = read_lesions([real(f"formats/tables/{name}")])
    usual, _ = read_lesions([real("cbis_ddsm_csv") / "mass_case_description_train_set.csv"])
    assert problems == []
    assert {one.name: one.row["pathology"] for one in other} == {
        one.name: one.row["pathology"] for one in usual
    }


def test_breakhis_names_are_read() -> None:
    found = listed("breakhis", "formats/images/breakhis")
    assert (len(found.examples), found.problems) == (6, ())
    assert {one.columns["magnification"] for one in found.examples if one.patient == "14-25197"} == {
        40,
        100,
        200,
        400,
    }


def test_busi_names_are_read() -> None:
    found = listed("busi", "formats/images/busi")
    assert Counter(one.label for one in found.examples) == {0: 2, 1: 4, 2: 4}


def test_cmmd_has_1872_rows_of_1775_patients_in_both_of_its_tables() -> None:
    rows = read_table(real("formats/tables/cmmd/CMMD_clinicaldata_revision.xlsx"), ("id1", "leftright"))
    text = read_table(real("formats/tables/cmmd/cmmd_raw_label.csv"), ("id1", "leftright"))
    assert len(rows) == len(text) == 1872
    assert len({row["id1"] for row in rows}) == 1775
    key = ("id1", "leftright", "classification", "abnormality", "age")
    assert [[row[name] for name in key] for row in rows] == [[row[name] for name in key] for row in text]


def test_cmmd_lists_the_layout_of_the_real_disk(tmp_path: Path) -> None:
    from collections_trees.files import dicom

    lines = real("formats/tables/folder-layouts/cmmd/pwd_structure.txt").read_text().splitlines()
    chosen = [line for line in lines if "D2-0111/" in line and line.endswith(".dcm")]
    for line in chosen:
        place = int(line[-5])
        dicom(tmp_path / line, ImageLaterality="LR"[place > 2], ViewPosition=("CC", "MLO")[place % 2])
    table = real("formats/tables/cmmd/cmmd_raw_label.csv")
    found = list_cmmd(tmp_path, Choices(table=table))
    sides = {row["leftright"] for row in read_table(table, ("id1",)) if row["id1"] == "D2-0111"}
    assert {one.laterality for one in found.examples} == sides
    assert len(found.problems) == 1872 - len(sides)  # the rows of the other patients


def test_cdd_cesm_has_a_row_for_each_file_of_the_real_disk(tmp_path: Path) -> None:
    lines = real("formats/tables/folder-layouts/cddcesm/pwd_structure.txt").read_text().splitlines()
    files = [line for line in lines if line.endswith(".jpg")]
    for line in files:
        (tmp_path / line).parent.mkdir(exist_ok=True)
        (tmp_path / line).touch()
    table = real("formats/tables/cdd-cesm/Radiology-manual-annotations.xlsx")
    found = list_cdd_cesm(tmp_path, Choices(table=table, options={"energy": "both"}))
    assert len(files) == 2006
    assert (len(found.examples), found.problems) == (2006, ())
    assert len({one.patient for one in found.examples}) == 326


@pytest.mark.parametrize("name", ["B-3024-1", "B-3159-1"])
def test_headers_of_ddsm_are_read(name: str) -> None:
    case = read_case(real(f"formats/tables/ddsm-ics-quoted/{name}.ics"))
    assert (case.name, case.machine, len(case.films)) == (name, "lumisys", 4)
    assert all(film.rows > 4500 and film.columns > 3000 for film in case.films)
    assert [film.has_overlay for film in case.films][:2] == [True, True]
