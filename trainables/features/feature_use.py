"""Origin and cost of the features that a trial trained on, as its record keeps them. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import FiniteFloat

FeatureKind = Literal["stored views", "online pixels", "table columns"]


@dataclass(frozen=True, slots=True)
class FeatureUse:
    """Origin and cost of the features that a trial trained on.

    Attributes:
        kind: `stored views` of a frozen prefix, in the store or in memory; `online pixels`; or `table
            columns`, which pass no net.
        stage: Last frozen stage, or None when there is none.
        views: Number of distinct views of each image that training could draw.
        computed: Number of view files computed by this trial.
        read: Number of view files read.
        rebuilt: Number of view files that were damaged and computed again; part of `computed`.
        fetched: Number of view files copied from the shared store or another machine.
        computed_seconds: Time of computing features in this trial, in seconds.
        seconds_per_image: Time of the frozen stages for one image in one view, in seconds, on average where
            several nets serve a head; recorded with stored features too; 0 for pixels.
        opening_seconds: Time of opening the features, in seconds: reading, computing, copying and waiting.
        waited_seconds: Part of it in which another process computed what this trial needs.
        note: Reason why features were not stored; empty where they were.
    """

    kind: FeatureKind
    stage: str | None
    views: int
    computed: int
    read: int
    rebuilt: int = 0
    fetched: int = 0
    computed_seconds: FiniteFloat = 0.0
    seconds_per_image: FiniteFloat = 0.0
    opening_seconds: FiniteFloat = 0.0
    waited_seconds: FiniteFloat = 0.0
    note: str = ""


def side_by_side(uses: Sequence[tuple[str, FeatureUse]]) -> FeatureUse:
    """Return the use of several taps by one head, which sees the same views of all of them.

    Args:
        uses: Backbone and use of each tap, in the order in which they were opened.
    """
    _, first = uses[0]
    own = [use for _, use in uses]
    # Taps of one net are filled in one pass.
    a_net = {net: max(use.seconds_per_image for other, use in uses if other == net) for net in dict(uses)}
    return replace(
        first,
        computed=sum(use.computed for use in own),
        read=sum(use.read for use in own),
        rebuilt=sum(use.rebuilt for use in own),
        fetched=sum(use.fetched for use in own),
        computed_seconds=sum(use.computed_seconds for use in own),
        seconds_per_image=sum(a_net.values()) / len(a_net),
        opening_seconds=sum(use.opening_seconds for use in own),
        waited_seconds=sum(use.waited_seconds for use in own),
        note="; ".join(dict.fromkeys(use.note for use in own if use.note)),
    )
