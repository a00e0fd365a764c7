"""Which trials are the members of an ensemble: the best of each kind in turn.

The best trials of a search are often variants of one model, and a mean of such gains nothing. A kind is the
nets whose features a model sees, and its head. Which kinds go well together is not asked of the data: with
some hundred patients, members that were chosen for what they add were no better than these, and less alike
from one set of patients to the next.
"""

from collections import Counter

from results.ensembles.limits import considered_among
from results.ensembles.members import Members
from results.scores.selection import values_with_costs


def choose_members(pool: Members, number: int, considered: int | None = None) -> list[int]:
    """Return the positions of the members: the best trial of each kind, then the second of each, and so on.

    Kinds take their turns in the order of their best trials, so the first member is the best of all. Trials
    that miss a requirement, or lie behind the front of several metrics, are members only where too few do
    not.

    Args:
        pool: Out-of-fold predictions of the trials to choose from, their kinds, and what the search
            optimises.
        number: Number of members, at least 1; there are fewer where the pool has fewer models.
        considered: Number of best trials that may be members, at least 1; where it is not above `number`,
            these are the members, whatever their kinds. None takes the better half, see `considered_among`.
    """
    considered = considered_among(len(pool.trials)) if considered is None else considered
    ordered = _of_equal_standing(pool, pool.order(considered), number)
    turns, before = list[int](), Counter[str]()
    for place in ordered:
        turns.append(before[pool.kind(place)])
        before[pool.kind(place)] += 1
    ranks = sorted(range(len(ordered)), key=lambda rank: (turns[rank], rank))
    return [ordered[rank] for rank in ranks[:number]]


def _of_equal_standing(pool: Members, ordered: list[int], number: int) -> list[int]:
    """Keep the trials that miss requirements by no more, and lie no further behind the front, than needed."""
    objectives = pool.objectives
    if len(objectives.metrics) == 1 and not objectives.requirements:
        return ordered
    kept = pool.only(ordered)
    trials = [kept.out_of_fold(own) for own in kept.probabilities]
    standing = objectives.standing(values_with_costs(trials, objectives, kept.costs))
    worst = standing[min(number, len(ordered)) - 1]
    return [place for place, own in zip(ordered, standing, strict=True) if own <= worst]
