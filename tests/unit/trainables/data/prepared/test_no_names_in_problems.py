"""With hashed ids no name of a file reaches a set, and without them no path of this machine does."""

from pathlib import Path

import numpy as np
import pytest
from dicom_files import dicom, film
from made_up_collection import made_up
from source_files import noise, write

from orchestrator.api.prepared_sets import prepare_set
from trainables.data.collections.collection import Choices, Collection, Example, Listing, Problem
from trainables.data.prepared.engine import prepare
from trainables.data.prepared.identity import nameless
from trainables.data.prepared.settings import Settings

KEY = b"0123456789abcdef"
PLANTED = (b"Mueller", b"Anna")


def collection(raw: Path) -> Collection:
    """Four images: one of another proportion than its mask, one with a broken mask, one without it."""
    made = []
    for number in range(5):
        file, mask = raw / f"Mueller_{number}.png", raw / f"Mueller_Anna_{number}_mask.png"
        write(file, noise(number, side=40))
        outline = (noise(number, side=40) > 100).astype(np.uint8) * 255
        if number == 1:
            write(mask, outline[:, :7])
        elif number == 2:
            mask.write_bytes(b"nothing")
        elif number != 3:
            write(mask, outline)
        one = Example(file, file.stem, number % 2, patient="Mueller", exam="Anna", mask=mask, cut="whole")
        made.append(one)
    problems = (
        Problem("Mueller/9.png", "has Mueller/9.png beside Anna.png; leave it out"),
        Problem("row 7", "names Anna Mueller 7.dcm, which is not there"),
        Problem("row 8", "names Mueller, and 2 files are called that; write its path below the folder"),
    )
    notes = ("2 image files without a row in the table: Anna Mueller, Anna 2.dcm", "as in Mueller.png")
    listing = Listing(tuple(made), "task", notes=notes, problems=problems, classes=("benign", "malignant"))
    return made_up(listing)


def test_no_planted_name_is_in_any_file_of_a_hashed_set(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    done = prepare(collection(raw), raw, tmp_path / "set", Choices(), Settings(key=KEY))
    assert len(done.prepared.images) == 2
    assert len(done.problems) == 6
    files = list((tmp_path / "set").iterdir())
    assert len(files) >= 5
    for file in files:
        for planted in (*PLANTED, str(tmp_path).encode()):
            assert planted not in file.read_bytes(), f"{planted!r} in {file.name}"
    reasons = [problem.reason for problem in done.problems]
    assert "has 40x40 pixels, and its mask has 40x7" in reasons
    assert "names a file, which is not there" in reasons


def test_without_hashes_problems_name_files_and_no_path_of_this_machine(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    done = prepare(collection(raw), raw, tmp_path / "set", Choices(), Settings())
    said = (tmp_path / "set" / "problems.csv").read_text()
    assert str(tmp_path) not in said
    for number in (1, 2, 3):
        assert f"Mueller_Anna_{number}_mask.png" in said
    assert any("without a row in the table: Anna" in note for note in done.notes)


def test_a_tree_with_a_table_leaks_no_name_of_a_file_without_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_OF_IDS", KEY.decode())
    folder = tmp_path / "films"
    for number in range(4):
        dicom(folder / f"{number}.dcm", film(seed=number), bits=12)
    dicom(folder / "Mueller Anna 1970.dcm", film(seed=9), bits=12)
    lines = [f"{number}.dcm,{('benign', 'malignant')[number % 2]}" for number in range(4)]
    lines += ["Anna Mueller 2.dcm,benign"]
    (folder / "labels.csv").write_text("\n".join(["file,label", *lines]) + "\n")
    done = prepare_set("dicom", folder, tmp_path / "set", hash_ids="env:KEY_OF_IDS", size=(48, 32), workers=1)
    assert "1 image file without a row in the table" in done.notes
    for file in (tmp_path / "set").iterdir():
        assert not any(planted in file.read_bytes() for planted in PLANTED), file.name


def test_counts_and_sizes_stay_in_a_reason(tmp_path: Path) -> None:
    example = Example(tmp_path / "12.png", "12", 0, patient="1")
    assert nameless("has 12x1 pixels, and 12 are needed", example) == "has 12x1 pixels, and 12 are needed"
