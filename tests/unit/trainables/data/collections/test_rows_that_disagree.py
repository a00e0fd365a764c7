"""What rows of a published table call both benign and malignant is left out, and named."""

import csv
from pathlib import Path

import pytest
from collections_trees import TREES, cmmd
from collections_trees.files import workbook

from trainables.data.collections import COLLECTIONS
from trainables.data.collections.collection import Choices, Listing


def listed(name: str, folder: Path, **options: str) -> Listing:
    return COLLECTIONS[name].list(folder, Choices(options=options))


def with_rows(folder: Path, *rows: tuple[object, ...]) -> Path:
    cmmd.build(folder)
    workbook(folder / "CMMD_clinicaldata_revision.xlsx", [cmmd.HEADER, *cmmd.ROWS, *rows])
    return folder


def test_a_breast_of_cmmd_that_is_benign_and_malignant_is_left_out(tmp_path: Path) -> None:
    folder = with_rows(tmp_path, ("D2-0003", "L", 61, 2, "mass", "Benign", None))
    found = listed("cmmd", folder)
    assert not [one.name for one in found.examples if one.name.startswith("D2-0003_L")]
    assert len(found.examples) == cmmd.EXAMPLES - 2
    (problem,) = [one for one in found.problems if "D2-0003" in one.what]
    assert (problem.what, problem.reason) == (
        "CMMD_clinicaldata_revision.xlsx, D2-0003 L",
        "has rows of several labels",
    )


def test_a_breast_of_cmmd_of_two_findings_is_left_out_where_they_are_the_labels(tmp_path: Path) -> None:
    folder = with_rows(
        tmp_path,
        ("D2-0003", "L", 61, 2, "calcification", "Malignant", None),
        ("D2-0003", "R", 61, 2, "both", "Benign", None),
    )
    assert len(listed("cmmd", folder).examples) == cmmd.EXAMPLES  # both are malignant, and benign
    found = listed("cmmd", folder, labels="findings")
    assert not [one.name for one in found.examples if one.name.startswith("D2-0003")]
    assert "2 breasts with mass and calcification left out" in found.notes
    assert [one.what for one in found.problems if "D2-0003" in one.what] == [
        "CMMD_clinicaldata_revision.xlsx, D2-0003 L"
    ]


@pytest.mark.parametrize(("level", "is_torn"), [("2", True), ("none", True), ("5", False)])
def test_an_image_of_inbreast_that_is_suspicious_in_one_row_alone_is_left_out(
    tmp_path: Path, level: str, is_torn: bool
) -> None:
    TREES["inbreast"].build(tmp_path)
    with (tmp_path / "INbreast.csv").open("a") as table:
        table.write(f"\r\nremoved;removed;L;CC;201001;22678622;2;{level}")
    found = listed("inbreast", tmp_path)
    assert ("22678622" in {one.name for one in found.examples}) != is_torn
    said = [one.reason for one in found.problems if one.what == "22678622"]
    assert said == ["has rows of several labels"] * is_torn


def test_an_image_of_vindr_that_is_suspicious_in_one_row_alone_is_left_out(tmp_path: Path) -> None:
    TREES["vindr-mammo"].build(tmp_path)
    file = tmp_path / "breast-level_annotations.csv"
    with file.open(newline="") as table:
        rows = list(csv.DictReader(table))
    with file.open("a", newline="") as table:
        csv.DictWriter(table, list(rows[0])).writerow(rows[0] | {"breast_birads": "BI-RADS 2"})
    found = listed("vindr-mammo", tmp_path)
    assert rows[0]["image_id"] not in {one.name for one in found.examples}
    assert f"image {rows[0]['image_id']}" in {
        one.what for one in found.problems if one.reason == "has rows of several labels"
    }
