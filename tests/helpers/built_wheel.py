"""The packages as somebody has them who installed the wheel, without the repository."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "search_spaces", "results", "cluster", "trainables")


def run_python(code: str, folder: Path, path: Path) -> str:
    """Run Python in a folder with the packages of `path`; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def unpacked_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the packages; return the folder that it was unpacked to."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('wheels'))"
    (folder / "wheels").mkdir()
    wheel = folder / "wheels" / run_python(build, folder, folder / "nothing").splitlines()[-1]
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"
