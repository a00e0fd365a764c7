"""In CI no test is left out for want of a program or a right."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
LEFT_OUT = """
import pytest

@pytest.fixture
def right():
    pytest.skip("needs root")  # a right that CI has: it must fail there

def test_of_a_right(right): ...

def test_of_a_program():
    pytest.skip("needs rsync: install it")  # a program that CI installs

@pytest.mark.skipif(True, reason="needs a GPU that torch can use")
def test_of_a_gpu(): ...

def test_of_data():
    pytest.skip("the real set is not here")  # data that no machine need have
"""


@pytest.mark.parametrize(
    ("ci", "outcome"), [("1", "2 skipped, 1 error"), ("", "4 skipped")], ids=["in CI", "elsewhere"]
)
def test_what_a_test_needs_is_there_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    (tmp_path / "test_left_out.py").write_text(LEFT_OUT)
    paths = os.pathsep.join(map(str, (TESTS, TESTS / "helpers", TESTS.parent)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "conftest", "-q", str(tmp_path)],
        env={**os.environ, "CI": ci, "PYTHONPATH": paths},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert outcome in done.stdout, done.stdout + done.stderr
    assert ("left out in CI: needs root" in done.stdout) == bool(ci)
