"""What configurations did on other sets, and which of them a search should try next.

A mean over other sets says how good a configuration usually is, and the trials of the search say how this set
differs: a Gaussian process over the distance of configurations begins with that mean, learns from the trials,
and ranks what has been tried elsewhere by the improvement that it expects.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from orchestrator.study.window import violation
from search_spaces.distance import distance
from search_spaces.learned import TriedElsewhere
from trainables.common.types import FloatArray

FEWEST: Final = 4  # complete trials, before which nothing is known of the set
UNTIL: Final = 64  # trials; what was tried elsewhere has few surprises left after half as many
_SAMPLERS_TURN: Final = 4  # each fourth of these trials is the sampler's, for what was never tried elsewhere
_WIDTH: Final = 3.0  # distance at which two configurations say e times less of each other
_NOISE: Final = 0.3  # of a value, as a share of the deviation that configurations have
_LEAST_DEVIATION: Final = 0.01

Settings = Mapping[str, Any]


class Experience:
    """Ranks configurations that were tried on other sets by what a search has found so far.

    Args:
        tried: Configurations, and how good each was elsewhere.
        params_of: Returns the parameters with which the space of the search proposes a configuration.
        settings_of: Returns the settings of a trial of the search that are not their defaults.
        normal_of: Returns settings in the form that `settings_of` gives them, which is the same for all
            configurations that are one model on the images of the search.
    """

    def __init__(
        self,
        tried: Sequence[TriedElsewhere],
        params_of: Callable[[Settings], Mapping[str, Any]],
        settings_of: Callable[[FrozenTrial], Settings],
        normal_of: Callable[[Settings], Settings] = lambda settings: settings,
    ) -> None:
        self._tried, self._params_of, self._settings_of = tried, params_of, settings_of
        self._normal_of = normal_of
        self._usual = np.array([own.merit for own in tried])
        self._settings: dict[int, Settings] = {}  # of trials, by their number
        self._rows: dict[int, FloatArray] = {}  # distances of a trial to all configurations
        self._pairs: dict[tuple[int, int], float] = {}  # distances of two trials
        self._params: dict[int, Mapping[str, Any]] = {}  # of configurations, by their index

    def has_a_turn(self, number: int) -> bool:
        """Tell whether a trial of this number is one that experience proposes."""
        return number < UNTIL and number % _SAMPLERS_TURN != _SAMPLERS_TURN - 1

    def promising(self, study: optuna.Study) -> Iterator[Mapping[str, Any]]:
        """Yield parameters of the configurations from which most improvement is expected, best first.

        Args:
            study: The study, of one objective.

        Yields:
            Parameters of the space; nothing before a few trials are complete, and never those of a first
            point, whether it was tried or waits. What cannot run in this search is left out.
        """
        complete = [
            own
            for own in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if own.number < UNTIL
        ]
        if len(complete) < FEWEST or len(study.directions) > 1:
            return
        sign = 1.0 if study.direction is StudyDirection.MAXIMIZE else -1.0
        values = sign * np.array([own.value for own in complete])
        is_able = np.array([violation(own) == 0 for own in complete])
        # Nothing is to be improved on but what keeps the requirements, if something does.
        best = float(values[is_able].max() if is_able.any() else values.max())
        far = np.stack([self._row(own) for own in complete])
        between = np.array([[self._between(one, other) for other in complete] for one in complete])
        first = _first_points(study)
        gains = expected_improvement(self._usual, values, far, between, best=best)
        for index in np.argsort(-gains, kind="stable"):
            if (params := self._params_at(int(index))) and params not in first:
                yield params

    @functools.cached_property
    def _normal(self) -> list[Settings]:
        return [self._normal_of(own.settings) for own in self._tried]

    def _of(self, trial: FrozenTrial) -> Settings:
        if trial.number not in self._settings:
            self._settings[trial.number] = self._settings_of(trial)
        return self._settings[trial.number]

    def _row(self, trial: FrozenTrial) -> FloatArray:
        if trial.number not in self._rows:
            own = self._of(trial)
            self._rows[trial.number] = np.array([distance(own, other) for other in self._normal])
        return self._rows[trial.number]

    def _between(self, one: FrozenTrial, other: FrozenTrial) -> float:
        pair = min(one.number, other.number), max(one.number, other.number)
        if pair not in self._pairs:
            self._pairs[pair] = distance(self._of(one), self._of(other))
        return self._pairs[pair]

    def _params_at(self, index: int) -> Mapping[str, Any]:
        if index not in self._params:
            self._params[index] = self._params_of(self._tried[index].settings)
        return self._params[index]


def _first_points(study: optuna.Study) -> list[Mapping[str, Any]]:
    """Parameters of the points of the queue, tried or waiting; what has them differs in epochs alone."""
    points = [own for own in study.get_trials(deepcopy=False) if "settings" in own.user_attrs]
    return [own.params or own.system_attrs.get("fixed_params", {}) for own in points]


def expected_improvement(
    usual: FloatArray, values: FloatArray, far: FloatArray, between: FloatArray, *, best: float
) -> FloatArray:
    """Return the improvement over the best value so far that is expected of each configuration.

    Args:
        usual: How good configurations are elsewhere, of shape (configurations,), on any scale.
        values: Values of trials, of shape (trials,), larger is better.
        far: Distances of trials and configurations, of shape (trials, configurations).
        between: Distances of trials, of shape (trials, trials).
        best: The best value so far.

    Returns:
        Array of shape (configurations,), at least 0, in units of `values`.
    """
    from scipy.special import ndtr  # slow to import

    alike = np.exp(-((far / _WIDTH) ** 2))
    # Values are a line of what is usual for the nearest configuration, and what deviates from that line.
    near = usual[far.argmin(axis=1)]
    above = near - near.mean()
    slope = max(0.0, float(above @ (values - values.mean())) / max(float(above @ above), 1e-12))
    line = values.mean() + slope * (usual - near.mean())
    left = values - values.mean() - slope * above
    deviation = max(float(np.sqrt((left**2).mean())), _LEAST_DEVIATION)
    covariance = np.exp(-((between / _WIDTH) ** 2)) + _NOISE**2 * np.eye(len(values))
    weights = np.linalg.solve(covariance, np.column_stack([left, alike]))
    mean = line + alike.T @ weights[:, 0]
    variance = 1.0 - np.einsum("ij,ij->j", alike, weights[:, 1:])
    spread = deviation * np.sqrt(np.maximum(variance, 1e-9))
    gain = mean - best
    scaled = gain / spread
    density = np.exp(-(scaled**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(np.maximum(gain * ndtr(scaled) + spread * density, 0.0))
