"""The clock of a set: which of a table's seconds were passes through frozen nets, and whose epochs the rest.

When a table is made, configurations are trained one after the other on one store of features: the first that
needs a pass makes it, and its first epoch is as much longer. In another order other trials make the passes.
So they are taken out of the seconds here, and a replayed search hands them to whoever needs them first.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import numpy as np
from scipy.optimize import nnls

from orchestrator.preflight.pricing import head_seconds, passes_of
from orchestrator.simulation.table import ResultTable, Trajectory
from orchestrator.study.price import Pass, PointPrice
from trainables.config.trial_config import TrialConfig, decode
from trainables.models.columns import columns_of

FAILED_SECONDS: Final = 1.0  # of a configuration that failed when the table was made

_Net = tuple[str, int]  # backbone and side of its input, in pixels
_Head = tuple[str, str]  # its name, and how it pools


@dataclass(frozen=True, slots=True)
class SetClock:
    """Seconds of a set without its passes, and what a pass takes.

    Attributes:
        epochs: Seconds of each epoch of each configuration, of passes that are made.
        passes: Backbone and side of its input in pixels -> seconds of a pass.
        sizes_px: Backbone -> side of its input where a configuration leaves it open.
        channels: Channels of the images, as the table's context says.
        trained: Images that all folds of an epoch train on, counted once a fold; 0 if the table does not say.
    """

    epochs: tuple[tuple[float, ...], ...]
    passes: Mapping[_Net, float]
    sizes_px: Mapping[str, int]
    channels: int
    trained: int = 0

    def price(self, config: TrialConfig) -> PointPrice:
        """Return the price of a configuration as a search guesses it: its passes and its head."""
        needed = passes_of(config, self.sizes_px)
        passes = {own: self.pass_seconds(own) for own in needed}
        columns = columns_of(config, self.sizes_px, self.channels)
        trained = self.trained if config.classical.name == "none" else 0
        head = head_seconds(config, columns, trained=trained, has_gpu=False)
        return PointPrice(passes, 0.0, columns, head)

    def pass_seconds(self, own: Pass) -> float:
        """Return the seconds of a pass; one at a side that the table lacks goes by the area of the next."""
        known = {side: seconds for (net, side), seconds in self.passes.items() if net == own.backbone}
        if not known:
            return 0.0
        side = min(known, key=lambda other: abs(other - own.size_px))
        return known[side] * (own.size_px / side) ** 2


def clock_of(table: ResultTable, name: str) -> SetClock:
    """Return the clock of a set of a table.

    What a first epoch takes beyond the median of those with the same head and pooling that made no pass is
    the time of the passes that it made. What a pass takes at each side of each net is fitted to those times
    by least squares, none below 0, over the configurations that the table began with: what was added later
    began with an empty store, on another day. A table of unknown nets has no passes, and its seconds stay.

    Args:
        table: Results, whose configurations are in the order in which they were trained.
        name: Name of the set.
    """
    sizes: Mapping[str, int] = table.context.get("sizes_px", {})
    configs = [_decoded(own, table.context) for own in table.settings]
    made = _made_by(configs, sizes, table.fresh_stores)
    found = table.sets[name]
    usual = _usual_seconds(configs, made, found)
    heads = [_head_of(config) for config in configs]
    payers = [
        place for place, own in enumerate(made) if own and found[place] is not None and heads[place] in usual
    ]
    later = min((own for own in table.fresh_stores if own > 0), default=len(configs))
    fitted = [place for place in payers if place < later]
    beyond = [_first_seconds(found[place]) - usual[heads[place]] for place in fitted]
    epochs = [own.seconds if own else (FAILED_SECONDS,) for own in found]
    for place in payers:
        epochs[place] = (min(epochs[place][0], usual[heads[place]]), *epochs[place][1:])
    passes = _fitted([made[place] for place in fitted], beyond)
    channels = int(table.context.get("image_channels", 1))
    return SetClock(tuple(epochs), passes, sizes, channels, table.trained.get(name, 0))


def _decoded(settings: Mapping[str, Any], context: Mapping[str, Any]) -> TrialConfig:
    return decode({"training.epochs": context["epochs"]} | dict(settings))


def _made_by(
    configs: Sequence[TrialConfig], sizes_px: Mapping[str, int], fresh_stores: Sequence[int]
) -> list[tuple[Pass, ...]]:
    """The passes that each configuration made, in order."""
    known, found = set[Pass](), list[tuple[Pass, ...]]()
    for place, config in enumerate(configs):
        if place in fresh_stores:
            known.clear()
        new = tuple(own for own in passes_of(config, sizes_px) if own not in known)
        known.update(new)
        found.append(new)
    return found


def _usual_seconds(
    configs: Sequence[TrialConfig],
    made: Sequence[Sequence[Pass]],
    found: Sequence[Trajectory | None],
) -> dict[_Head, float]:
    """Median seconds of the first epoch of each kind of head, of trials that made no pass."""
    seconds = defaultdict[_Head, list[float]](list)
    for config, new, own in zip(configs, made, found, strict=True):
        if own is not None and not new:
            seconds[_head_of(config)].append(own.seconds[0])
    return {head: median(own) for head, own in seconds.items()}


def _head_of(config: TrialConfig) -> _Head:
    return config.classical.name, config.model.head.pooling


def _first_seconds(own: Trajectory | None) -> float:
    return own.seconds[0] if own else 0.0


def _fitted(made: Sequence[Sequence[Pass]], seconds: Sequence[float]) -> dict[_Net, float]:
    """Seconds of a pass by net and side, from who made which."""
    nets = sorted({(own.backbone, own.size_px) for new in made for own in new})
    if not nets:
        return {}
    counts = np.zeros((len(made), len(nets)))
    for row, new in enumerate(made):
        for own in new:
            counts[row, nets.index((own.backbone, own.size_px))] += 1
    fitted, _ = nnls(counts, np.maximum(seconds, 0.0))
    return dict(zip(nets, fitted.tolist(), strict=True))
