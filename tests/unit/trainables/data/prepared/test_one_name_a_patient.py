"""A patient whom the table names on one film and a header on another is one patient."""

from pathlib import Path
from typing import Any

import pytest
from dicom_tree import PLANTED, film, write_dicom

from orchestrator import prepare_set
from trainables.data.prepared_set import PreparedSet


def prepared(folder: Path, rows: list[tuple[str, str]], **asked: Any) -> PreparedSet:
    """Films of a patient in the header and a patient in the table, one exam a patient in the header."""
    lines = ["file,label,patient,exam"]
    for number, (header, listed) in enumerate(rows):
        pixels = film(number, is_malignant=number % 2 > 0, side="L")
        write_dicom(
            folder / "films" / f"{number}.dcm",
            pixels,
            patient=header,
            side="L",
            view="CC",
            study=f"1.2.{len(header)}",
        )
        lines.append(f"{number}.dcm,{number % 2},{listed},{listed and 'E-' + listed}")
    (folder / "films" / "labels.csv").write_text("\n".join(lines) + "\n")
    return prepare_set("dicom", folder / "films", folder / "set", workers=1, **asked).prepared


def test_a_blank_cell_is_filled_by_the_id_that_the_table_gives_to_the_same_header(tmp_path: Path) -> None:
    found = prepared(tmp_path, [("883112", "P7"), ("883112", ""), ("9", "P8"), ("44", "")])
    assert found.table["patient"] == ["P7", "P7", "P8", f"{PLANTED[5]}-44"]
    assert found.table["exam"] == ["E-P7", "E-P7", "E-P8", "1.2.2"]
    patients = found.as_patches().patients
    assert patients is not None
    assert len(set(patients.tolist())) == 3


def test_so_it_is_where_ids_are_hashed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef" * 4)
    rows = [("883112", "P7"), ("883112", ""), ("9", "P8")]
    one, same, other = prepared(tmp_path, rows, hash_ids=str(tmp_path / "key")).table["patient"]
    assert one == same != other


def test_a_header_that_stands_on_films_of_several_patients_names_none(tmp_path: Path) -> None:
    rows = [("removed", f"P{number}") for number in range(12)] + [("removed", "")]
    found = prepared(tmp_path, rows)
    assert found.table["patient"][-2:] == ["P11", None]
    (warning,) = [note for note in found.facts["notes"] if note.startswith("WARNING")]
    assert "1 of 13 images has no patient" in warning


def test_a_table_without_patients_leaves_all_to_the_headers(tmp_path: Path) -> None:
    found = prepared(tmp_path, [("883112", ""), ("883112", ""), ("9", "")])
    assert found.table["patient"] == [f"{PLANTED[5]}-{name}" for name in ("883112", "883112", "9")]


@pytest.mark.parametrize("word", ["unknown", "NaN"])
def test_a_word_for_nobody_is_a_blank_cell(tmp_path: Path, word: str) -> None:
    found = prepared(tmp_path, [("883112", "P7"), ("883112", word), ("9", "P8")])
    assert found.table["patient"] == ["P7", "P7", "P8"]
