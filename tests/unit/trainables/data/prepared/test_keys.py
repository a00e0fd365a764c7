"""Keys of the hashes that replace ids."""

from pathlib import Path

import pytest
from source_files import noise, write

from orchestrator import prepare_set
from trainables.common.errors import ConfigError
from trainables.data.prepared.identity import hashed, identifies, read_key


def test_a_key_is_read_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("0123456789abcdef\n")
    monkeypatch.setenv("KEY_OF_IDS", "0123456789abcdef")
    assert read_key(str(tmp_path / "key")) == read_key("env:KEY_OF_IDS") == b"0123456789abcdef"
    assert hashed("a", b"0" * 16) != hashed("a", b"1" * 16)
    assert hashed("a", b"0" * 16) != hashed("b", b"0" * 16)


def test_a_key_that_is_missing_or_short_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY_OF_IDS", raising=False)
    with pytest.raises(ConfigError, match=r"variable KEY_OF_IDS, .* is not set"):
        read_key("env:KEY_OF_IDS")
    with pytest.raises(ConfigError, match="cannot be read from"):
        read_key(str(tmp_path / "gone"))
    (tmp_path / "key").write_text("short")
    with pytest.raises(ConfigError, match="at least 16 characters, found 5"):
        read_key(str(tmp_path / "key"))


def test_further_columns_that_speak_of_an_id_are_hashed_under_a_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef")
    rows = ["file,label,patient,patient_no,case id,age_years"]
    for number in range(4):
        write(tmp_path / "tree" / f"{number}.png", noise(number))
        rows.append(f"{number}.png,{number % 2},p{number // 2},b{number // 2},7,51")
    (tmp_path / "tree" / "labels.csv").write_text("\n".join(rows))
    table = prepare_set(
        "dicom", tmp_path / "tree", tmp_path / "set", hash_ids=str(tmp_path / "key")
    ).prepared.table
    key = b"0123456789abcdef"
    assert list(table["patient_no"]) == [hashed(f"b{number // 2}", key) for number in range(4)]
    assert set(table["case id"]) == {hashed("7.0", key)}
    assert set(table["age_years"]) == {51}


@pytest.mark.parametrize(
    "name",
    [
        "patient_no",
        "case_id",
        "CaseID",
        "mrn",
        "id",
        "study uid",
        "SOPInstanceUID",
        "accession number",
        "case",
    ],
)
def test_a_column_of_ids_is_known_by_its_name(name: str) -> None:
    assert identifies(name)


@pytest.mark.parametrize(
    "name",
    ["age_years", "patient_age", "study_date", "machine", "view", "is_extra", "width", "covid", "side"],
)
def test_a_column_of_facts_is_not_taken_for_one_of_ids(name: str) -> None:
    assert not identifies(name)
