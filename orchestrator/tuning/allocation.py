"""How much of a machine a trial is given: what trials of its kind were measured to need, not a guess.

Pure bookkeeping: the engine tells what was measured, and asks before each trial.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cluster.resources import Machine
from trainables.config.trial_config import TrialConfig

SHARES: Final = 8  # a GPU is given out in eighths
_CAUTIOUS: Final = 4  # eighths for the first trial of a kind
_MARGIN: Final = 1.15  # over what was measured: heads and augmentations differ within a kind
_USABLE: Final = 0.9  # of the memory; the rest is the driver's and other programs'


@dataclass(frozen=True, slots=True)
class Kind:
    """What decides the memory of a trial."""

    backbone: str
    cut: str
    trained_stages: int | str
    batch_size: int
    size_px: int | None
    models: int


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """What one trial is given of a machine.

    Attributes:
        cpus: CPU cores, at least 0.
        gpus: GPUs: eighths of one, or what the user said.
        memory_bytes: Of the machine; 0 where memory need not be counted.
    """

    cpus: float
    gpus: float
    memory_bytes: int = 0

    def is_larger_than(self, other: "ResourceRequest") -> bool:
        """Tell whether this takes more of anything than another request."""
        return self.cpus > other.cpus or self.gpus > other.gpus or self.memory_bytes > other.memory_bytes


def kind_of(config: TrialConfig, folds: int) -> Kind:
    """Return the kind of a trial: backbone, first trained stage, batch, input size, models side by side."""
    model, training = config.model, config.training
    return Kind(
        backbone=model.backbone,
        cut=model.cut,
        trained_stages=model.trained_stages,
        batch_size=training.batch_size,
        size_px=config.input.size_px,
        models=folds * training.repeats,
    )


class ResourceAllocator:
    """Learns what each kind of trial needs.

    Args:
        cpus: CPU cores of a trial.
        gpus: GPUs of a trial; of no account where GPUs are shared as measured.
        machines: What there is; empty where it is not known, then memory is not counted.
        folds: Of the cross-validation.
        slots: Trials at once.
        is_measured: Share GPUs as measured; False gives every trial `gpus`.
    """

    def __init__(
        self,
        cpus: float,
        gpus: float,
        machines: Sequence[Machine],
        *,
        folds: int,
        slots: int,
        is_measured: bool,
    ) -> None:
        self.cpus, self.gpus, self.machines = cpus, gpus, tuple(machines)
        self.folds, self.slots, self.is_measured = folds, slots, is_measured
        self._needs: dict[Kind, float] = {}

    def request(self, config: TrialConfig) -> ResourceRequest:
        """Return what a trial is given beside others."""
        need = self._need(kind_of(config, self.folds))
        if self.gpus <= 0:
            return ResourceRequest(self.cpus, 0.0, self._memory(need))
        if not self.is_measured:
            return ResourceRequest(self.cpus, self.gpus)
        eighths = _CAUTIOUS if need is None else min(SHARES, max(1, math.ceil(SHARES * need - 1e-9)))
        return ResourceRequest(self.cpus, eighths / SHARES)

    def alone(self) -> ResourceRequest:
        """Return what a trial is given that must run alone: the largest machine, with a whole GPU if any."""
        largest = max((machine.cpus for machine in self.machines), default=self.cpus)
        return ResourceRequest(max(self.cpus, largest), max(1.0, self.gpus) if self.gpus > 0 else 0.0)

    def measured(self, config: TrialConfig, peak_bytes: int, total_bytes: int) -> None:
        """Note what a trial needed.

        Args:
            config: Of the trial.
            peak_bytes: Most that it held at once.
            total_bytes: Memory of its GPU or, without one, of its machine.
        """
        kind = kind_of(config, self.folds)
        need = _MARGIN * peak_bytes / (_USABLE * total_bytes)
        self._needs[kind] = max(need, self._needs.get(kind, 0.0))

    def ran_out(self, config: TrialConfig) -> None:
        """Note that a trial ran out of memory: its kind is given twice as much from now on."""
        kind = kind_of(config, self.folds)
        given = self._need(kind) or _CAUTIOUS / SHARES
        self._needs[kind] = min(1.0, 2 * given)

    def _need(self, kind: Kind) -> float | None:
        """Share of the memory, from this kind or from those that differ in batch size alone.

        Memory grows with the batch, but not faster: a larger batch is an upper limit, a smaller one is after
        scaling.
        """
        if kind in self._needs:
            return self._needs[kind]
        limits = [
            need * max(1.0, kind.batch_size / other.batch_size)
            for other, need in self._needs.items()
            if (other.backbone, other.cut, other.trained_stages, other.size_px, other.models)
            == (kind.backbone, kind.cut, kind.trained_stages, kind.size_px, kind.models)
        ]
        return min(limits, default=None)

    def _memory(self, need: float | None) -> int:
        """Bytes to ask for, 0 where as many trials fit as may run at once."""
        smallest = min((machine.memory_bytes for machine in self.machines), default=0)
        if need is None or smallest == 0:
            return 0
        fit = max(1, math.floor(1.0 / need))
        most_cpus = max(machine.cpus for machine in self.machines)
        at_once = self.slots if self.cpus == 0 else min(self.slots, math.floor(most_cpus / self.cpus + 1e-9))
        return 0 if fit >= at_once else smallest // fit
