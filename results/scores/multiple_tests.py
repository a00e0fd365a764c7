"""Corrections of many tests, so that all their claims together are right in 95 % of data sets."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down method, in the same order.

    Source:
        Holm (1979), Scandinavian Journal of Statistics 6:65.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    number = len(p_values)
    adjusted, largest = [1.0] * number, 0.0
    for rank, place in enumerate(sorted(range(number), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (number - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
