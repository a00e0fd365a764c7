"""What a table says of images and their headers say otherwise is counted, and one of each is named."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from dicom_tree import film, write_dicom
from source_files import noise, write

from orchestrator import prepare_set
from trainables.data.prepared.identity import hashed

pytestmark = pytest.mark.slow


def notes_of(folder: Path, rows: Sequence[dict[str, str]], **asked: Any) -> list[str]:
    """Notes of a set of films, each with what its header says and what its row says."""
    lines = ["file,label,patient,exam,laterality,view"]
    for number, row in enumerate(rows):
        write_dicom(
            folder / "films" / f"{number}.dcm",
            film(number, is_malignant=number % 2 > 0, side=row.get("header_side", "L")),
            patient=row.get("header", f"h{number}"),
            side=row.get("header_side", "L"),
            view=row.get("header_view", "CC"),
            study=f"1.2.{row.get('study', number + 1)}",
        )
        cells = [f"{number}.dcm", str(number % 2), row.get("patient", ""), row.get("exam", "")]
        lines.append(",".join([*cells, row.get("side", ""), row.get("view", "")]))
    (folder / "films" / "labels.csv").write_text("\n".join(lines) + "\n")
    found = prepare_set("dicom", folder / "films", folder / "set", workers=1, **asked)
    return list(found.prepared.facts["notes"])


def twenty(header: str, *shared: int) -> list[dict[str, str]]:
    """Twenty patients of the table, some of whom have one PatientID."""
    return [
        {"patient": f"P{number}", "header": header if number in shared else f"h{number}"}
        for number in range(20)
    ]


def shared_ids(notes: Sequence[str], tag: str = "PatientID") -> list[str]:
    return [note for note in notes if tag in note]


SAID = (
    "WARNING: 1 PatientID stands on films of several patients of the table, such as {} and {}; if they are "
    "one, give her one name: else her images may be in two parts"
)


def test_one_woman_under_two_names_of_the_table_is_noticed(tmp_path: Path) -> None:
    assert shared_ids(notes_of(tmp_path, twenty("883", 7, 8))) == [SAID.format("P7", "P8")]


def test_so_she_is_where_ids_are_hashed(tmp_path: Path) -> None:
    key = b"0123456789abcdef" * 2
    (tmp_path / "key").write_bytes(key)
    found = shared_ids(notes_of(tmp_path, twenty("883", 7, 8), hash_ids=str(tmp_path / "key")))
    assert found == [SAID.format(hashed("P7", key), hashed("P8", key))]


def test_an_id_in_place_of_all_ids_is_no_contradiction(tmp_path: Path) -> None:
    assert not shared_ids(notes_of(tmp_path, twenty("removed", *range(18))))


def test_one_study_in_two_examinations_is_said(tmp_path: Path) -> None:
    rows = [{"patient": f"P{n}", "exam": f"E{n}", "study": "9" if n in (2, 3) else f"1{n}"} for n in range(8)]
    assert shared_ids(notes_of(tmp_path, rows), "StudyInstanceUID") == [
        "1 StudyInstanceUID stands on films of several examinations of the table, such as E2 and E3"
    ]


def test_a_side_and_a_view_that_the_header_contradicts_are_counted(tmp_path: Path) -> None:
    rows = [{"side": "L", "view": "CC"} for _ in range(6)]
    rows[2] |= {"header_side": "R"}
    rows[4] |= {"header_side": "R", "header_view": "MLO"}
    rows[5] |= {"side": "left", "view": "unknown"}
    found = [note for note in notes_of(tmp_path, rows) if "in the table than in the header" in note]
    assert found == [
        "2 images have another side in the table than in the header of the file, such as 2.dcm (L, and R in "
        "its header); that of the table is taken",
        "1 image has another view in the table than in the header of the file, such as 4.dcm (CC, and MLO in "
        "its header); that of the table is taken",
    ]


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (["2,3,10,10", "0,0,20,20"], None),
        (
            ["2,3,21,10", "0,0,20,20"],
            "1 box reaches beyond the image and is cut at its edge, such as that of ",
        ),
        (
            ["-1,3,10,10", "1,1,9,25"],
            "2 boxes reach beyond the image and are cut at its edge, such as that of ",
        ),
    ],
)
def test_boxes_that_are_cut_at_the_edge_are_counted(
    tmp_path: Path, boxes: list[str], said: str | None
) -> None:
    lines = ["file,label,xmin,ymin,xmax,ymax"]
    for number, box in enumerate(boxes):
        write(tmp_path / "tree" / f"{number}.png", noise(number, side=20))
        lines.append(f"{number}.png,{number},{box}")
    (tmp_path / "tree" / "labels.csv").write_text("\n".join(lines))
    done = prepare_set("dicom", tmp_path / "tree", tmp_path / "set", workers=1)
    found = [note for note in done.notes if "beyond" in note]
    first = boxes[0].partition(",")
    assert found == ([] if said is None else [f"{said}0.png@{first[0]},{first[2].partition(',')[0]}"])
