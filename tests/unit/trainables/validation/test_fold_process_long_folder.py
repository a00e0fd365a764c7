"""A process of a fold where the path of the temporary folder is too long for a socket."""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from isolated_folds import FROZEN, material_of, place_in

from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet
from trainables.validation.fold_process import FoldTask

_TRAINS = """
import multiprocessing.util, pickle, sys, tempfile
from trainables.validation.fold_process import FoldProcess
with FoldProcess(pickle.load(open(sys.argv[1], "rb"))) as process:
    print(type(process.epoch()).__name__)
print(multiprocessing.util.get_temp_dir())
print(tempfile.gettempdir())
"""


@pytest.mark.long
@pytest.mark.parametrize("length", [75, 76, 200])
def test_a_fold_trains_in_a_process_whatever_the_length_of_the_temporary_folders_path(
    bright_patches: PatchSet, tmp_path: Path, length: int
) -> None:
    material, runtime = material_of(bright_patches), place_in(tmp_path / "store")
    task = FoldTask(decode(FROZEN), material, runtime, 0, 1, (), keeps_state=False, scratch=tmp_path / "fold")
    (tmp_path / "task").write_bytes(pickle.dumps(task))
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="long_") as place:
        long = Path(place) / ("t" * (length - len(f"{place}/")))
        long.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", _TRAINS, str(tmp_path / "task")],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TMPDIR": str(long)},
        )
    assert done.returncode == 0, done.stderr
    trained, sockets, files = done.stdout.split()
    assert trained == "FoldEpoch"
    assert Path(sockets).parent == (long if length <= 75 else Path("/tmp"))
    assert Path(files) == long, "everything else stays there"
    assert not Path(sockets).exists(), "the folder ends with its process"
