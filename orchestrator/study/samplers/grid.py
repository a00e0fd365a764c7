"""`grid`: the points of a finite grid, none of them twice, in a random order.

A number has up to five values from one end of its range to the other, evenly on the scale on which it is
drawn, and a choice all of its own. The grid follows the conditions of the space: at each setting one of the
values is drawn that still leads to a point which has not been tried. When none is left, the search is over.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from orchestrator.study.sampler import Sampler, SamplingFacts
from orchestrator.study.seeded import seed_of_trial

POINTS: Final = 5  # values of a number
_SAME: Final = 1e-9  # relative difference of two values that are one


def grid_of(range_: BaseDistribution) -> list[Any]:
    """Return the values of a setting on the grid, in increasing order for numbers.

    >>> grid_of(IntDistribution(1, 100)), grid_of(FloatDistribution(1e-4, 1e0, log=True))
    ([1, 26, 51, 75, 100], [0.0001, 0.001, 0.01, 0.1, 1.0])
    """
    if isinstance(range_, CategoricalDistribution):
        return list(range_.choices)
    assert isinstance(range_, (FloatDistribution, IntDistribution))
    spaced = np.geomspace if range_.log else np.linspace
    values = spaced(range_.low, range_.high, POINTS).tolist()
    if range_.step is not None:
        values = [range_.low + range_.step * round((own - range_.low) / range_.step) for own in values]
    values = [float(f"{own:.12g}") for own in values]
    kept = [min(max(own, range_.low), range_.high) for own in dict.fromkeys(values)]
    return [int(own) for own in kept] if isinstance(range_, IntDistribution) else kept


@dataclass(slots=True)
class _Node:
    """A place in the tree of points: a setting with its values, or the end of a point.

    Attributes:
        name: Setting that is asked for here; empty until that is known.
        values: Its values on the grid.
        next: Position of a value -> place that it leads to.
        is_done: Every point from here on has been tried.
    """

    name: str = ""
    values: list[Any] = field(default_factory=list)
    next: dict[int, "_Node"] = field(default_factory=dict)
    is_done: bool = False

    def position(self, value: Any) -> int | None:
        """Position of a value on the grid; None if it is not on it."""
        for position, own in enumerate(self.values):
            if own == value or (_are_numbers(own, value) and abs(own - value) <= _SAME * abs(own)):
                return position
        return None

    def open(self) -> list[int]:
        """Positions of the values that still lead to something new."""
        return [
            position
            for position in range(len(self.values))
            if position not in self.next or not self.next[position].is_done
        ]


class GridSampler(BaseSampler):
    """Draws points of a grid that follows the conditions of the space.

    Args:
        seed: Random seed of the order, the same after a resume.
        is_whole: Tells whether parameters make a point; those of another search's trial may be drawn in part.
    """

    def __init__(self, seed: int, is_whole: Callable[[Mapping[str, Any]], bool]) -> None:
        self._seed, self._is_whole = seed, is_whole
        self._root = _Node()
        self._known: set[int] = set()  # trials whose points are in the tree

    def is_exhausted(self, study: optuna.Study) -> bool:
        """Tell whether every point of the grid has been tried, or is."""
        self._learn(study, but=-1)
        return self._root.is_done

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: settings are drawn one after the other."""
        self._learn(study, but=trial.number)
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw nothing: settings are drawn one after the other."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a value that still leads to a point which has not been tried; any one if there is none."""
        values = grid_of(param_distribution)
        random = np.random.default_rng(seed_of_trial(self._seed, trial.number, param_name))
        here = _follow(self._root, trial.params, trial.distributions)
        if here is not None and not here.name:
            here.name, here.values = param_name, values
        if here is not None and here.name == param_name and here.values == values and here.open():
            return values[int(random.choice(here.open()))]
        return values[int(random.integers(len(values)))]

    def _learn(self, study: optuna.Study, *, but: int) -> None:
        """Add the points of trials that were handed out since the last proposal."""
        for trial in study.get_trials(deepcopy=False):
            if trial.number in self._known or trial.number == but or trial.state is TrialState.WAITING:
                continue
            if not (trial.state.is_finished() or self._is_whole(trial.params)):
                continue  # it is looked at again
            self._known.add(trial.number)
            if trial.params:
                _close(self._root, trial.params, trial.distributions)


def _follow(
    root: _Node, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> _Node | None:
    """The place that a point has reached; None if it has left the grid."""
    path = _path(root, params, distributions)
    return None if path is None else path[-1]


def _path(
    root: _Node, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
) -> list[_Node] | None:
    """All places on the way of a point, the root first; None if it leaves the grid."""
    path = [root]
    for name, value in params.items():
        here, values = path[-1], grid_of(distributions[name])
        if not here.name:
            here.name, here.values = name, values
        position = here.position(value) if here.name == name and here.values == values else None
        if position is None:
            return None
        path.append(here.next.setdefault(position, _Node()))
    return path


def _close(root: _Node, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> None:
    """Mark a point as tried, and every place from which nothing new can be reached."""
    path = _path(root, params, distributions)
    if path is None or path[-1].name:  # it is none of the grid, or ended where others go on
        return
    path[-1].is_done = True
    for place in reversed(path[:-1]):
        place.is_done = not place.open()


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(own, (int, float)) and not isinstance(own, bool) for own in values)


def _build(facts: SamplingFacts) -> optuna.samplers.BaseSampler:
    return GridSampler(facts.lasting_seed, facts.is_whole)


GRID = Sampler(
    "grid",
    _build,
    "points of a grid, none twice, in random order: all choices, five values of a number",
)
