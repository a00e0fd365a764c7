"""`average`: every member has the same weight. Nothing is fitted, so nothing can overfit."""

import numpy as np

from results.ensembles.fitted import Method
from results.ensembles.members import Members
from results.ensembles.weighted_mean import WeightedMean, weighted_mean


def fit_average(members: Members, seed: int) -> WeightedMean:
    """Give every member the same weight."""
    return weighted_mean(np.ones(len(members.trials)))


AVERAGE = Method("average", fit_average, WeightedMean, complexity=0)
