"""`random`: every point by itself, whatever the others have shown.

Source: Bergstra and Bengio (2012), "Random search for hyper-parameter optimization".
"""

import optuna

from orchestrator.study.sampler import Sampler, SamplingFacts


def _build(facts: SamplingFacts) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=facts.seed)


RANDOM = Sampler("random", _build, "every point by itself, whatever the others have shown")
