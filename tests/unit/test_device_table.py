"""The table of a device: every part is asked; one that fails, lacks something or takes too long says so."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from isolated_packages import link_packages

from benchmarks import device_table
from benchmarks.device_table import (
    MINUTES,
    SECONDS_TO_END,
    Answer,
    Part,
    answer_of,
    as_markdown,
    exit_status,
    machine_name,
    main,
    parts_for,
)
from benchmarks.imported_packages import ROOT
from benchmarks.search_throughput import check_device, read_arguments

pytestmark = pytest.mark.slow


def part(code: str, *later: str) -> Part:
    return Part("a part", ("-c", code), 60.0, later=later)


def answer(status: str, seconds: float = 1.0, text: str = "") -> Answer:
    return Answer(part("pass"), seconds, text, status)


@pytest.mark.parametrize(
    ("code", "status"), [("print('asked')", "ok"), ("print('asked'); raise SystemExit(3)", "failed")]
)
def test_a_part_answers_with_what_it_prints(code: str, status: str) -> None:
    found = answer_of(part(code), 60.0, "cpu")
    assert (found.status, found.text) == (status, "asked\n")
    assert found.seconds > 0


def test_a_part_whose_packages_are_missing_is_left_out_and_says_which() -> None:
    found = answer_of(part("print('asked')", "torch", "no_such_b", "no_such_a"), 60.0, "cpu")
    assert (found.status, found.text) == ("left out", "lacks no_such_a, no_such_b")
    assert "| a part | 0 | 60 | left out: lacks no_such_a, no_such_b |" in as_markdown([found], "m", "today")


def test_a_part_that_takes_too_long_is_stopped_with_what_it_has_printed() -> None:
    code = "import time; print('begun', flush=True); time.sleep(60)"
    found = answer_of(part(code), 2.0, "cpu")
    assert (found.status, found.text) == ("stopped", "begun\n\n(stopped after 2 s)\n")
    assert found.seconds < 30


def test_a_stopped_part_is_not_waited_for_where_what_it_started_goes_on(tmp_path: Path) -> None:
    """What a part starts in a session of its own outlives it, and holds its output open."""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(25)"
    code = f"""
import subprocess, sys, time, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", {deaf!r}], start_new_session=True)
print("begun", flush=True)
time.sleep(60)
"""
    began = time.monotonic()
    found = answer_of(part(code), 3.0, "cpu")
    assert (found.status, found.text[:6]) == ("stopped", "begun\n")
    assert time.monotonic() - began < 3.0 + 2 * SECONDS_TO_END + 8.0


def test_the_tests_are_told_the_device() -> None:
    code = "import os; print(os.environ['TEST_DEVICE'])"
    assert answer_of(part(code), 60.0, "cpu").text == "cpu\n"


def test_the_page_says_device_versions_date_and_seconds_of_each_part() -> None:
    found = [answer("ok", 3.2, "fast"), answer("stopped", 61.0, "slow")]
    page = as_markdown(found, machine_name("cpu"), "2026-11-29")
    first, _, second = page.splitlines()[:3]
    assert first.startswith("# cpu: ")
    assert f"{os.cpu_count()} cores, Python 3." in first
    assert f"torch {device_table.torch.__version__}" in first
    assert second == "Measured on 2026-11-29, in 64 s."
    assert "| a part | 3 | 60 | ok |" in page
    assert "| a part | 61 | 60 | stopped |" in page
    assert "`python -c pass`\n\n```text\nfast\n```" in page


@pytest.mark.parametrize(
    ("statuses", "expected", "of_all"),
    [
        (("ok", "ok"), 0, 0),
        (("ok", "left out"), 0, 1),
        (("ok", "failed"), 1, 1),
        (("ok", "stopped", "left out"), 1, 1),
        (("left out", "left out"), 1, 1),
    ],
)
def test_what_failed_or_was_stopped_is_an_error_and_so_is_nothing(
    statuses: tuple[str, ...], expected: int, of_all: int
) -> None:
    found = [answer(status) for status in statuses]
    assert exit_status(found, needs_all=False) == expected
    assert exit_status(found, needs_all=True) == of_all


def test_the_command_gives_each_part_its_own_time_and_fails_with_a_stopped_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Part("slow", ("-c", "import time; time.sleep(60)"), 20.0)
    quick = Part("quick", ("-c", "print('asked')"), 400.0)
    monkeypatch.setattr(device_table, "parts_for", lambda device, weights: (slow, quick))
    page = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["it", "--device", "cpu", "--minutes", "0.8", "--out", str(page)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "| 20 | stopped |" in page.read_text()  # after 2 of them: a tenth of eight minutes
    assert "| 400 | ok |" in page.read_text()
    assert page.read_text() in capsys.readouterr().out


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_all_parts_end_in_eight_minutes_even_if_each_is_ended_by_force(device: str) -> None:
    parts = parts_for(device, None)
    assert sum(own.seconds + 2 * SECONDS_TO_END for own in parts) < 60 * MINUTES
    assert MINUTES == 8.0


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_benchmark_is_told_the_device(device: str) -> None:
    asked = [own.arguments for own in parts_for(device, None) if "benchmarks." in own.arguments[1]]
    assert len(asked) == 5
    assert all(("--device", device) == own[2:4] for own in asked)


def test_the_search_of_the_table_is_one_that_its_benchmark_runs() -> None:
    for device in ("cpu", "cuda"):
        parts = parts_for(device, None)
        (words,) = [own.arguments for own in parts if own.arguments[1] == "benchmarks.search_throughput"]
        found = read_arguments(words[2:])
        assert (found.plain_sample, found.device) == (2, device)


def test_a_search_on_a_gpu_needs_one_that_ray_finds() -> None:
    check_device("cuda", 1.0)
    check_device("cpu", 0.0)
    with pytest.raises(SystemExit, match="--device cuda needs a GPU, and Ray finds none here"):
        check_device("cuda", 0.0)


@pytest.mark.long
def test_the_packages_of_every_part_are_known_and_here() -> None:
    for own in parts_for("cpu", None):
        assert {"torch", "numpy", "pydantic"} <= set(own.needs)
        assert device_table.missing(own.needs) == []
    needs = {own.title: set(own.needs) for own in parts_for("cpu", None)}
    assert "torchvision" in needs["Features from images"]
    assert {"pytest", "pytest_timeout"} <= needs["Device tests"]
    assert {"ray", "optuna"} <= needs["The same search, cold and warm"]
    assert not {"ray", "optuna"} & set.union(*(own for title, own in needs.items() if "warm" not in title))


SHORTER = {
    "pytest": ("-k", "stored_features or run_again_alone or packed or predict_the_same_on or costs"),
    "benchmarks.utilisation": (),
    "benchmarks.search_utilisation": ("--of", "trials", "--trials", "3"),
    "benchmarks.fusion": (),
    "benchmarks.pipeline": (),
    "benchmarks.search_throughput": ("--help",),
}


@pytest.mark.long
@pytest.mark.parametrize("own", parts_for("cpu", None), ids=lambda own: own.arguments[1])
def test_a_part_runs_with_the_packages_that_it_needs_and_no_others(own: Part, tmp_path: Path) -> None:
    site = link_packages(own.needs, tmp_path / "site")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TEST_DEVICE": "cpu"}
    environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}", "OMP_NUM_THREADS": "1"}
    asked = subprocess.run(
        [sys.executable, "-S", *own.arguments, *SHORTER[own.arguments[1]]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr
    without = [name for name in ("mlflow", "captum", "skimage") if (site / name).exists()]
    assert without == []  # packages that are installed, and that no part needs
