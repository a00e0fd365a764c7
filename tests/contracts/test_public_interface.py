"""What `from orchestrator import ...` gives: all of it, described, and nothing heavy before it is used."""

import inspect
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import orchestrator

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "search_spaces", "results", "cluster", "trainables")
HEAVY = ("torch", "ray", "optuna", "pandas", "sklearn", "matplotlib", "IPython")
FIRST = "from orchestrator import run_search, resume_search, open_run, SearchRequest"


def python(code: str, folder: Path, path: Path) -> str:
    """Run Python elsewhere with the packages of `path`; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_name_is_there_and_listed() -> None:
    assert sorted(orchestrator.__all__) == orchestrator.__all__ == sorted(orchestrator._PLACES)
    assert set(orchestrator.__all__) <= set(dir(orchestrator))
    for name in orchestrator.__all__:
        assert getattr(orchestrator, name) is not None
    misspelt = "run_serch"
    with pytest.raises(AttributeError, match=misspelt):
        getattr(orchestrator, misspelt)


@pytest.mark.parametrize("name", orchestrator.__all__)
def test_every_name_is_described_with_its_methods(name: str) -> None:
    value = getattr(orchestrator, name)
    assert inspect.getdoc(value)
    own = vars(value) if inspect.isclass(value) else {}
    public = [one for key, one in own.items() if not key.startswith("_")]
    methods = [one for one in public if inspect.isfunction(one) or isinstance(one, property)]
    assert [method for method in methods if not inspect.getdoc(method)] == []


@pytest.mark.parametrize("name", ["run_search", "resume_search", "plan_search", "open_run"])
def test_every_parameter_is_typed_and_described(name: str) -> None:
    function = getattr(orchestrator, name)
    described = inspect.getdoc(function) or ""
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty
        assert f"{parameter.name}:" in described


def test_nothing_heavy_is_imported_before_it_is_used(tmp_path: Path) -> None:
    code = f"""
import sys
import orchestrator
from orchestrator import Callback, SearchRequest
import orchestrator.cli.main
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert python(code, tmp_path, ROOT) == "[]\n"


def test_a_wheel_brings_it_elsewhere(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('wheels'))"
    (tmp_path / "wheels").mkdir()
    wheel = tmp_path / "wheels" / python(build, tmp_path, tmp_path / "nothing").splitlines()[-1]
    unpacked, elsewhere = tmp_path / "unpacked", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    code = f"{FIRST}; import orchestrator as o; print(o.__file__, SearchRequest(task='idc').trials)"
    place, trials = python(code, elsewhere, unpacked).split()
    assert Path(place) == unpacked / "orchestrator" / "__init__.py"
    assert trials == "24"
