"""Everything that a machine with a GPU is asked, in one table; `make gpu` runs it.

    python -m benchmarks.device_table [--device cuda|cpu] [--minutes 8] [--out FILE] [--weights-dir DIR]

One after the other: the device tests, how busy the device is, folds side by side, features from images, and
the same search cold and warm. Each part is a process of its own and needs nothing but what it imports: a part
whose packages are missing is left out and says which, and the others run. A part that has not ended when the
minutes are over is stopped and says so. The page is Markdown; the exit status is 1 if a part failed.
"""

import argparse
import importlib.util
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

_SECONDS_TO_END: Final = 20.0
ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the table.

    Attributes:
        title: Its heading.
        arguments: What Python is given.
        needs: Packages beyond torch that it imports.
    """

    title: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a part printed.

    Attributes:
        part: The part.
        seconds: Wall time; 0 if it did not run.
        text: Its output, or why there is none.
        status: `ok`, `failed`, `stopped` at the end of the time, or `left out`.
    """

    part: Part
    seconds: float
    text: str
    status: str


def parts_for(device: str, weights_dir: Path | None) -> tuple[Part, ...]:
    """Return the parts for a device, the quick ones first."""
    on = ("--device", device)
    patients = ("--patients", "12") if device == "cpu" else ()
    weights = ("--weights-dir", str(weights_dir)) if weights_dir else ()
    return (
        Part("Device tests", ("-m", "pytest", "-q", "tests/gpu"), ("pytest", "pytest_timeout")),
        Part("How busy the device is", ("-m", "benchmarks.utilisation", *on, *patients)),
        Part("Folds side by side", ("-m", "benchmarks.fusion", *on)),
        Part("Features from images", ("-m", "benchmarks.pipeline", *on, *weights)),
        Part(
            "The same search, cold and warm",
            (
                "-m",
                "benchmarks.search_throughput",
                "--data",
                "phantom",
                "--plain-sample",
                "2",
                "--seeds",
                "1",
            ),
            ("ray", "optuna", "albumentations"),
        ),
    )


def answer_of(part: Part, seconds: float, device: str) -> Answer:
    """Run one part.

    Args:
        part: The part.
        seconds: Seconds that it may take.
        device: Device of the tests, `cuda` or `cpu`.
    """
    missing = [name for name in part.needs if importlib.util.find_spec(name) is None]
    if missing:
        return Answer(part, 0.0, f"needs {', '.join(missing)}, not installed here", "left out")
    if seconds <= 0:
        return Answer(part, 0.0, "no time was left", "stopped")
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *part.arguments],
        cwd=ROOT,
        env={**os.environ, "TEST_DEVICE": device, "COLUMNS": "110", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        text, _ = process.communicate(timeout=seconds)
        status = "ok" if process.returncode == 0 else "failed"
    except subprocess.TimeoutExpired:
        text, status = _stopped(process), "stopped"
    return Answer(part, time.perf_counter() - began, text, status)


def _stopped(process: "subprocess.Popen[str]") -> str:
    """End a part and its workers: first so that it can end a Ray of its own, then by force."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, number)
        try:
            return process.communicate(timeout=_SECONDS_TO_END)[0]
        except subprocess.TimeoutExpired:
            continue
    return ""


def as_markdown(answers: Sequence[Answer], machine: str) -> str:
    """Return the answers as a page."""
    lines = [f"# {machine}", "", "| part | seconds | |", "| --- | ---: | --- |"]
    lines += [f"| {own.part.title} | {own.seconds:.0f} | {own.status} |" for own in answers]
    for own in answers:
        command = "python " + " ".join(own.part.arguments)
        lines += ["", f"## {own.part.title}", "", f"`{command}`", "", "```text", own.text.strip(), "```"]
    return "\n".join(lines) + "\n"


def machine_name(device: str) -> str:
    """Return processor or GPU, number of cores, Python and torch, in one line."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def main() -> None:
    """Run all parts, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="time of all parts (default: 8)")
    parser.add_argument("--out", type=Path, help="write the page here, too")
    parser.add_argument("--weights-dir", type=Path, help="weights beyond those of installed packages")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error(
            "torch finds no CUDA GPU here; --device cpu (make gpu DEVICE=cpu) runs the same on the CPU"
        )
    ends = time.monotonic() + 60 * arguments.minutes
    answers = []
    for part in parts_for(arguments.device, arguments.weights_dir):
        answers.append(answer_of(part, ends - time.monotonic(), arguments.device))
        print(f"{answers[-1].status:8}  {answers[-1].seconds:5.0f} s  {part.title}", flush=True)
    page = as_markdown(answers, machine_name(arguments.device))
    print(page)
    if arguments.out:
        arguments.out.write_text(page)
    sys.exit(any(own.status == "failed" for own in answers))


if __name__ == "__main__":
    main()
