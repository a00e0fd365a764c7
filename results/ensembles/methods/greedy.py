"""`greedy`: add, again and again, the member that helps most; a member may be added many times.

Source:
    Caruana et al. (2004), "Ensemble selection from libraries of models". Purucker and Beel (2023,
    arXiv 2307.00286) found that it does not overfit ROC AUC, as CMA-ES on the weights does.
"""

from typing import Final

import numpy as np

from results.ensembles.fitted import Method
from results.ensembles.members import Members
from results.ensembles.weighted_mean import WeightedMean, weighted_mean

MOST_STEPS: Final = 25


def fit_greedy(members: Members, seed: int) -> WeightedMean:
    """Choose with replacement by the main metric; of equals, the earlier member and the fewer steps."""
    total = np.zeros(members.probabilities.shape[1:])
    counts = np.zeros(len(members.trials))
    best_merit, best_counts = -np.inf, counts
    for step in range(1, MOST_STEPS + 1):
        merits = members.merits((total + members.probabilities) / step)
        added = int(np.argmax(np.round(merits, 12)))
        total = total + members.probabilities[added]
        counts = counts + (np.arange(len(counts)) == added)
        if merits[added] > best_merit + 1e-12:
            best_merit, best_counts = float(merits[added]), counts
    return weighted_mean(best_counts)


GREEDY = Method("greedy", fit_greedy, WeightedMean, complexity=10)
