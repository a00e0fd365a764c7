"""Randomness of a sampler by trial: what it draws for one depends on the trials before, not on its own past.

A sampler that draws from one stream proposes other points after a resume than it would have without the
interruption, for the stream ends with the process. Here each trial has a stream of its own, made of the seed
of the search and the number of the trial, and each setting that is drawn by itself has one of its own within
that. So a search that was killed at any moment goes on as if it had not been, as far as the trials before it
ended in the same order.
"""

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial


def seed_of_trial(seed: int, number: int, name: str = "") -> int:
    """Return the seed of a trial, or of one of its settings.

    Args:
        seed: Seed of the search, at least 0.
        number: Number of the trial.
        name: Name of a setting that is drawn by itself; empty for what is drawn together.

    >>> seed_of_trial(0, 1) == seed_of_trial(0, 1), seed_of_trial(0, 1) == seed_of_trial(1, 0)
    (True, False)
    """
    entropy = (seed, number, zlib.crc32(name.encode()))
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


class SeededByTrial(BaseSampler):
    """A sampler that is made anew for each trial, with the seed of that trial.

    Args:
        build: Makes the sampler from a seed; it keeps nothing that is not in the study.
        seed: Seed of the search, the same after a resume.
    """

    def __init__(self, build: Callable[[int], BaseSampler], seed: int) -> None:
        self._build, self._seed = build, seed
        self._made: tuple[int, BaseSampler] | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the settings that are drawn together."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw the settings that are drawn together."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one setting by itself, whichever others of the trial were drawn before."""
        own = self._build(seed_of_trial(self._seed, trial.number, param_name))
        return own.sample_independent(study, trial, param_name, param_distribution)

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if self._made is None or self._made[0] != trial.number:
            self._made = trial.number, self._build(seed_of_trial(self._seed, trial.number))
        return self._made[1]
