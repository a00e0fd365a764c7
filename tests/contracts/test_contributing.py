"""The steps of CONTRIBUTING.md work as they stand: each section is followed in a copy of the packages."""

import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
from fenced_blocks import Block, blocks_of

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "search_spaces", "results", "cluster", "trainables")
SECTIONS = {
    section: list(blocks)
    for section, blocks in groupby(
        (block for block in blocks_of(ROOT / "CONTRIBUTING.md") if block.title),
        key=lambda block: block.section,
    )
}


def follow(block: Block, folder: Path) -> None:
    """Write the file that a block is, or make the change that it shows."""
    path = folder / block.title
    if block.language == "diff":
        lines = block.text.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        text = path.read_text()
        assert text.count(before) == 1, f"{block}: the lines before the change must stand once in {path.name}"
        path.write_text(text.replace(before, after))
    else:
        assert not path.exists(), f"{block}: {block.title} is there already"
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_every_kind_of_thing_has_its_section() -> None:
    assert set(SECTIONS) >= {
        "A data source",
        "A backbone",
        "A task",
        "A metric",
        "A sampler",
        "A pruner",
        "An ensemble method",
        "An option of a search",
        "A recipe",
        "A verb",
    }


@pytest.mark.long
@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_is_followed_and_its_tests_pass(copy: Path, section: str) -> None:
    blocks = SECTIONS[section]
    tests = [block.title for block in blocks if block.title.startswith("tests/")]
    assert tests, "a section ends with a test"
    for block in blocks:
        follow(block, copy)
    (copy / "pytest.ini").write_text(f"[pytest]\npythonpath = . {ROOT / 'tests' / 'helpers'}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    outcome = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("section", SECTIONS)
def test_what_a_section_adds_is_formatted_as_the_code_is(copy: Path, section: str) -> None:
    for block in SECTIONS[section]:
        follow(block, copy)
    shutil.copy(ROOT / "pyproject.toml", copy)
    files = sorted({block.title for block in SECTIONS[section]})
    for arguments in (("format", "--check"), ("check", "--ignore", "I001")):
        command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", *files]
        outcome = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_a_change_whose_place_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("other = 1\n")
    block = Block(Path("page.md"), 7, "diff", "code.py", "A thing", "", " first = 1\n+second = 2\n")
    with pytest.raises(AssertionError, match=r"page\.md:7: the lines before the change"):
        follow(block, tmp_path)
