"""`gp`: a Gaussian process over all settings; the next point is the one that it expects most of.

What a point does not have is in the middle of its range. The process sees the best and the newest trials
only, since its cost grows with the third power of their number.

Source: Ament et al. (2023), "Unexpected improvements to expected improvement for Bayesian optimization".
"""

import functools

import optuna

from orchestrator.study.optuna_private import quick_gp
from orchestrator.study.sampler import Sampler, SamplingFacts
from orchestrator.study.seeded import SeededByTrial
from orchestrator.study.whole_space import WholeSpaceSampler
from orchestrator.study.window import window


def _build(facts: SamplingFacts) -> optuna.samplers.BaseSampler:
    make = functools.partial(_process, startup_trials=facts.startup_trials)
    own = SeededByTrial(make, facts.lasting_seed)
    choose = functools.partial(window, directions=facts.directions)
    return WholeSpaceSampler(own, facts, choose=choose)


def _process(seed: int, *, startup_trials: int) -> optuna.samplers.BaseSampler:
    return quick_gp(seed=seed, startup_trials=startup_trials)


GP = Sampler("gp", _build, "a Gaussian process over all settings; takes 0.4 s to propose")
