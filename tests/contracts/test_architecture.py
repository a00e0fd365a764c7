"""Newcomers that break an import contract are seen, light verbs start light, test files have own names."""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "search_spaces", "results", "cluster", "trainables")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and their contracts, to be broken."""
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def broken_contracts(folder: Path) -> str:
    """What import-linter says, one line a broken contract; empty where all are kept."""
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    ]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    text = " ".join(outcome.stdout.split())
    assert ("0 broken" in text) == (outcome.returncode == 0), outcome.stdout + outcome.stderr
    return "" if outcome.returncode == 0 else text


def test_the_contracts_are_kept(copy: Path) -> None:
    assert broken_contracts(copy) == ""


@pytest.mark.parametrize(
    ("place", "code", "contract"),
    [
        ("orchestrator/tuning/newcomer.py", "import ray", "Ray: the backend"),
        ("orchestrator/reporting/newcomer.py", "import optuna", "Optuna: the study"),
        ("trainables/data/newcomer.py", "import torch", "start without torch"),
        ("results/scores/newcomer.py", "import torch", "Torch: trainables"),
        ("trainables/models/newcomer.py", "import timm", "timm: through the module"),
        ("search_spaces/newcomer.py", "", "Floors of search_spaces"),
        ("orchestrator/newcomer.py", "", "Floors of orchestrator"),
        ("results/newcomer.py", "", "Floors of results"),
        ("trainables/newcomer.py", "", "Floors of trainables"),
        ("cluster/newcomer.py", "", "Floors of cluster"),
        ("trainables/models/newcomer.py", "import results.run.records", "Imports go down only"),
        ("orchestrator/study/newcomer.py", "import orchestrator.tuning.session", "No circles"),
        ("results/run/newcomer.py", "import results.scores.metrics", "Floors of results"),
    ],
)
def test_a_newcomer_that_breaks_a_contract_is_seen(copy: Path, place: str, code: str, contract: str) -> None:
    newcomer = copy / place
    newcomer.write_text(f'"""A newcomer."""\n\n{code}\n')
    try:
        text = broken_contracts(copy)
    finally:
        newcomer.unlink()
    assert contract in text


@pytest.mark.parametrize(
    "module",
    ["orchestrator.cli.leaderboard", "results.scores.leaderboard", "results.ensembles.build"],
)
def test_the_leaderboard_starts_without_torch_ray_and_optuna(module: str) -> None:
    heavy = ("torch", "torchvision", "timm", "ray", "optuna")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout.strip() == "[]"


def test_every_test_file_has_a_name_of_its_own() -> None:
    names = Counter(file.name for file in (ROOT / "tests").rglob("test_*.py"))

    assert [name for name, number in names.items() if number > 1] == []  # pytest could not run all together
