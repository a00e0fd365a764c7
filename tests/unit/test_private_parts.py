"""The private parts of Ray and Optuna that we use are there, and lie in one file of ours each."""

import inspect
import re
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "search_spaces", "results", "cluster", "trainables")


def lines_with(pattern: str) -> set[str]:
    """Files of ours in which a pattern occurs."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {str(path.relative_to(ROOT)) for path in paths if re.search(pattern, path.read_text())}


def test_optuna_has_the_private_parts_that_we_use() -> None:
    assert "trial_id" in inspect.signature(optuna.Trial.__init__).parameters
    assert "trial_id" in inspect.signature(FrozenTrial.__init__).parameters
    assert list(inspect.signature(optuna.Study._get_trials).parameters) == [
        "self",
        "deepcopy",
        "states",
        "use_cache",
    ]
    study = optuna.create_study()
    study.ask()
    assert isinstance(study.get_trials()[0]._trial_id, int)
    assert "_get_trials" in inspect.getsource(optuna.samplers.TPESampler)


def test_ray_looks_up_the_error_that_we_widen() -> None:
    from ray.air.execution._internal import actor_manager
    from ray.tune.execution import tune_controller

    for module in (actor_manager, tune_controller):
        assert "RayActorError" in vars(module)
        assert "isinstance" in inspect.getsource(module)


@pytest.mark.parametrize(
    ("pattern", "file"),
    [
        (r"\._trial_id\b|\b_get_trials\b", "orchestrator/study/optuna_private.py"),
        (r"\bray\.[\w.]*\._internal|\bimport tune_controller\b", "orchestrator/tuning/ray_private.py"),
    ],
)
def test_private_parts_lie_in_one_file(pattern: str, file: str) -> None:
    assert lines_with(pattern) == {file}


@pytest.mark.parametrize(("package", "cap"), [("ray[tune]", "<2.61"), ("optuna", "<6")])
def test_what_has_private_parts_in_use_has_an_upper_bound(package: str, cap: str) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    (line,) = re.findall(rf'"{re.escape(package)}>[^"]*"', text)
    assert cap in line
