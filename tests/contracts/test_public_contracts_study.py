"""Every sampler and pruner passes the public contract, and so does one of a user's own."""

from pathlib import Path

import optuna
import pytest

from orchestrator.study.pruner import Pruner, PruningFacts
from orchestrator.study.pruners import pruner_named, pruner_names, pruners
from orchestrator.study.sampler import Sampler, SamplingFacts
from orchestrator.study.samplers import sampler_named, sampler_names, samplers
from orchestrator.testing.pruner import PrunerContract
from orchestrator.testing.sampler import SamplerContract

pytestmark = [pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"), pytest.mark.slow]


class TestTpe(SamplerContract):
    sampler = "tpe"


class TestRandom(SamplerContract):
    sampler = "random"
    beats_chance = False


@pytest.mark.long  # a process is fitted before each proposal
class TestGp(SamplerContract):
    sampler = "gp"
    trials = 30


def test_points_of_a_gaussian_process_are_valid_and_differ(tmp_path: Path) -> None:
    TestGp().test_points_of_the_real_spaces_are_valid_and_differ("table_classifier", tmp_path)


def test_a_gaussian_process_learns_to_stay_away_from_what_crashes(tmp_path: Path) -> None:
    TestGp().test_it_learns_to_stay_away_from_what_crashes(tmp_path)


class TestCmaes(SamplerContract):
    sampler = "cmaes"


class TestNsga2(SamplerContract):
    sampler = "nsga2"


class TestGrid(SamplerContract):
    sampler = "grid"
    beats_chance = False


def quasi_random(facts: SamplingFacts) -> optuna.samplers.BaseSampler:
    """A sampler of a user's own."""
    return optuna.samplers.QMCSampler(seed=facts.seed, warn_independent_sampling=False)


class TestOwnSampler(SamplerContract):
    sampler = Sampler("quasi_random", quasi_random, "of a test")
    beats_chance = False


class TestHalving(PrunerContract):
    pruner = "halving"


class TestMedian(PrunerContract):
    pruner = "median"


class TestWilcoxon(PrunerContract):
    pruner = "wilcoxon"


class TestNone(PrunerContract):
    pruner = "none"
    stops_the_worst = False


def worst_quarter(facts: PruningFacts) -> optuna.pruners.BasePruner:
    """A pruner of a user's own."""
    return optuna.pruners.PercentilePruner(75.0, n_startup_trials=4)


class TestOwnPruner(PrunerContract):
    pruner = Pruner("worst_quarter", worst_quarter, "of a test")


def test_every_registered_one_is_tested_here() -> None:
    classes = globals().values()
    tested = {getattr(own, "sampler", None) for own in classes} | {
        getattr(own, "pruner", None) for own in classes
    }
    assert {*sampler_names(), *pruner_names()} <= tested
    assert len(samplers()) >= 6
    assert len(pruners()) >= 4


def test_a_file_has_the_name_of_what_it_defines() -> None:
    assert tuple(sorted(samplers())) == sampler_names()
    assert tuple(sorted(pruners())) == pruner_names()


def test_ones_of_a_users_own_are_found_by_module_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_of_a_test.py").write_text(
        "import optuna\n"
        "from orchestrator.study.pruner import Pruner\n"
        "def draw(facts):\n    return optuna.samplers.RandomSampler(seed=facts.seed)\n"
        "def stop(facts):\n    return optuna.pruners.NopPruner()\n"
        "LATE = Pruner('late', stop, 'late', decides_at=lambda epoch, epochs: epoch == 10)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert sampler_named("mine_of_a_test:draw").name == "mine_of_a_test:draw"
    assert pruner_named("mine_of_a_test:stop").decides_at(7, 30)
    assert not pruner_named("mine_of_a_test:LATE").decides_at(7, 30)
