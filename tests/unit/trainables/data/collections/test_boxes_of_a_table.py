"""A table with boxes: whole images and regions are not mixed, and the user chooses which are taken."""

import csv
from pathlib import Path

import pytest
from collections_trees import TREES
from source_files import noise, write

from orchestrator import prepare_set
from trainables.common.errors import DataError
from trainables.data.collections import COLLECTIONS
from trainables.data.collections.collection import Box, Choices, Listing

HEADER = ("file", "label", "box_left", "box_top", "box_width", "box_height")
BOX, NONE = (2, 3, 8, 8), ("", "", "", "")


def tree(folder: Path, *rows: tuple[object, ...]) -> Path:
    """Images of 20 pixels a side with a table."""
    for row in rows:
        write(folder / str(row[0]), noise(len(str(row[0])) + int(str(row[0])[0]), side=20))
    with (folder / "labels.csv").open("w", newline="") as table:
        csv.writer(table).writerows([HEADER, *rows])
    return folder


def boxed_lesions(folder: Path) -> Path:
    """Boxes for malignant images only."""
    rows = [(f"{n}.png", ("benign", "malignant")[n % 2], *(BOX if n % 2 else NONE)) for n in range(8)]
    return tree(folder, *rows)


def test_boxes_for_one_class_alone_would_give_the_label_away(tmp_path: Path) -> None:
    folder = boxed_lesions(tmp_path / "tree")
    said = (
        r"tree mixes 4 whole images with 4 regions \(benign 4 and 0; malignant 0 and 4\), so that the kind "
        "of an image would give its label away; give every image a region, or take whole images with "
        "--regions image"
    )
    with pytest.raises(DataError, match=said):
        prepare_set("dicom", folder, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_boxes_for_some_images_of_every_class_are_refused_too(tmp_path: Path) -> None:
    rows = [(f"{n}.png", ("benign", "malignant")[n % 2], *(BOX if n > 3 else NONE)) for n in range(8)]
    with pytest.raises(
        DataError, match=r"\(benign 2 and 2; malignant 2 and 2\), so that a model would learn"
    ):
        prepare_set("dicom", tree(tmp_path / "tree", *rows), tmp_path / "set")


def test_whole_images_are_taken_where_they_are_asked_for(tmp_path: Path) -> None:
    folder = boxed_lesions(tmp_path / "tree")
    prepared = prepare_set("dicom", folder, tmp_path / "set", regions="image").prepared
    assert prepared.images.shape == (8, 20, 20)
    assert set(prepared.table["box_width"]) == {20}


def test_several_boxes_of_an_image_are_one_whole_image_if_they_agree(tmp_path: Path) -> None:
    second = (9, 9, 4, 4)
    rows = [("1.png", "benign", *BOX), ("1.png", "benign", *second), ("2.png", "malignant", *BOX)]
    found = listed(tree(tmp_path, *rows, ("3.png", "benign", *BOX), ("3.png", "malignant", *second)), "image")
    assert [(one.name, one.label, one.box) for one in found.examples] == [
        ("1.png", 0, None),
        ("2.png", 1, None),
    ]
    assert [(one.what, one.reason) for one in found.problems] == [("3.png", "has rows of several labels")]


def test_regions_are_taken_where_they_are_asked_for(tmp_path: Path) -> None:
    found = listed(boxed_lesions(tmp_path), "roi")
    assert {one.label for one in found.examples} == {1}
    assert {one.reason for one in found.problems} == {"has no box, which --regions roi needs"}
    assert len(found.problems) == 4


def listed(folder: Path, regions: str) -> Listing:
    choices = Choices(regions="image" if regions == "image" else "roi")
    return COLLECTIONS["dicom"].list(folder, choices)


def test_busi_regions_leave_normal_images_out(tmp_path: Path) -> None:
    TREES["busi"].build(tmp_path / "busi")
    done = prepare_set("busi", tmp_path / "busi", tmp_path / "set", regions="roi")
    assert set(done.prepared.table["label"]) == {1, 2}
    assert "2 images of normal tissue left out, as no region of them is outlined" in done.notes


@pytest.mark.parametrize(
    "boxes", [("0.2,0.3,0.8,0.9", "0.1,0.1,1,0.5"), ("0,0,1,1", ""), ("0.25,0.25,0.75,0.5",)]
)
def test_boxes_in_shares_of_the_image_are_refused(tmp_path: Path, boxes: tuple[str, ...]) -> None:
    said = "labels.csv: the boxes must be in pixels of the image, and all their numbers lie between 0 and 1"
    for columns in ("xmin,ymin,xmax,ymax", "box_left,box_top,box_width,box_height"):
        with pytest.raises(DataError, match=said):
            listed(written(tmp_path, columns, *boxes), "roi")


def test_one_row_in_shares_is_a_problem_and_boxes_at_the_corner_are_none(tmp_path: Path) -> None:
    found = listed(written(tmp_path, "xmin,ymin,xmax,ymax", "0,0,1,2", "0.2,0.3,0.8,0.9"), "roi")
    assert [one.box for one in found.examples] == [Box(0, 0, 1, 2)]
    (problem,) = found.problems
    assert (problem.what, "in shares of the image" in problem.reason) == ("labels.csv, line 3", True)


@pytest.mark.parametrize("cell", ["inf", "-inf", "1e400"])
def test_a_box_without_end_is_a_problem(tmp_path: Path, cell: str) -> None:
    found = listed(written(tmp_path, "xmin,ymin,xmax,ymax", "1,2,9,9", f"1,2,{cell},9"), "roi")
    assert [problem.what for problem in found.problems] == ["labels.csv, line 3"]


def written(folder: Path, columns: str, *boxes: str) -> Path:
    """Images of 20 pixels a side with boxes by the columns that are named."""
    lines = [f"file,label,{columns}"]
    for number, box in enumerate(boxes):
        write(folder / f"{number}.png", noise(number, side=20))
        lines.append(f"{number}.png,benign,{box or ',,,'}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder
