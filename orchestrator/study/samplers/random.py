"""`random`: every point by itself, whatever the others have shown.

Source: Bergstra and Bengio (2012), "Random search for hyper-parameter optimization".
"""

import optuna

from orchestrator.study.sampler import Sampler, SamplingFacts
from orchestrator.study.seeded import SeededByTrial


def _build(facts: SamplingFacts) -> optuna.samplers.BaseSampler:
    return SeededByTrial(lambda seed: optuna.samplers.RandomSampler(seed=seed), facts.lasting_seed)


RANDOM = Sampler("random", _build, "every point by itself, whatever the others have shown", learns=False)
