"""Steps by which the mammograms of a set were made ready, as its facts declare them."""

from collections.abc import Mapping
from typing import Any

from trainables.common.errors import DataError


def steps_of(facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the steps of a prepared set as plain values.

    Sets that earlier versions joined state the steps of their parts alone, which are theirs where all agree.

    Args:
        facts: What `set.json` holds.

    Returns:
        The steps; None for a set without any, or whose parts do not agree.
    """
    if "settings" in facts:
        steps: Mapping[str, Any] | None = (facts["settings"] or {}).get("steps")
        return steps
    parts = [(part["settings"] or {}).get("steps") for part in facts.get("joined", ())]
    return parts[0] if parts and all(part == parts[0] for part in parts) else None


def agreed_steps(named: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the steps that all sets share.

    Args:
        named: Name of a set, as messages say it -> its facts; at least one.

    Raises:
        DataError: If the sets were made ready in different ways; the message names the steps that differ.
    """
    (first, facts), *others = named.items()
    for name, other in ((first, facts), *others):
        if "settings" not in other and _differ(other):
            raise DataError(
                f"{name} joins sets whose mammograms were made ready in different ways; join sets that were "
                "prepared with the same steps"
            )
    steps = steps_of(facts)
    for name, other in others:
        if said := difference(first, steps, name, steps_of(other)):
            raise DataError(
                f"mammograms of sets that are joined must be made ready in one way; found {said}: prepare "
                "them with the same steps"
            )
    return steps


def difference(
    first: str, steps: Mapping[str, Any] | None, second: str, others: Mapping[str, Any] | None
) -> str:
    """Say in which steps two sets differ; an empty text where they are the same.

    >>> difference("a", {"margin": 0.01, "size": [8, 8]}, "b", {"margin": 0.02, "size": [8, 8]})
    'margin 0.01 (a) and 0.02 (b)'
    >>> difference("a", None, "b", {"margin": 0.01})
    'no steps (a) and steps (b)'
    """
    if steps is None or others is None:
        said = ["no steps" if one is None else "steps" for one in (steps, others)]
        return "" if steps is others else f"{said[0]} ({first}) and {said[1]} ({second})"
    names = sorted(name for name in {*steps, *others} if _plain(steps, name) != _plain(others, name))
    return ", ".join(
        f"{name} {_plain(steps, name)} ({first}) and {_plain(others, name)} ({second})" for name in names
    )


def _plain(steps: Mapping[str, Any], name: str) -> Any:
    value = steps.get(name)
    return list(value) if isinstance(value, tuple) else value


def _differ(facts: Mapping[str, Any]) -> bool:
    parts = [(part["settings"] or {}).get("steps") for part in facts.get("joined", ())]
    return any(part != parts[0] for part in parts)
