"""Images that no row names are counted by their content, and no image with a row is called one without."""

from pathlib import Path

from dicom_files import dicom, film
from source_files import noise, write

from trainables.data.collections.collection import Choices
from trainables.data.collections.dicom import DICOM


def notes_of(folder: Path, *rows: str) -> list[str]:
    (folder / "labels.csv").write_text("\n".join(["file,label,split", *rows]) + "\n")
    return [note for note in DICOM.list(folder, Choices()).notes if "without a row" in note]


def test_dicom_files_without_an_ending_are_counted(tmp_path: Path) -> None:
    for number in range(3):
        dicom(tmp_path / f"IM000{number}", film(seed=number), bits=12)
    write(tmp_path / "a.png", noise(1))
    (tmp_path / "a.png").rename(tmp_path / "picture")
    assert notes_of(tmp_path, "IM0000,benign,", "IM0002,malignant,") == [
        "2 image files without a row in the table: IM0001, picture"
    ]


def test_what_is_no_image_is_not_counted(tmp_path: Path) -> None:
    dicom(tmp_path / "IM0000", film(), bits=12)
    report = {"Rows": None, "Columns": None, "PixelData": None, "Modality": "SR"}
    dicom(tmp_path / "SR0001", film(seed=1), bits=12, **report)
    dicom(tmp_path / "DICOMDIR", film(seed=2), bits=12, **report)
    (tmp_path / "notes.txt").write_text("to do")
    (tmp_path / "VERSION").write_text("1")
    assert not notes_of(tmp_path, "IM0000,benign,")


def test_an_image_whose_row_cannot_be_used_is_not_called_one_without(tmp_path: Path) -> None:
    for number in range(4):
        write(tmp_path / f"{number}.png", noise(number))
    rows = ["0.png,benign,train", "1.png,BENIGNN,train", "2.png,benign,holdout"]
    assert notes_of(tmp_path, *rows) == ["1 image file without a row in the table: 3.png"]
