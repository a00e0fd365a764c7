"""Origin and cost of the features that a trial trained on, as its record keeps them. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from pydantic import FiniteFloat

FeatureKind = Literal["stored views", "online pixels", "table columns"]


@dataclass(frozen=True, slots=True)
class FeatureUse:
    """Origin of the features that a trial trained on, and what they cost.

    Attributes:
        kind: `stored views` of a frozen prefix, in the store or in memory; `online pixels`; or `table
            columns`, which pass no net.
        stage: Last frozen stage, or None when there is none.
        views: Number of distinct views of each image that training could draw.
        computed: View files computed by this trial.
        read: View files read.
        rebuilt: View files that were damaged and were computed again; part of `computed`.
        fetched: View files copied from the shared store.
        computed_seconds: What computing took in this trial.
        seconds_per_image: What the frozen stages cost for one image in one view, known of stored features
            too; 0 for pixels.
        note: Why features were not stored; empty where nothing kept them from it.
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
    note: str = ""
