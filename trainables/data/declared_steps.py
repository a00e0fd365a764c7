"""Steps by which the mammograms of a set were made ready, as its facts declare them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from trainables.common.errors import DataError
from trainables.data.mammogram.preparation import Preparation

# Steps of images that are scaled to millimetres, or are raw films, and are left as they are otherwise.
AS_THEY_ARE: Final = Preparation(crop_breast=False, blank_background=False, chest_wall=None)
_OF_SCALE: Final = ("mm_per_px", "spacing_mm", "size")
_OF_FILES: Final = "allows_for_processing"


def steps_of(facts: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the steps of a prepared set as plain values.

    Raw films that no step changes are read by steps that allow them, as a prediction needs to know. Sets that
    earlier versions joined state the steps of their parts alone, which are theirs where all agree.

    Args:
        facts: What `set.json` holds.

    Returns:
        The steps; None for a set without any, or whose parts do not agree.
    """
    if "settings" in facts:
        settings = facts["settings"] or {}
        steps: Mapping[str, Any] | None = settings.get("steps")
        return _of_raw_films(settings, facts.get("layout")) if steps is None else steps
    parts = [(part["settings"] or {}).get("steps") for part in facts.get("joined", ())]
    return parts[0] if parts and all(part == parts[0] for part in parts) else None


def check_can_be_repeated(name: str, facts: Mapping[str, Any]) -> None:
    """Refuse a set that was scaled to millimetres without steps, as versions did that declared none.

    Its images were filled up at other sides than steps do, and nothing would tell a prediction of the scale.

    Args:
        name: Name of the set, as the message says it.
        facts: What `set.json` holds.

    Raises:
        DataError: If it is such a set, or was joined from one.
    """
    for settings in _all_settings(facts):
        if settings.get("steps") is None and settings.get("mm_per_px") is not None:
            raise DataError(
                f"{name} was prepared at {settings['mm_per_px']:g} mm a pixel by an earlier version, which "
                "did not write down how a prediction comes to that scale, so that a model of it would be "
                "given other images than these: prepare it again, under another name or after removing it"
            )


def agreed_steps(named: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the steps that all sets share.

    Args:
        named: Name of a set, as messages say it -> its facts; at least one.

    Raises:
        DataError: If the sets were made ready in different ways; the message names the steps that differ. Or
            if the scale of one is not declared.
    """
    for name, own in named.items():
        check_can_be_repeated(name, own)
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
    if any((steps_of(own) or {}).get(_OF_FILES) for own in named.values()):
        return {**(AS_THEY_ARE.as_dict() if steps is None else steps), _OF_FILES: True}
    return steps


def difference(
    first: str, steps: Mapping[str, Any] | None, second: str, others: Mapping[str, Any] | None
) -> str:
    """Say in which steps two sets differ; an empty text where their pixels are made in the same way.

    A set without steps and one that was scaled alone differ in their scale. Which files may be read makes no
    pixel.

    >>> difference("a", {"margin": 0.01, "size": [8, 8]}, "b", {"margin": 0.02, "size": [8, 8]})
    'margin 0.01 (a) and 0.02 (b)'
    >>> difference("a", None, "b", {"margin": 0.01})
    'no steps (a) and steps (b)'
    >>> difference("a", None, "b", replace(AS_THEY_ARE, mm_per_px=0.2).as_dict())
    'mm_per_px None (a) and 0.2 (b)'
    """
    if steps is None and others is None:
        return ""
    if steps is None or others is None:
        given: Mapping[str, Any] = (others if steps is None else steps) or {}
        nothing = AS_THEY_ARE.as_dict()
        if any(
            given.get(name) != value for name, value in nothing.items() if name not in (*_OF_SCALE, _OF_FILES)
        ):
            said = ["no steps" if one is None else "steps" for one in (steps, others)]
            return f"{said[0]} ({first}) and {said[1]} ({second})"
        steps, others = ({**given, "mm_per_px": None} if one is None else one for one in (steps, others))
    names = sorted(
        name for name in {*steps, *others} - {_OF_FILES} if _plain(steps, name) != _plain(others, name)
    )
    return ", ".join(
        f"{name} {_plain(steps, name)} ({first}) and {_plain(others, name)} ({second})" for name in names
    )


def _of_raw_films(settings: Mapping[str, Any], layout: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Steps of a set that may hold raw films, which are grey; None where it does not."""
    if not settings.get("allows_for_processing") or layout is None or layout["is_colour"]:
        return None
    return replace(AS_THEY_ARE, allows_for_processing=True).as_dict()


def _all_settings(facts: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Settings of a set and of those that it was joined from."""
    yield facts.get("settings") or {}
    for part in facts.get("joined", ()):
        yield from _all_settings(part)


def _plain(steps: Mapping[str, Any], name: str) -> Any:
    value = steps.get(name)
    return list(value) if isinstance(value, tuple) else value


def _differ(facts: Mapping[str, Any]) -> bool:
    parts = [(part["settings"] or {}).get("steps") for part in facts.get("joined", ())]
    return any(part != parts[0] for part in parts)
