"""`wilcoxon`: a trial stops if its folds are worse than those of the best trial by a signed-rank test.

Optuna's pruner of this name takes every report for another instance. Of a trial that is reported epoch by
epoch it would count each fold again at every epoch, as if these were independent; so this one compares the
folds of one epoch.

Source: Wilcoxon (1945), "Individual comparisons by ranking methods".
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from orchestrator.study.pruner import FOLD_VALUES, Pruner, PruningFacts, at_doubling_epochs
from trainables.common.types import FloatArray

THRESHOLD: Final = 0.1  # four folds that are all worse have 1/16, the least that four can have


class WilcoxonOverFolds(optuna.pruners.BasePruner):
    """Stops a trial whose folds are worse than those of the best finished trial at the same epoch.

    The best trial is that with the best value at its end. If it stopped before the epoch by itself, it counts
    with the last comparison that it took part in.

    Args:
        minimizes: The metric is better when it is lower.
        threshold: Largest probability, in (0, 1), of differences like these between equal trials at which a
            trial is stopped.
    """

    def __init__(self, *, minimizes: bool, threshold: float = THRESHOLD) -> None:
        self._sign, self._threshold = -1.0 if minimizes else 1.0, threshold

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Tell whether the trial is to be stopped at the epoch of its last report."""
        if trial.last_step is None:
            return False
        own = _folds_at(trial, trial.last_step)
        try:
            best = _folds_at(study.best_trial, trial.last_step)
        except ValueError:  # no trial has finished
            return False
        if own is None or best is None or len(own) != len(best):
            return False
        differences = self._sign * (own - best)
        return float(differences.mean()) < 0 and signed_rank_p(differences) <= self._threshold


def signed_rank_p(differences: FloatArray) -> float:
    """Return the probability that equal trials differ by so much: exact, one-sided, ties and zeros included.

    Zeros keep their ranks and count half for either side, as in Pratt's test.

    Args:
        differences: Trial minus reference for each fold, larger is better, shape (folds,).

    Returns:
        Probability of ranks of the positive differences that sum to no more than these, in (0, 1].

    >>> signed_rank_p(np.array([-0.1, -0.2, -0.05, -0.3]))
    0.0625
    """
    sizes = np.abs(differences)
    # Twice the mean rank of ties is a whole number, so that sums can be counted.
    doubled = [int((sizes < own).sum() + (sizes <= own).sum() + 1) for own in sizes]
    ranked = [(rank, own) for rank, own in zip(doubled, differences, strict=True) if own != 0]
    counts = np.ones(1)
    for rank, _ in ranked:
        counts = np.concatenate([counts, np.zeros(rank)]) + np.concatenate([np.zeros(rank), counts])
    reached = sum(rank for rank, own in ranked if own > 0)
    return float(counts[: reached + 1].sum() / counts.sum())


def _folds_at(trial: FrozenTrial, epoch: int) -> FloatArray | None:
    """Values of the folds at the last comparison up to an epoch; None without one."""
    epochs = [
        int(name.removeprefix(FOLD_VALUES)) for name in trial.user_attrs if name.startswith(FOLD_VALUES)
    ]
    last = max((own for own in epochs if own <= epoch), default=None)
    if last is None:
        return None
    values: Sequence[float] = trial.user_attrs[f"{FOLD_VALUES}{last}"]
    return np.asarray(values, dtype=float)


def _build(facts: PruningFacts) -> optuna.pruners.BasePruner:
    return WilcoxonOverFolds(minimizes=facts.minimizes)


WILCOXON = Pruner(
    "wilcoxon",
    _build,
    "at epochs 5, 10, 20, ... a trial stops whose folds are worse than those of the best trial, by a "
    "one-sided signed-rank test (p up to 0.1)",
    decides_at=at_doubling_epochs,
    survival=0.25,
    fewest_folds=4,
)
