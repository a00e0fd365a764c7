"""Files of two ranges are warned of alike, as class folders and as a table that is prepared."""

from pathlib import Path

import pytest
from dicom_files import dicom
from source_files import load, noise, write

from orchestrator import prepare_set

COUNT = 20


def vendors(folder: Path, suffix: str) -> Path:
    """Benign images of 0 to 4095, malignant ones of 0 to 65535, in files of 16 bits that do not say so."""
    lines = ["file,label"]
    for name, largest in (("benign", 4095), ("malignant", 65535)):
        for number in range(COUNT):
            image = noise(number + largest, largest=largest)
            file = folder / name / f"{number:02d}{suffix}"
            if suffix == ".dcm":
                dicom(file, image, bits=16)
            else:
                write(file, image)
            lines.append(f"{name}/{file.name},{name}")
    (folder.parent / "labels.csv").write_text("\n".join(lines))
    return folder


def warnings_of(notes: list[str]) -> list[str]:
    return [note for note in notes if "two kinds of files" in note]


@pytest.mark.parametrize("suffix", [".dcm", ".png"])
def test_two_kinds_of_files_are_warned_of_alike(tmp_path: Path, suffix: str) -> None:
    folder = vendors(tmp_path / "films", suffix)
    _, direct = load(folder)
    table = tmp_path / "labels.csv"
    done = prepare_set("dicom", folder, tmp_path / "set", table=table, workers=1)
    (warning,) = warnings_of(list(done.notes))
    assert warning == warnings_of(direct)[0]
    assert warning.startswith(
        f"WARNING: 20 of 40 images hold at most 4095, such as benign/00{suffix}, and others up to 65535"
    )


def test_with_hashed_ids_no_file_is_named(tmp_path: Path) -> None:
    folder = vendors(tmp_path / "films", ".png")
    (tmp_path / "key").write_text("0123456789abcdef")
    done = prepare_set(
        "dicom", folder, tmp_path / "set", table=tmp_path / "labels.csv", hash_ids=str(tmp_path / "key")
    )
    (warning,) = warnings_of(list(done.notes))
    assert "benign/" not in warning


def test_a_file_that_states_its_white_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = vendors(tmp_path / "films", ".png")
    (folder / "benign" / "stated.pgm").write_bytes(b"P5 8 8 1023\n" + (b"\x00\x40" * 64))
    _, notes = load(folder)
    (warning,) = warnings_of(notes)
    assert warning.startswith("WARNING: 20 of 41 images hold at most 4095, such as 00.png, and others up to")
