"""`merit`: a member weighs the less, the further its score lies below the best one's, in standard errors.

What a score of few patients says of a member is little, and so their members weigh much alike: of 18 patients
this is nearly the average. Of many patients the members that are clearly worse fade out. Nothing but the
members' own scores is looked at, so there is little to overfit.

Source:
    Buckland, Burnham and Augustin (1997), Biometrics 53:603, for weights that fall exponentially with the
    distance from the best model.
"""

from typing import Final

import numpy as np

from results.ensembles.fitted import Method
from results.ensembles.members import Members
from results.ensembles.weighted_mean import WeightedMean, weighted_mean
from results.scores.interval import QUANTILE
from results.scores.metric_interval import metric_interval

_LEAST_WEIGHT: Final = 0.02  # of the best member's; a member below costs time and changes nothing


def fit_merit(members: Members, seed: int) -> WeightedMean:
    """Give the best member by the main metric the weight 1, and one that is a standard error worse 1 / e."""
    merits = members.merits(members.probabilities)
    best = int(np.argmax(np.round(merits, 12)))
    behind = merits[best] - merits
    error = _standard_error(members, best, seed)
    weights = np.exp(-behind / error) if error > 0 else (behind <= 0).astype(float)
    return weighted_mean(np.where(weights < _LEAST_WEIGHT, 0.0, weights))


def _standard_error(members: Members, member: int, seed: int) -> float:
    """Standard error of a member's main metric over patients and training parts."""
    objectives = members.objectives
    interval = metric_interval(
        members.out_of_fold(members.probabilities[member]),
        objectives.main.metric,
        objectives.metrics,
        operation=objectives.operation,
        seed=seed,
    )
    return (interval.high - interval.low) / (2 * QUANTILE)


MERIT = Method("merit", fit_merit, WeightedMean, complexity=-10)
