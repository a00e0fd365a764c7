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
from results.scores.metrics import mean_fold_auc

MOST_STEPS: Final = 25


def fit_greedy(members: Members, seed: int) -> WeightedMean:
    """Choose with replacement by mean fold AUC; of equals, the earlier member and the fewer steps."""
    total = np.zeros(members.probabilities.shape[1:])
    counts = np.zeros(len(members.trials))
    best_area, best_counts = -1.0, counts
    for step in range(1, MOST_STEPS + 1):
        areas = mean_fold_auc(members.labels, (total + members.probabilities) / step, members.folds)
        added = int(np.argmax(np.round(areas, 12)))
        total = total + members.probabilities[added]
        counts = counts + (np.arange(len(counts)) == added)
        if areas[added] > best_area + 1e-12:
            best_area, best_counts = float(areas[added]), counts
    return weighted_mean(best_counts)


GREEDY = Method("greedy", fit_greedy, WeightedMean, complexity=10)
