"""Pruners: the signed-rank test against scipy, and what a search is told that cannot be pruned so."""

import ast
from pathlib import Path
from typing import TypeGuard

import numpy as np
import pytest
from scipy.stats import wilcoxon

from orchestrator.study.method import asked_method
from orchestrator.study.pruners import pruner_named, pruner_names
from orchestrator.study.pruners.wilcoxon import signed_rank_p
from orchestrator.testing.pruner import PrunerContract, run_trial
from results.run.request_options import parse_request
from trainables.common.errors import ConfigError, UnknownNameError

ROOT = Path(__file__).parents[4]
ROOM = ROOT / "orchestrator" / "study" / "pruners"


@pytest.mark.parametrize("folds", [4, 5, 10])
@pytest.mark.parametrize("seed", range(5))
def test_the_signed_rank_test_is_that_of_scipy(folds: int, seed: int) -> None:
    differences = np.random.default_rng(seed).normal(-0.1, 0.2, folds)
    expected = wilcoxon(differences, alternative="less", method="exact").pvalue
    assert signed_rank_p(differences) == pytest.approx(expected)


def test_ties_and_zeros_have_an_exact_probability() -> None:
    assert signed_rank_p(np.zeros(4)) == 1.0
    assert signed_rank_p(np.full(4, -0.1)) == 1 / 16
    assert signed_rank_p(np.array([-0.1, -0.1, 0.1, -0.1])) == 5 / 16
    assert signed_rank_p(np.array([0.0, -0.1, -0.2, -0.3])) == 1 / 8


def test_a_trial_with_one_better_fold_is_not_stopped_by_wilcoxon_over_four(tmp_path: Path) -> None:
    class Wilcoxon(PrunerContract):
        pruner = "wilcoxon"

    study = Wilcoxon().study(tmp_path)
    for _ in range(5):
        run_trial(study, lambda epoch: [0.8, 0.8, 0.8, 0.8])
    assert run_trial(study, lambda epoch: [0.7, 0.7, 0.7, 0.81]) == 20
    assert run_trial(study, lambda epoch: [0.79, 0.7, 0.78, 0.75]) == 5


def test_folds_that_are_too_few_are_refused() -> None:
    few = parse_request({"task": "idc", "pruner": "wilcoxon", "folds": 3})
    with pytest.raises(ConfigError, match="needs 4 folds or more, found 3; give --folds 4"):
        asked_method(few)
    holdout = parse_request({"task": "idc", "pruner": "wilcoxon", "holdout": 0.3})
    with pytest.raises(ConfigError, match="found a hold-out, which has one"):
        asked_method(holdout)
    assert asked_method(parse_request({"task": "idc", "pruner": "wilcoxon"}))[1].name == "wilcoxon"


def test_several_metrics_are_not_pruned_and_a_named_pruner_is_refused() -> None:
    several = {"task": "idc", "metrics": ("auc", "log_loss")}
    assert asked_method(parse_request(several))[1].name == "none"
    assert asked_method(parse_request(several | {"pruner": "none"}))[1].name == "none"
    with pytest.raises(
        ConfigError, match="--pruner halving compares trials by one metric, found 2: auc, log_loss"
    ):
        asked_method(parse_request(several | {"pruner": "halving"}))
    with pytest.raises(
        ConfigError, match=r"--sampler cmaes optimises one metric, found 2: .*; take one of gp, grid"
    ):
        asked_method(parse_request(several | {"sampler": "cmaes"}))


def test_a_name_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown pruner 'mediam'; did you mean 'median'"):
        asked_method(parse_request({"task": "idc", "pruner": "mediam"}))
    with pytest.raises(UnknownNameError, match="unknown sampler 'ngsa2'; did you mean 'nsga2'"):
        asked_method(parse_request({"task": "idc", "sampler": "ngsa2"}))
    with pytest.raises(UnknownNameError, match=r"random, tpe; MODULE:FUNCTION names one of your own$"):
        asked_method(parse_request({"task": "idc", "sampler": "nonsense"}))
    with pytest.raises(ConfigError, match="--pruner no_such:thing: the module cannot be imported"):
        pruner_named("no_such:thing")


def test_no_module_but_that_of_a_pruner_knows_it_by_name() -> None:
    allowed = {
        ROOM / "__init__.py",  # the default of a search
        ROOT / "results" / "run" / "records.py",  # the pruner of searches that did not write theirs yet
    }
    names = set(pruner_names()) - {"none"}  # a word with other meanings, too
    assert {"halving", "median", "wilcoxon"} <= names
    for package in ("cluster", "orchestrator", "results", "search_spaces", "trainables"):
        for path in (ROOT / package).rglob("*.py"):
            literals = {node.value for node in ast.walk(ast.parse(path.read_text())) if is_text(node)}
            own = {path.stem} if path.parent == ROOM else set()
            assert path in allowed or literals & names <= own, path


def is_text(node: ast.AST) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
