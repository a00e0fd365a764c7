"""Two spellings of a patient are asked about by every reader: case, blanks, and zeros of spreadsheets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from source_files import COLOUR, GREY, class_folders, load, npz, pisa, write

from trainables.common.errors import DataError
from trainables.data.collections.collection import Choices
from trainables.data.collections.dicom import DICOM
from trainables.data.sources.checks import check_spellings


def read_npz(folder: Path, one: str, other: str) -> None:
    load(npz(folder, patient=np.array([one, other, "a", "b", "c", "d"])))


def read_patients_csv(folder: Path, one: str, other: str) -> None:
    films = class_folders(folder)
    rows = [f"{n}.png,{name}" for n, name in enumerate((one, other, "a", "b", "c", "d"))]
    (films / "patients.csv").write_text("\n".join(["file,patient", *rows]))
    load(films)


def read_labels_csv(folder: Path, one: str, other: str) -> None:
    for number in range(2):
        write(folder / f"{number}.png", GREY[number])
    (folder / "labels.csv").write_text(f"file,label,patient\n0.png,0,{one}\n1.png,1,{other}\n")
    DICOM.list(folder, Choices())


def read_pisa(folder: Path, one: str, other: str) -> None:
    parts = {"train_patient": np.array([one, *"aabbc"]), "public_test_patient": np.array([other, *"dee"])}
    load(pisa(folder, **parts))


def read_folders(folder: Path, one: str, other: str) -> None:
    for number, name in enumerate((one, other, "P3", "P4")):
        write(folder / "films" / name / ("benign", "malignant")[number % 2] / f"{number}.png", COLOUR[number])
    load(folder / "films", upper_folders="patients")


READERS = (read_npz, read_patients_csv, read_labels_csv, read_pisa, read_folders)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("one", "other"), [("0012", "12"), ("P12", "p12"), ("P 12", "P12"), ("12", "12.0"), ("0012", "12.0")]
)
def test_two_spellings_are_asked_about(
    tmp_path: Path, read: Callable[[Path, str, str], None], one: str, other: str
) -> None:
    with pytest.raises(DataError, match=r"patients .* and .* may be one; write it in one way, or, if they"):
        read(tmp_path, other, one)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(("one", "other"), [("120", "12"), ("P012", "P12"), ("P1-2", "P12"), ("1.20", "1.2")])
def test_other_names_are_two_patients(
    tmp_path: Path, read: Callable[[Path, str, str], None], one: str, other: str
) -> None:
    read(tmp_path, one, other)


def test_words_for_nobody_are_no_spellings() -> None:
    check_spellings(["", "unknown", "Unknown", "NaN", "nan", "NA"], "labels.csv")
    with pytest.raises(DataError, match=r"^labels\.csv: patients 0\.0 and 000 may be one"):
        check_spellings(["0.0", "1", "000"], "labels.csv")
