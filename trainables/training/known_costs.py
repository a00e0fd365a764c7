"""Measured costs of nets in a store, so that a search that is asked for again is the same search.

What a pass takes decides which nets take part, at which sides and in which order first points are tried.
Two measurements never agree, so one of them is kept, for everything that it depends on:

    <store>/costs/<key>.json    what was measured on what, and the last two measurements with their times

A machine that was busy must not be thought slow for ever, nor one that has become slow fast. So a measurement
counts for a week. Then the net is measured again, and of the last two measurements the smaller time counts.
Times on the clock on the wall, with several threads or on a GPU, are not kept while other work takes more
than half of the cores.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import torch
from pydantic import Field, TypeAdapter

from trainables.common.cores import count_cpus
from trainables.common.files import write_atomically
from trainables.common.onnx_runtime import onnxruntime
from trainables.common.processor import processor_name
from trainables.training.cost import Cost
from trainables.training.cost_probe import clock_on

FOLDER: Final = "costs"
LASTS_SECONDS: Final = 7 * 86_400.0
_FORMAT: Final = 1  # raise it when something else is measured
_KEPT: Final = 2  # measurements
_BUSY: Final = 0.5  # of the cores

_Measured = tuple[Annotated[float, Field(allow_inf_nan=False)], Cost]
_MEASURED: Final = TypeAdapter(list[_Measured])


class KnownCosts:
    """The costs of nets in a store, for a device of this machine and the present number of threads.

    Args:
        store: Folder of the store.
        device: Device that trials will run on.
        now: Returns seconds since 1970.
    """

    def __init__(self, store: Path, device: torch.device, *, now: Callable[[], float] = time.time) -> None:
        self._folder, self._device, self._now = store / FOLDER, device, now

    def cost(self, facts: Mapping[str, object], measure: Callable[[], Cost]) -> Cost:
        """Return a cost that was measured during the last week, or else measure it and keep it.

        A store that cannot be read or written keeps nothing.

        Args:
            facts: What is measured: net, side, channels, and whatever else its time depends on, as plain
                values; machine, device, threads and versions are added.
            measure: Measures it.
        """
        about = {**facts, **self._surroundings()}
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
        file = self._folder / f"{name}.json"
        known = _read(file)
        if not known or abs(self._now() - known[-1][0]) > LASTS_SECONDS:
            known = [*known, (self._now(), measure())][-_KEPT:]
            if not self._is_disturbed():
                content = {"about": about, "measured": [(at, dataclasses.asdict(own)) for at, own in known]}
                with contextlib.suppress(OSError):
                    write_atomically(file, json.dumps(content, indent=1) + "\n")
        return _smallest([own for _, own in known])

    def _surroundings(self) -> dict[str, object]:
        return {
            "format": _FORMAT,
            "processor": processor_name(),
            "cores": count_cpus(),
            "device": torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "versions": [torch.__version__, onnxruntime.__version__],
        }

    def _is_disturbed(self) -> bool:
        """Tell whether times may hold what other programs took."""
        if clock_on(self._device) is time.thread_time:
            return False
        return os.getloadavg()[0] > _BUSY * (os.cpu_count() or 1)


def _read(file: Path) -> list[_Measured]:
    """The measurements in a file, oldest first; none if it is missing or of no use."""
    try:
        content: dict[str, Any] = json.loads(file.read_text())
        found = _MEASURED.validate_python(content["measured"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return found if all(_is_sound(own) for _, own in found) else []


def _is_sound(cost: Cost) -> bool:
    times = [*cost.last_stage.values(), *(own for own in (cost.from_pixels,) if own is not None)]
    larger = [] if cost.larger is None else [cost.larger[1]]
    return all(0.0 < own < math.inf for own in (cost.forward, *larger)) and all(own > 0.0 for own in times)


def _smallest(costs: list[Cost]) -> Cost:
    """The smaller time of each kind; all costs have the same kinds."""
    first, *others = costs
    for other in others:
        is_step = first.from_pixels is not None and other.from_pixels is not None
        first = Cost(
            min(first.forward, other.forward),
            min(first.from_pixels or 0.0, other.from_pixels or 0.0) if is_step else other.from_pixels,
            {stage: min(own, first.last_stage.get(stage, own)) for stage, own in other.last_stage.items()},
            min(first.larger, other.larger) if first.larger and other.larger else other.larger,
        )
    return first
