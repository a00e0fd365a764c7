"""What a process of a search takes to import what its first trial needs, before and after three changes.

    python -m benchmarks.start_up [--rounds 5]

Each import is a process of its own, in turn: with Python's usual search for garbage, what timm imports along
and torch's compiler and ONNX, then without one after the other, up to how it is now. Processor time up to the
last import.

Then a driver and a worker for each core import beside each other, as they do when a search starts: the
workers all at once, or in turn, as it is now. Seconds of the clock until each has ended.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from typing import Final

_USUAL_COLLECTION: Final = """
import importlib
import trainables.common.imports as imports
imports.import_at_start = lambda names: [importlib.import_module(name) for name in names]
"""
_WITH_TRACKER: Final = """
try:
    import wandb
except ImportError:
    pass
"""
_WITH_COMPILER: Final = "import torch._dynamo, onnx, onnxruntime\n"
_IMPORT: Final = """
import orchestrator.tuning.preloaded
import time
print(time.process_time())
"""
_DRIVER: Final = (
    "import orchestrator.tuning.trial_runner, sklearn.model_selection, trainables.models.torchvision_library"
)
_AT_ONCE: Final = """
import contextlib
import trainables.common.turns as turns
turns.in_turn = lambda *_, **__: contextlib.nullcontext()
"""
WORKERS: Final = (("all at once", _AT_ONCE + _IMPORT), ("in turn", _IMPORT))
WAYS: Final = {
    "with usual collections, the tracker and the compiler": (
        _USUAL_COLLECTION + _WITH_TRACKER + _WITH_COMPILER + _IMPORT
    ),
    "without collections": _WITH_TRACKER + _WITH_COMPILER + _IMPORT,
    "without the tracker": _WITH_COMPILER + _IMPORT,
    "as it is": _IMPORT,
}


def seconds_of(script: str) -> float:
    """Return the seconds of processor time that a Python has taken when it comes to the end of a script."""
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return float(ended.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for script in WAYS.values():  # compiles what is new, and fills the cache of the disk
        seconds_of(script)
    found = {name: list[float]() for name in WAYS}
    for _ in range(rounds):
        for name, script in WAYS.items():
            found[name].append(seconds_of(script))
    usual = statistics.median(next(iter(found.values())))
    print("| imports | seconds of a core, median | range | share |\n| --- | ---: | ---: | ---: |")
    for name, own in found.items():
        middle = statistics.median(own)
        print(f"| {name} | {middle:.2f} | {min(own):.2f} to {max(own):.2f} | {middle / usual:.2f} |")
    together = {name: [seconds_beside_each_other(script) for _ in range(rounds)] for name, script in WORKERS}
    print("\n| workers import | driver, s | first worker, s | last worker, s |\n| --- | ---: | ---: | ---: |")
    for name, seconds in together.items():
        cells = " | ".join(f"{statistics.median(own):.1f}" for own in zip(*seconds, strict=True))
        print(f"| {name} | {cells} |")


def seconds_beside_each_other(worker: str) -> tuple[float, float, float]:
    """Return the seconds until a driver, the first and the last of its workers have imported, all at once.

    Args:
        worker: Script of a worker; there is one for each core.
    """
    began, ended = time.monotonic(), dict[subprocess.Popen[bytes], float]()
    driver, *workers = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
        for script in (_DRIVER, *[worker] * (os.cpu_count() or 1))
    ]
    while len(ended) <= len(workers):
        for process in (driver, *workers):
            if process not in ended and process.poll() is not None:
                ended[process] = time.monotonic() - began
        time.sleep(0.02)
    of_workers = [ended[process] for process in workers]
    return ended[driver], min(of_workers), max(of_workers)


if __name__ == "__main__":
    main()
