"""Names of files that are not UTF-8 are written as escapes and fail no preparation."""

import os
from pathlib import Path

import numpy as np
import pytest
from source_files import load, noise, write

from orchestrator.api.prepared_sets import prepare_set
from trainables.data.prepared_set import open_prepared_set


def films(folder: Path) -> Path:
    """Class folders of six films; the names of one film and of one broken file are Latin-1."""
    for number in range(6):
        write(folder / ("benign", "malignant")[number % 2] / f"{number}.png", noise(number))
    benign = os.fsencode(folder / "benign")
    try:
        (folder / "benign" / "0.png").rename(os.fsdecode(benign + b"/M\xfcller.png"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")  # so no such file can be there
    Path(os.fsdecode(benign + b"/W\xf6rle.png")).write_bytes(b"broken")
    return folder


@pytest.mark.parametrize("is_hashed", [False, True])
def test_a_film_whose_name_is_no_utf8_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_hashed: bool
) -> None:
    monkeypatch.setenv("KEY_OF_IDS", "0123456789abcdef")
    folder = films(tmp_path / "films")
    key = "env:KEY_OF_IDS" if is_hashed else None
    done = prepare_set("folder", folder, tmp_path / "set", hash_ids=key, workers=1)
    assert len(done.prepared.images) == 6
    again = open_prepared_set(tmp_path / "set")
    patch_set, _ = load(tmp_path / "set")
    assert patch_set.fingerprint == again.fingerprint
    if not is_hashed:
        assert "benign/M\\udcfcller.png" in again.table["file"]
        row = again.table["file"].index("benign/M\\udcfcller.png")
        np.testing.assert_array_equal(again.images[row], noise(0))
        assert [problem.what for problem in done.problems] == ["benign/W\\udcf6rle.png"]
