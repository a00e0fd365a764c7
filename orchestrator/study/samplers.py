"""The sampler of a search: Optuna's TPE over a bounded number of trials.

TPE reads every trial at every proposal, once for each group of settings that occur together, so its cost
grows with the search. It gives old trials less weight anyway, so only the best and the newest are kept.
"""

import heapq
import itertools
from collections.abc import Sequence
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from orchestrator.study.optuna_private import StudyView

BEST: Final = 25  # TPE counts at most this many trials as good
RECENT: Final = 75
_STARTUP_TRIALS: Final = 8
_OPEN: Final = (TrialState.RUNNING, TrialState.WAITING)


def window(
    trials: Sequence[FrozenTrial], *, best: int = BEST, recent: int = RECENT, minimizes: bool = False
) -> list[FrozenTrial]:
    """Return the trials that a proposal is drawn from, in order of their numbers.

    Args:
        trials: All trials of a study, in order of their numbers.
        best: Number of best complete trials to keep, whatever their age.
        recent: Number of other finished trials to keep, the newest first. Running ones are always kept.
        minimizes: The study looks for the lowest value, not for the highest.
    """
    if len(trials) <= best + recent:
        return list(trials)
    complete = (trial for trial in trials if trial.state is TrialState.COMPLETE)
    choose = heapq.nsmallest if minimizes else heapq.nlargest
    kept = {trial.number for trial in choose(best, complete, key=lambda trial: trial.values[0])}
    newest = (trial for trial in reversed(trials) if trial.state not in _OPEN and trial.number not in kept)
    kept.update([trial.number for trial in itertools.islice(newest, recent)])
    return [trial for trial in trials if trial.number in kept or trial.state in _OPEN]


class BoundedSampler(BaseSampler):
    """TPE over a window of the study.

    Args:
        seed: Random seed of the draws.
    """

    def __init__(self, seed: int) -> None:
        self._sampler = TPESampler(
            seed=seed, n_startup_trials=_STARTUP_TRIALS, multivariate=True, group=True, constant_liar=True
        )
        self._view: tuple[int, StudyView] | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the settings that are drawn together; Optuna calls this first for each trial."""
        return self._sampler.infer_relative_search_space(self._windowed(study, trial), trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw the settings that are drawn together."""
        return self._sampler.sample_relative(self._windowed(study, trial), trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one setting by itself."""
        return self._sampler.sample_independent(
            self._windowed(study, trial), trial, param_name, param_distribution
        )

    def _windowed(self, study: optuna.Study, trial: FrozenTrial) -> Any:
        """The study as it was when the trial was asked for, reduced to the window."""
        if self._view is None or self._view[0] != trial.number:
            minimizes = study.direction is optuna.study.StudyDirection.MINIMIZE
            seen = window(study.get_trials(deepcopy=False), minimizes=minimizes)
            self._view = trial.number, StudyView(study, seen)
        return self._view[1]
