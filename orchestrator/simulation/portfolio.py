"""First points of a search, learned from a table of results."""

import functools
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from orchestrator.simulation.table import ResultTable
from search_spaces.distance import distance
from trainables.common.types import FloatArray

_SLOW_NETS: Final = frozenset({"vgg16"})  # a pass takes many times as long as that of EfficientNet-Lite0
_NEAR: Final = 3.0  # distance at which a configuration counts a third; about three settings that differ


def merits(table: ResultTable) -> FloatArray:
    """Return how good each configuration is on each set, between chance and the best there.

    Args:
        table: Results.

    Returns:
        Array of shape (sets, configurations): 1 for the best configuration of a set, 0 for an AUC of one
        half, for worse ones and for those that failed.
    """
    values = np.array([[own.value if own else 0.5 for own in found] for found in table.sets.values()])
    above = np.maximum(values - 0.5, 0.0)
    return np.asarray(above / np.maximum(above.max(axis=1, keepdims=True), 1e-12))


def likely_merits(table: ResultTable) -> FloatArray:
    """Return merits with the luck of single results taken out: means over what lies near.

    The best of some hundred results on a set of a hundred patients is partly luck. What a configuration is
    worth elsewhere shows better in those that differ from it in a few settings; each counts by a Gaussian of
    its distance.

    Args:
        table: Results.

    Returns:
        Array of shape (sets, configurations), in [0, 1].
    """
    weights = np.exp(-((distances(table) / _NEAR) ** 2))
    return np.asarray(merits(table) @ (weights / weights.sum(axis=1, keepdims=True)).T)


def chosen_points(table: ResultTable, count: int) -> list[int]:
    """Choose a list of configurations so that the best of its first ones is good on every set.

    Greedy: each is the one that lowers the mean over sets of the regret most, which is 1 minus the likely
    merit of the best so far; of equals, the quicker. Such a list is within 1 - 1/e of the best one of its
    length, since the gain of a further configuration can only shrink (Nemhauser et al. 1978). AutoGluon and
    auto-sklearn choose their portfolios so (Feurer et al. 2022, section 3.1), by the merits themselves. Of
    any four points one may be a head that is trained, which takes a hundred times as long as a closed one,
    and one may need a slow net. Points take images as they are: a search enlarges small ones itself, as far
    as it has the time.

    Args:
        table: Results.
        count: Number of configurations to choose, at most as many as there are.

    Returns:
        Indices of the configurations, in the order in which to try them.
    """
    merit = likely_merits(table)
    seconds = np.array(
        [[sum(own.seconds) if own else np.inf for own in found] for found in table.sets.values()]
    )
    cost = np.median(seconds, axis=0)
    rare = (
        {place for place, own in enumerate(table.settings) if own.get("classical.name", "none") == "none"},
        {place for place, own in enumerate(table.settings) if _needs_slow_net(own)},
    )
    resized = {place for place, own in enumerate(table.settings) if own.get("input.size_px") is not None}
    best, chosen = np.zeros(len(merit)), list[int]()
    for _ in range(min(count, merit.shape[1] - len(resized))):
        barred = {*resized, *chosen}
        with_rare = barred.union(*(own for own in rare if own & set(chosen[-3:])))
        barred = with_rare if len(with_rare) < merit.shape[1] else barred  # or only rare ones are left
        gains = np.maximum(merit, best[:, None]).mean(axis=0)
        gains[list(barred)] = -np.inf
        if gains.max() <= best.mean() + 1e-12:
            # Nothing is better anywhere: what is good in the mean is left.
            gains = merit.mean(axis=0)
            gains[list(barred)] = -np.inf
        near = np.flatnonzero(gains >= gains.max() - 1e-9)
        chosen.append(int(near[np.argmin(cost[near])]))
        best = np.maximum(best, merit[:, chosen[-1]])
    return chosen


def distances(table: ResultTable) -> FloatArray:
    """Return the distances of all configurations of a table, shape (configurations, configurations)."""
    return _distances(tuple(json.dumps(own, sort_keys=True) for own in table.settings))


@functools.lru_cache(maxsize=4)
def _distances(settings: tuple[str, ...]) -> FloatArray:
    known: list[dict[str, Any]] = [json.loads(own) for own in settings]
    found = np.zeros((len(known), len(known)))
    for place, own in enumerate(known):
        for before in range(place):
            found[place, before] = found[before, place] = distance(own, known[before])
    return found


def _needs_slow_net(settings: Mapping[str, Any]) -> bool:
    taps = (settings.get("model.backbone", ""), *settings.get("model.also", ()))
    return any(str(tap).partition("/")[0] in _SLOW_NETS for tap in taps)
