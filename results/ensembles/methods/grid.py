"""`grid`: each member's weight is 0, 0.34, 0.67 or 1; all combinations are scored out of fold."""

import itertools
from typing import Final

import numpy as np

from results.ensembles.fitted import Method
from results.ensembles.members import Members
from results.ensembles.weighted_mean import WeightedMean, weighted_mean
from trainables.common.types import FloatArray

STEPS: Final = (0.0, 0.34, 0.67, 1.0)
MOST_MEMBERS: Final = 4  # 255 combinations; each further member would make them four times as many

_COMBINED_AT_ONCE: Final = 16


def fit_grid(members: Members, seed: int) -> WeightedMean:
    """Choose the weights that are best by the main metric; of equals, the most even ones.

    Beyond four members only the best four by that metric may have a weight.
    """
    merits = members.merits(members.probabilities)
    chosen = np.sort(np.argsort(-merits, kind="stable")[:MOST_MEMBERS])
    candidates = weight_grid(len(chosen))
    found = np.concatenate(
        [
            members.merits(
                np.tensordot(
                    candidates[start : start + _COMBINED_AT_ONCE], members.probabilities[chosen], axes=1
                )
            )
            for start in range(0, len(candidates), _COMBINED_AT_ONCE)
        ]
    )
    weights = np.zeros(len(members.trials))
    weights[chosen] = candidates[int(np.argmax(np.round(found, 12)))]
    return weighted_mean(weights)


def weight_grid(members: int) -> FloatArray:
    """Return all distinct weight vectors, the most even first, shape (combinations, members); rows sum to 1.

    >>> weight_grid(2).round(2).tolist()[:3]
    [[0.5, 0.5], [0.4, 0.6], [0.6, 0.4]]
    """
    raw = np.array([steps for steps in itertools.product(STEPS, repeat=members) if any(steps)])
    distinct = np.unique((raw / raw.sum(axis=1, keepdims=True)).round(12), axis=0)
    order = np.argsort((distinct**2).sum(axis=1).round(9), kind="stable")
    return distinct[order] / distinct[order].sum(axis=1, keepdims=True)


GRID = Method("grid", fit_grid, WeightedMean, complexity=20)
