"""How busy a device is: of a CPU from processor times of a family of processes, of a GPU from the driver."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import device_watch
from benchmarks.device_watch import DeviceWatch, processor_seconds

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def spin(seconds: float) -> None:
    """Use a core for some processor time, however long that takes on a busy machine."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def answers(*shares: float | None) -> Callable[[], float | None]:
    left: Iterator[float | None] = iter((None, *shares))  # the first answer is not looked at
    return lambda: next(left, None)


def watched(monkeypatch: pytest.MonkeyPatch, *shares: float | None) -> DeviceWatch:
    monkeypatch.setattr(device_watch, "_gpu_share", lambda device: answers(*shares))
    monkeypatch.setattr(device_watch, "_EVERY_SECONDS", 0.01)
    with DeviceWatch(GPU, cores=1) as watch:
        time.sleep(0.5)
    return watch


def test_busy_is_the_mean_and_idle_the_share_of_samples_that_did_next_to_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch = watched(monkeypatch, 0.0, 0.04, 0.5, 0.86)
    assert (watch.busy, watch.idle) == (pytest.approx(0.35), 0.5)
    assert watch.seconds >= 0.5


def test_a_driver_that_says_nothing_leaves_both_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watched(monkeypatch)
    assert (watch.busy, watch.idle) == (None, None)


def test_the_driver_is_asked_by_its_library_or_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 40)
    assert device_watch._gpu_share(GPU)() == 0.4

    def lacks(device: torch.device) -> int:
        raise ModuleNotFoundError("pynvml does not seem to be installed")

    monkeypatch.setattr(torch.cuda, "utilization", lacks)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace())
    monkeypatch.setattr(device_watch.shutil, "which", lambda name: None)
    assert device_watch._gpu_share(GPU)() is None
    monkeypatch.setattr(device_watch.shutil, "which", lambda name: f"/bin/{name}")
    for printed, share in (("37\n", 0.37), ("[N/A]\n", None), ("", None)):
        asked = SimpleNamespace(stdout=printed)
        monkeypatch.setattr(device_watch.subprocess, "run", lambda *_, asked=asked, **__: asked)
        assert device_watch._gpu_share(GPU)() == share


def test_the_program_is_asked_of_the_gpu_at_hand_whatever_else_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As `nvidia-smi` on a machine of two GPUs, of which this process sees the second."""

    def lacks(device: torch.device) -> int:
        raise OSError("Insufficient Permissions")  # of a library whose errors have a class of their own

    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\ncase "$*" in *--id=GPU-second*) echo 90;; *) printf "0\\n90\\n";; esac\n')
    program.chmod(0o755)
    monkeypatch.setattr(torch.cuda, "utilization", lacks)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="second"))
    monkeypatch.setattr(device_watch.shutil, "which", lambda name: str(program))
    assert device_watch._gpu_share(GPU)() == 0.9


def test_a_process_that_computes_is_busy_and_one_that_waits_is_idle() -> None:
    with DeviceWatch(CPU, cores=1) as waits:
        time.sleep(1.0)
    with DeviceWatch(CPU, cores=1) as computes:
        spin(0.5)
    assert waits.busy is not None
    assert waits.idle is not None
    assert computes.busy is not None
    assert waits.busy < computes.busy <= 1.2
    assert waits.idle > 0.5
    with DeviceWatch(CPU, cores=1000) as of_many:
        spin(0.5)
    assert of_many.busy is not None
    assert of_many.busy < 0.01


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_processor_time_counts_grandchildren_while_they_run() -> None:
    worker = "import time\nwhile time.process_time() < 1: pass\nprint('spun', flush=True)\ntime.sleep(600)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    before = processor_seconds(device_watch.os.getpid())
    process = subprocess.Popen(
        [sys.executable, "-c", child], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "spun\n"
        assert processor_seconds(process.pid) >= 0.9
        assert processor_seconds(device_watch.os.getpid()) - before >= 0.9
    finally:
        device_watch.os.killpg(process.pid, 9)
        process.communicate()
