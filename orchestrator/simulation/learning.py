"""What tables of results teach the search space: ranges that hold all that was ever good."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from orchestrator.simulation.portfolio import likely_merits
from orchestrator.simulation.table import ResultTable
from search_spaces.context import SpaceContext
from search_spaces.enqueue import matching_numbers
from search_spaces.image_classifier import LEARNING_RATES, tied_rate
from search_spaces.learned import TriedElsewhere
from search_spaces.registry import space_named
from trainables.config.trial_config import decode

GOOD: Final = 0.9  # of what the best of its kind has above chance on a set
MARGIN: Final = 3.0  # factor beyond the outermost good values: the table has few of them
_CHANCE: Final = 0.5


def good_values(tables: Sequence[ResultTable]) -> dict[str, list[float]]:
    """Return number parameter of the space -> its values in all configurations that were ever good, sorted.

    A configuration is good on a set if it has `GOOD` of what the best configuration with the same parameter
    has above chance there: a learning rate is judged among those of the same optimiser and kind of head.

    Args:
        tables: Tables of results, which may have different sets and configurations.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for table in tables:
        for name, values in _values(table).items():
            for results in table.sets.values():
                above = {
                    place: own.value - _CHANCE
                    for place in values
                    if (own := results[place]) is not None and own.value > _CHANCE
                }
                least = GOOD * max(above.values(), default=math.inf)
                found[name] += [values[place] for place, own in above.items() if own >= least]
    return {name: sorted(set(values)) for name, values in found.items()}


def ranges_of(tables: Sequence[ResultTable]) -> dict[str, tuple[float, float]]:
    """Return number parameter of the space -> the range that holds every value which was ever good.

    A margin is left on both sides, and the ends are rounded outwards; what the space says is never exceeded.
    Parameters of which no good value is known are left out.

    Args:
        tables: Tables of results.
    """
    widest = {name: ends for table in tables for name, ends in _widest(table).items()}
    found = {}
    for name, values in sorted(good_values(tables).items()):
        if values:
            low, high = widest[name]
            inner = rounded(values[0] / MARGIN, math.floor), rounded(values[-1] * MARGIN, math.ceil)
            found[name] = max(low, inner[0]), min(high, inner[1])
    return found


def tried_of(table: ResultTable) -> tuple[TriedElsewhere, ...]:
    """Return the configurations of a table, and how good each is likely to be on a set, to four digits.

    Args:
        table: Results.
    """
    usual = likely_merits(table).mean(axis=0)
    return tuple(
        TriedElsewhere(own, round(float(merit), 4)) for own, merit in zip(table.settings, usual, strict=True)
    )


def rounded(value: float, rule: Any) -> float:
    """Round a positive number to two digits, by `math.floor` or `math.ceil`.

    >>> rounded(0.01234, math.floor), rounded(0.01234, math.ceil)
    (0.012, 0.013)
    """
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{rule(value / unit) * unit:.2g}")


def widest_context(table: ResultTable) -> SpaceContext:
    """Return the facts of a table's searches, with whole ranges of learning rates by optimiser and head.

    Args:
        table: Results.
    """
    heads = ("none", "256")
    ranges = {tied_rate(name, hidden): ends for name, ends in LEARNING_RATES.items() for hidden in heads}
    return SpaceContext.model_validate({**table.context, "ranges": ranges})


def _values(table: ResultTable) -> dict[str, dict[int, float]]:
    """Number parameter -> index of a configuration that has it -> value."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for place, numbers in enumerate(_numbers(table)):
        for name, (value, _) in numbers.items():
            found[name][place] = value
    return found


def _widest(table: ResultTable) -> dict[str, tuple[float, float]]:
    return {name: ends for numbers in _numbers(table) for name, (_, ends) in numbers.items()}


def _numbers(table: ResultTable) -> list[dict[str, tuple[float, tuple[float, float]]]]:
    """Numbers that the space would propose for each configuration, with the ends of their ranges."""
    function, context = space_named(table.space).function, widest_context(table)
    defaults = {"training.epochs": context.epochs}
    return [matching_numbers(function, context, decode(defaults | dict(own))) for own in table.settings]
