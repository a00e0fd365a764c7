"""The process of one fold: it ends with whoever wanted it, and says how it ended before its time."""

import dataclasses
import errno
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
import torch
from isolated_folds import FROM_PIXELS, FROZEN, is_alive, material_of, place_in

from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet
from trainables.validation import fold_process
from trainables.validation.fold_process import FoldProcess, FoldProcessError, FoldTask, LostProcessError


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.fixture
def task(bright_patches: PatchSet, tmp_path: Path) -> FoldTask:
    training_data, runtime = material_of(bright_patches), place_in(tmp_path / "store")
    return FoldTask(
        decode(FROZEN), training_data, runtime, 0, 1, (), keeps_state=False, scratch=tmp_path / "fold"
    )


@pytest.mark.long
def test_a_fold_whose_process_was_killed_says_that_memory_may_be_the_reason(task: FoldTask) -> None:
    with FoldProcess(task) as process:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(FoldProcessError, match=r"fold 2 was killed \(signal 9\).* out of memory"):
            process.epoch()


def test_a_fold_whose_process_ends_otherwise_says_how(task: FoldTask) -> None:
    with FoldProcess(task) as process:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        with pytest.raises(FoldProcessError, match=r"fold 2 ended by itself \(signal 15\)"):
            process.epoch()


def test_a_fold_that_does_not_start_since_the_fork_server_was_killed_says_so(
    task: FoldTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(process: object) -> None:
        raise EOFError("unexpected EOF")

    monkeypatch.setattr("multiprocessing.context.ForkServerProcess.start", lose)
    with pytest.raises(LostProcessError, match=r"fold 2 did not start, since the fork server .* was killed"):
        FoldProcess(task)


@pytest.mark.long
def test_a_fold_whose_fork_server_is_killed_says_so_and_the_next_one_starts(task: FoldTask) -> None:
    with FoldProcess(task) as process:
        process.epoch()
        # The only way to learn which process to kill; the stubs of the standard library leave it out.
        server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
        os.kill(server, signal.SIGKILL)
        with pytest.raises(LostProcessError, match="fold 2 ended, since the fork server was killed"):
            process.finish()
    with FoldProcess(task) as process:
        process.epoch()
        process.finish()


def test_a_full_disk_in_a_process_is_a_full_disk_here(task: FoldTask, tmp_path: Path) -> None:
    (tmp_path / "fold").write_text("a file where the folder of the weights should be")
    with FoldProcess(task) as process, pytest.raises(OSError, match="fold 2: ") as caught:
        process.epoch()
    assert caught.value.errno in (errno.ENOTDIR, errno.EEXIST)


def test_a_call_of_the_system_that_finds_no_memory_is_memory_that_does_not_suffice() -> None:
    assert fold_process._failure(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))).kind == "memory"
    assert fold_process._failure(OSError(errno.EIO, os.strerror(errno.EIO))).kind == "system"


def test_an_error_in_a_process_comes_back_with_its_words(task: FoldTask) -> None:
    lost = dataclasses.replace(task, config=decode({**FROZEN, "model.weights": "start"}))
    with pytest.raises(FoldProcessError, match=r"fold 2: (.|\n)*needs a finished trial to start from"):
        FoldProcess(lost)


def test_a_process_that_is_wanted_no_more_ends_with_its_block(task: FoldTask) -> None:
    with FoldProcess(task) as process:
        pid = process.pid
        assert pid is not None
        assert is_alive(pid)
    assert not is_alive(pid)


_PARENT = """
import pickle, sys
from trainables.validation.fold_process import FoldProcess
process = FoldProcess(pickle.load(open(sys.argv[1], "rb")))
print(process.pid, flush=True)
process._send(pickle.dumps(True))
sys.stdin.read()
"""


@pytest.fixture
def parent(task: FoldTask, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has a fold trained for ever."""
    endless = decode(
        {
            **FROM_PIXELS,
            "training.first_phase": "benign_malignant",
            "training.first_phase_epochs": 1000,
            "training.batch_size": 1,
        }
    )
    file = tmp_path / "task.pickle"
    file.write_bytes(pickle.dumps(dataclasses.replace(task, config=endless)))
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_no_process_outlives_the_one_that_wanted_it(
    number: signal.Signals, parent: "subprocess.Popen[str]"
) -> None:
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    os.killpg(parent.pid, number)
    assert wait_until(lambda: not is_alive(pid))


def test_images_stay_in_their_file_on_the_way_to_a_process(task: FoldTask) -> None:
    assert type(task.training_data.patch_set.images) is np.memmap
    assert len(fold_process._dumped(task)) < task.training_data.patch_set.images.nbytes / 2
    images = pickle.loads(fold_process._dumped(task)).training_data.patch_set.images
    np.testing.assert_array_equal(images, task.training_data.patch_set.images)
    part = task.training_data.patch_set.images[3:5]
    np.testing.assert_array_equal(pickle.loads(fold_process._dumped(part)), part)


def test_torchs_own_stream_goes_on_in_the_process_that_takes_a_fold_over(task: FoldTask) -> None:
    first = fold_process._OpenFold(task)
    loss = first.epoch().loss
    torch.rand(7)  # as layers do that draw from torch's own stream
    first.write_state()
    expected = torch.rand(3)
    fold_process._OpenFold(dataclasses.replace(task, losses=(loss,)))
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
