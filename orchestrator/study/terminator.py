"""The end of a search that has little left to gain: further trials would change less than the folds' noise.

Pure functions of the values of the trials, so that an interrupted search that is resumed decides as if it had
never stopped, whatever the number of workers.

Source:
    Makarova et al. (2022), "Automatic termination for hyperparameter optimization" (AutoML-Conf), for the
    comparison of the gain with the variance of a cross-validation; that variance is of Nadeau and Bengio
    (2003). Their bound of the gain needs a Gaussian process over a space without conditions; ours counts.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from orchestrator.study.trial_spec import is_first_point
from results.run.records import SearchRecord, Termination, TrialRecord
from results.scores.ranking import Objectives
from trainables.common.types import FloatArray

FEWEST_TRIALS: Final = 20  # complete ones; below, half as many again are too few to expect anything of
_RECENT: Final = 4  # the last quarter of the trials shows what a sampler that learns still gains


def expected_gain(merits: Sequence[float]) -> float:
    """Return by how much half as many trials again would raise the best value, on average, at most.

    The mean best of n trials in random order grows ever more slowly with n. So the last half of the trials
    has gained, on average over all orders, more than as many further ones will. A sampler that learns
    proposes in no random order: what its last quarter of trials has really gained counts where that is more.

    Args:
        merits: Value of each complete trial, larger is better, in the order in which they ended, at least 2.

    >>> round(expected_gain([0.5, 0.7, 0.7, 0.7]), 3)
    0.0
    >>> round(expected_gain([0.8, 0.5, 0.6, 0.7]), 3)
    0.067
    """
    values = np.asarray(merits, dtype=float)
    ordered = np.sort(values)[::-1]
    count = len(values)
    kept = count - count // 2  # as many are left out as are to come
    mean_best, share = 0.0, kept / count
    for place, value in enumerate(ordered[: count - kept + 1].tolist()):
        mean_best += share * value  # the best of a random subset is the one at this place
        share *= (count - kept - place) / max(1, count - 1 - place)
    recent = max(1, count // _RECENT)
    return max(float(ordered[0]) - mean_best, float(ordered[0] - values[:-recent].max()))


def fold_noise(values: FloatArray) -> float:
    """Return the standard error of a mean over folds, whose training parts overlap.

    Args:
        values: Value of each fold, shape (folds,), at least 2.
    """
    folds = len(values)
    return float(np.sqrt((1 / folds + 1 / (folds - 1)) * np.var(values, ddof=1)))


class Terminator:
    """Tells when a search of one metric has little left to gain.

    Args:
        objectives: Metric that the search optimises, and what it requires.
        records: Records of trials that have ended before, in any order.
    """

    def __init__(self, objectives: Objectives, records: Sequence[TrialRecord] = ()) -> None:
        self._objectives = objectives
        self._merits: list[float] = []
        self._best: FloatArray | None = None  # values of the best trial's folds
        for record in sorted(records, key=lambda record: record.finished_at):
            self.add(record)

    def add(self, record: TrialRecord) -> None:
        """Learn of a trial that has ended; only complete ones that keep what is required count."""
        if record.state != "complete" or record.value is None or self._objectives.violation(record) > 0:
            return
        main = self._objectives.main
        merit, metric = main.merit(record.value), main.metric
        if merit > max(self._merits, default=-np.inf):
            self._best = np.array([own[metric] for own in record.fold_metrics if metric in own])
        self._merits.append(merit)

    def verdict(self, recipes: Iterable[str] = ()) -> Termination | None:
        """Return why the search may end now; None as long as it should go on.

        Args:
            recipes: Recipe of the trial that has just ended, and of each that runs or is to run again.
                Initial points are the reference for all others, so nothing is decided before they have all
                ended; whoever asks makes sure that none is left to be handed out.
        """
        if any(map(is_first_point, recipes)):
            return None
        if len(self._merits) < FEWEST_TRIALS or self._best is None or len(self._best) < 2:
            return None
        gain, noise = expected_gain(self._merits), fold_noise(self._best)
        return Termination(trials=len(self._merits), gain=gain, noise=noise) if gain < noise else None


def reason_against(search: SearchRecord) -> str:
    """Return why a search cannot be ended by its expected gain; empty if it can."""
    if len(search.metrics) > 1:
        return f"it optimises {len(search.metrics)} metrics, and a front of trials has no single gain"
    if search.folds < 2:
        return "it has a hold-out, whose noise a single value does not tell"
    return ""
