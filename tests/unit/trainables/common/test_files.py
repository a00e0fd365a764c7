"""Files are written whole, and who may read them is the user's choice, by the umask."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainables.common.files import folder_in_progress, make_private, replace_folder, write_atomically

WRITES = """
import os, sys
from pathlib import Path
import numpy as np
from trainables.common.files import folder_in_progress, write_atomically
from trainables.data.patches import RawPatches, store_patch_set
os.umask(int(sys.argv[1], 8))
place = Path(sys.argv[2])
write_atomically(place / "new" / "a.json", "a")
with folder_in_progress(place / "bundle") as folder:
    write_atomically(folder / "b.json", "b")
    folder.rename(place / "bundle")
images = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
labels, patients = np.array([0, 1, 0, 1]), np.array(["a", "b", "c", "d"])
store_patch_set(RawPatches(images, labels, "task", patients=patients, source="s"), place / "data")
"""


@pytest.mark.parametrize(
    ("umask", "file_mode", "folder_mode"),
    [("077", 0o600, 0o700), ("022", 0o644, 0o755), ("027", 0o640, 0o750), ("002", 0o664, 0o775)],
)
def test_files_and_folders_of_patients_are_as_open_as_the_umask_says(
    tmp_path: Path, umask: str, file_mode: int, folder_mode: int
) -> None:
    subprocess.run([sys.executable, "-c", WRITES, umask, str(tmp_path)], check=True)
    entries = list(tmp_path.rglob("*"))
    files = [path for path in entries if path.is_file() and not path.name.endswith(".lock")]
    assert {"a.json", "b.json", "patients.npy", "images.npy"} <= {path.name for path in files}
    assert {path.stat().st_mode & 0o777 for path in files} == {file_mode}
    assert {path.stat().st_mode & 0o777 for path in entries if path.is_dir()} == {folder_mode}


@pytest.mark.parametrize(("umask", "mode"), [("022", 0o700), ("077", 0o700), ("027", 0o700), ("002", 0o770)])
def test_a_private_folder_is_closed_to_others_and_open_to_a_group_that_works_together(
    tmp_path: Path, umask: str, mode: int
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from trainables.common.files import make_private\n"
        "os.umask(int(sys.argv[1], 8)); make_private(Path(sys.argv[2]))"
    )
    folder = tmp_path / "runs" / "task" / "own"
    subprocess.run([sys.executable, "-c", code, umask, str(folder)], check=True)
    assert folder.stat().st_mode & 0o777 == mode
    with pytest.raises(FileExistsError):
        make_private(folder)


def test_a_file_that_cannot_be_finished_leaves_the_old_one_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.json"
    write_atomically(file, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["a" * 250, "日" * 80, "👍" * 60])
def test_a_long_name_has_room_for_its_temporary_one(tmp_path: Path, name: str) -> None:
    write_atomically(tmp_path / name, b"x")
    with folder_in_progress(tmp_path / f"{name[:-1]}b") as folder:
        replace_folder(tmp_path / f"{name[:-1]}b", folder)
    assert len(list(tmp_path.iterdir())) == 2
