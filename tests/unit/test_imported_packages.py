"""Packages that a program imports are read from its source, and from ours that it imports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.device_table import parts_for
from benchmarks.imported_packages import ROOT, missing, packages_of

pytestmark = pytest.mark.slow


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def found(folder: Path, program: str = "start.py") -> tuple[str, ...]:
    return packages_of([folder / program], [folder])


@pytest.mark.parametrize(
    ("text", "packages"),
    [
        ("import os, json.decoder\nfrom pathlib import Path", ()),
        ("import far.away as near", ("far",)),
        ("from far.away import thing", ("far",)),
        ("try:\n    import far\nexcept ImportError:\n    far = None", ("far",)),
        ("class A:\n    import far", ("far",)),
        ("def later():\n    import far", ()),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import far", ()),
        ("import importlib\ndef load():\n    return importlib.import_module('far.away')", ("far",)),
        ("from __future__ import annotations", ()),
        ("from . import start", ()),
    ],
)
def test_what_is_imported_when_a_program_starts_counts(
    text: str, packages: tuple[str, ...], tmp_path: Path
) -> None:
    assert found(tree(tmp_path, {"start": text})) == packages


def test_packages_of_modules_of_ours_count_and_those_modules_do_not(tmp_path: Path) -> None:
    files = {
        "start": "from ours.inner import middle",
        "ours/__init__": "import of_the_package",
        "ours/inner/__init__": "import of_the_inner_package",
        "ours/inner/middle": "import ours.last",
        "ours/last": "import of_the_last\nimport start",
        "ours/unused": "import of_nobody",
    }
    folder = tree(tmp_path, files)
    assert found(folder) == ("of_the_inner_package", "of_the_last", "of_the_package")


@pytest.mark.parametrize(
    "files",
    [
        {"ours/__init__": "import sys\nfound = {one: 1 for one in constants_of(sys.modules[__name__], int)}"},
        {
            "ours/__init__": "",
            "start": "from ours import far\nfrom ours import deep\nconstants_of(deep, int)",
        },
    ],
    ids=["its own", "another"],
)
def test_what_a_registry_finds_in_a_folder_is_imported(files: dict[str, str], tmp_path: Path) -> None:
    names = ("ours/one", "ours/two") if "start" not in files else ("ours/deep/one", "ours/deep/two")
    more = {
        "start": "import ours",
        "ours/deep/__init__": "",
        names[0]: "import first",
        names[1]: "import second",
    }
    assert found(tree(tmp_path, more | files)) == ("first", "second")


def test_all_files_of_a_folder_are_programs(tmp_path: Path) -> None:
    folder = tree(tmp_path, {"tests/one": "import first", "tests/deep/two": "import second"})
    assert found(folder, "tests") == ("first", "second")


def test_what_this_python_lacks_is_named_in_order() -> None:
    assert missing(["no_such_b", "pytest", "no_such_a"]) == ["no_such_b", "no_such_a"]


@pytest.mark.parametrize("name", ["fusion", "pipeline"])
def test_a_started_program_has_imported_what_its_source_says(name: str) -> None:
    (part,) = [own for own in parts_for("cpu", None) if own.arguments[1] == f"benchmarks.{name}"]
    code = f"import sys, json, benchmarks.{name}; print(json.dumps(list(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(packages_of(ROOT / program for program in part.programs)) <= set(json.loads(answer.stdout))
