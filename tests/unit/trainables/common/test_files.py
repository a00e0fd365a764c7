"""Files are written whole, and who may read them is the user's choice, by the umask."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trainables.common.appending import append_line
from trainables.common.files import (
    folder_in_progress,
    make_private,
    open_own,
    read_plain,
    replace_folder,
    write_atomically,
)
from trainables.features.locks import held

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


def lock(path: Path) -> None:
    with held(path, may_wait=False):
        pass


def appended(path: Path) -> None:
    append_line(path, "a line")


def opened(path: Path) -> None:
    os.close(open_own(path, os.O_WRONLY | os.O_CREAT))


@pytest.mark.parametrize("write", [lock, appended, opened])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_in_the_place_of_an_own_file_is_not_written_through(
    tmp_path: Path, write: Callable[[Path], None], is_there: bool
) -> None:
    named, link = tmp_path / "precious", tmp_path / "link"
    if is_there:
        named.write_text("of the user")
    link.symlink_to(named)
    with pytest.raises(OSError, match="it is a symbolic link, which is not followed"):
        write(link)
    assert named.exists() == is_there
    assert not is_there or named.read_text() == "of the user"


@pytest.mark.parametrize("use", [appended, read_plain, lock])
def test_a_pipe_in_the_place_of_an_own_file_is_refused_and_not_waited_for(
    tmp_path: Path, use: Callable[[Path], object]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is no regular file"):
        use(tmp_path / "pipe")


def test_a_plain_file_is_read_through_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_plain(tmp_path / "link") == b"content"
