"""No value of a column that speaks of a person reaches a set with hashed ids, whatever its language."""

from pathlib import Path

import pytest
from source_files import noise, write

from orchestrator.api.prepared_sets import PreparedCollection, prepare_set
from trainables.common.errors import DataError

HEADERS = {
    "English": "Date of Birth,Address,Patient-No,Accession No",
    "German": "Geburtsdatum,Adresse,Patienten-Nr,Fallnummer",
    "French": "Date de naissance,Prénom,N° patient,Numéro de dossier",
    "Italian": "Data di nascita,Indirizzo,Codice paziente,Numero cartella",
    "Spanish": "Fecha de nacimiento,Dirección,Código paciente,Nº historia clínica",
}
COUNT = 4


def tree(folder: Path, personal: str, *, patient: str) -> Path:
    """Images with a table of four personal columns, whose cells are all planted, and one fact."""
    lines = [f"file,label,{patient}{personal},density"]
    for number in range(COUNT):
        write(folder / f"{number}.png", noise(number))
        planted = ",".join(f"planted{number // 2}{place}" for place in range(4))
        own = f"p{number // 2}," if patient else ""
        lines.append(f"{number}.png,{number % 2},{own}{planted},b")
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def hashed_set(folder: Path, personal: str) -> PreparedCollection:
    (folder / "key").write_text("0123456789abcdef")
    raw = tree(folder / "tree", personal, patient="patient,")
    return prepare_set("dicom", raw, folder / "set", hash_ids=str(folder / "key"), workers=1)


@pytest.mark.parametrize("language", HEADERS)
def test_no_planted_value_is_in_any_file_of_a_hashed_set(tmp_path: Path, language: str) -> None:
    done = hashed_set(tmp_path, HEADERS[language])
    table = done.prepared.table
    assert not any("planted" in str(value) for values in table.values() for value in values)
    for file in (tmp_path / "set").iterdir():
        assert b"planted" not in file.read_bytes(), file.name
    first, second, *ids = HEADERS[language].lower().split(",")
    assert f"columns left out, as they may name a person: {first}, {second}" in done.notes
    assert all(len(set(table[name])) == COUNT / 2 for name in ids)


def test_columns_that_are_kept_are_named_where_ids_are_hashed(tmp_path: Path) -> None:
    said = (
        "columns of the table that are kept as they are: density; leave out what could tell who a person is"
    )
    assert said in hashed_set(tmp_path, HEADERS["German"]).notes
    plain = prepare_set("dicom", tmp_path / "tree", tmp_path / "plain", workers=1)
    assert not any("kept as they are" in note for note in plain.notes)


@pytest.mark.parametrize("language", HEADERS)
def test_a_column_of_patients_is_asked_about_in_every_language(tmp_path: Path, language: str) -> None:
    asked = HEADERS[language].lower().split(",")[2]
    raw = tree(tmp_path / "tree", HEADERS[language], patient="")
    with pytest.raises(DataError, match=rf"labels\.csv: the column {asked} is not read as patient; did you"):
        prepare_set("dicom", raw, tmp_path / "set", workers=1)
