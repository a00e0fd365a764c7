"""`nsga2`: generations of trials; the best of one are crossed and mutated to give the next.

A setting that a trial did not ask for is inherited all the same, like a gene that is not expressed.

Source: Deb et al. (2002), "A fast and elitist multiobjective genetic algorithm: NSGA-II".
"""

from typing import Final

import optuna

from orchestrator.study.sampler import Sampler, SamplingFacts
from orchestrator.study.seeded import SeededByTrial
from orchestrator.study.whole_space import WholeSpaceSampler

_GENERATIONS: Final = 5  # at least, so that some of a short search is more than its random beginning
_SMALLEST: Final = 8
_LARGEST: Final = 50


def population_size(trials: int) -> int:
    """Return the number of trials of a generation.

    >>> population_size(24), population_size(100), population_size(1000)
    (8, 20, 50)
    """
    return min(max(trials // _GENERATIONS, _SMALLEST), _LARGEST)


def _build(facts: SamplingFacts) -> optuna.samplers.BaseSampler:
    size = population_size(facts.trials)
    own = SeededByTrial(
        lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=size), facts.lasting_seed
    )
    return WholeSpaceSampler(own, facts, orders_numbers=False, remembers=True)


NSGA2 = Sampler("nsga2", _build, "generations that are crossed and mutated, for several metrics")
