"""Origin and cost of the features that a trial trained on, as its record keeps them. Imports no torch."""

from dataclasses import dataclass
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
        seconds_per_image: Time of the frozen stages for one image in one view, in seconds; recorded with
            stored features too; 0 for pixels.
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
