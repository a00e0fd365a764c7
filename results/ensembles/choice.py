"""Which trials are the members of an ensemble: the best one, and then those that add most to the others.

The best trials of a search are often variants of one model, and a mean of such gains nothing. So members are
looked for among more trials than there are places, by what the mean gains with each.

Source:
    Caruana et al. (2004), "Ensemble selection from libraries of models", begun with the best model.
"""

from typing import Final

import numpy as np

from results.ensembles.members import Members
from results.scores.fold_scores import objective_values

CONSIDERED: Final = 40  # best trials among which members are looked for

_DIGITS: Final = 9  # merits that are equal to so many are equal


def choose_members(pool: Members, number: int, considered: int = CONSIDERED) -> list[int]:
    """Return the positions of the trials that are best together: the best trial, then by what each adds.

    Each further member is the one with which the mean of all is best by the metric that the search optimises,
    even where that is lower than before: a mean of more models owes less to chance. Of equals the trial comes
    first that is better alone. Trials that miss a requirement, or lie behind the front of several metrics, are
    members only where too few do not.

    Args:
        pool: Out-of-fold predictions of the trials to choose from, and what the search optimises.
        number: Number of members, at least 1; there are fewer where the pool has fewer models.
        considered: Number of best trials that may be members; no less than `number` counts.
    """
    left = _of_equal_standing(pool, pool.order(max(number, considered)), number)
    chosen = [left.pop(0)]
    total = pool.probabilities[chosen[0]]
    while left and len(chosen) < number:
        merits = pool.merits((total + pool.probabilities[left]) / (len(chosen) + 1))
        chosen.append(left.pop(int(np.argmax(np.round(merits, _DIGITS)))))
        total = total + pool.probabilities[chosen[-1]]
    return chosen


def _of_equal_standing(pool: Members, ordered: list[int], number: int) -> list[int]:
    """Keep the trials that miss requirements by no more, and lie no further behind the front, than needed."""
    objectives = pool.objectives
    if len(objectives.metrics) == 1 and not objectives.requirements:
        return ordered
    values = [
        {
            **(pool.costs[place] if pool.costs else {}),
            **objective_values(pool.out_of_fold(pool.probabilities[place]), objectives),
        }
        for place in ordered
    ]
    standing = objectives.standing(values)
    worst = standing[min(number, len(ordered)) - 1]
    return [place for place, own in zip(ordered, standing, strict=True) if own <= worst]
