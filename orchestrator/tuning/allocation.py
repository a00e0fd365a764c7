"""Allocation of CPUs, GPUs and memory to trials, from the measured needs of earlier trials of the same kind.

Pure bookkeeping: the Ray backend reports measurements here, and asks for an allocation before each trial.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from cluster.resources import WORKER_BYTES, Machine, slots_on
from orchestrator.tuning.resource_request import ResourceRequest
from orchestrator.tuning.trial_kinds import Kind, features_of, kind_of
from trainables.common.text import count_text
from trainables.config.trial_config import TrialConfig

SHARES: Final = 8  # a GPU is given out in eighths
_CAUTIOUS: Final = 4  # eighths for the first trial of a kind
_MARGIN: Final = 1.15  # factor on the measured need: heads and augmentations differ within a kind
_USABLE: Final = 0.9  # share of the memory; the rest is for the driver and other programs
_UNKNOWN_HEAD_BYTES: Final = 1_600_000_000  # main memory of a worker, before a trial of its like was measured

# Each report takes the driver some milliseconds: many workers report less often, at most 100 times a second.
_REPORT_SECONDS_A_WORKER: Final = 0.01


def idle_free_cpus(
    machines: Sequence[Machine], *, at_once: int, gpus: float = 0.0, memory_bytes: int = 0
) -> int:
    """Return the number of cores that each of a few trials may use so that none of them idles.

    The number holds for a whole search: workers are used again only while trials ask for the same. It leaves
    room for all the trials that run at once: a GPU without a core would idle.

    Args:
        machines: Machines of the cluster; may be none.
        at_once: Number of trials that ever run at the same time, at least 1; they spread evenly over the
            machines that can hold one.
        gpus: Number of GPUs of a trial, or a share below 1; 0 for none.
        memory_bytes: Bytes of memory of a trial; 0 if memory is not counted.

    >>> idle_free_cpus([Machine(8, 0, 0)], at_once=3), idle_free_cpus([Machine(8, 0, 0)], at_once=8)
    (2, 1)
    >>> idle_free_cpus([Machine(64, 0, 0), Machine(64, 8, 0)], at_once=8, gpus=1.0)
    8
    """
    asked = {"cpus_per_trial": 1.0, "gpus_per_trial": gpus, "memory_per_trial": memory_bytes}
    most = [slots_on((machine,), **asked) for machine in machines]  # type: ignore[arg-type]
    held = 1  # by each machine, or as many as it can hold
    while held < max(most, default=0) and sum(min(own, held) for own in most) < at_once:
        held += 1
    shares = [one.cpus / min(own, held) for one, own in zip(machines, most, strict=True) if own > 0]
    return max(1, math.floor(min(shares, default=1.0)))


def report_seconds(slots: int) -> float:
    """Return the time between two reports of a worker, in seconds, of so many trials at once.

    >>> report_seconds(2), report_seconds(512)
    (0.02, 5.12)
    """
    return _REPORT_SECONDS_A_WORKER * slots


def _smallest_share(gpus: float, *, is_measured: bool) -> float:
    """The smallest share of a GPU of trials that have so many GPUs."""
    return 1 / SHARES if is_measured and gpus > 0 else gpus


def _working(machines: Sequence[Machine]) -> tuple[Machine, ...]:
    """The machines that run trials at all; the head of a cluster may be kept free of them."""
    return tuple(machine for machine in machines if machine.cpus > 0)


class ResourceAllocator:
    """Allocates resources to trials by the memory that earlier trials of their kind needed.

    Args:
        cpus: Number of CPU cores of a trial.
        gpus: Number of GPUs of a trial; 0 for trials on CPUs. Its size is ignored if `is_measured`.
        machines: Machines of the cluster; empty if they are not known, and then memory is not counted.
        folds: Number of folds of the cross-validation.
        slots: Number of trials at once.
        is_measured: Give each trial a share of a GPU by its measured need; False gives every trial `gpus`.
        workers: Largest number of trials at once that the user wants; None for no limit.
        shares_features: All machines reach the stored features, so that heads may train on machines without
            a GPU.
        lends_features: Machines lend each other what they have stored, with the same consequence.
        fixed_backbones: Names of backbones without weights, whose features need no GPU.
        bounds_memory: Every trial asks for the main memory that its worker needs, so that all that run at
            once fit into what Ray gives out.
        late_gpus: Number of GPUs of a trial, by its measured need, while a cluster that had none at first has
            machines with some; 0 for a search that began with GPUs, or whose user wants none.

    Attributes:
        slots: Number of trials at once; it follows the machines.
        apart: Names of machines that do not reach the features which the others share; they get no heads for
            want of a GPU.
    """

    def __init__(  # noqa: PLR0913 - a trial, the machines, and what the user set
        self,
        cpus: float,
        gpus: float,
        machines: Sequence[Machine],
        *,
        folds: int,
        slots: int,
        is_measured: bool,
        workers: int | None = None,
        shares_features: bool = False,
        lends_features: bool = False,
        fixed_backbones: Collection[str] = (),
        bounds_memory: bool = False,
        late_gpus: float = 0.0,
    ) -> None:
        self.cpus, self.gpus, self.machines = cpus, gpus, _working(machines)
        self.folds, self.slots, self.is_measured = folds, slots, is_measured
        self.workers = workers
        self.shares_features, self.lends_features = shares_features, lends_features
        self.fixed_backbones = frozenset(fixed_backbones)
        self.bounds_memory, self.late_gpus = bounds_memory, late_gpus
        self.apart: Collection[str] = ()
        self._needs: dict[Kind, float] = {}
        self._residents: dict[Kind, int] = {}  # bytes of main memory of the largest worker of a kind
        self._stored: set[str] = set()  # names of features that a trial has opened
        self._holders: dict[str, dict[str, str]] = {}  # name of features -> machine -> its store
        self._add_slots_of_heads()

    def follow(self, machines: Sequence[Machine]) -> str:
        """Take over the machines that the cluster has now.

        Nothing changes while no machine has room for a trial: those that left may come back.

        Returns:
            What has changed, in a sentence; empty if nothing has.
        """
        machines = _working(machines)
        before, now = self._names(self.machines), self._names(machines)
        gpus, is_measured = self._gpus_on(machines)
        slots = self._fitting(machines, _smallest_share(gpus, is_measured=is_measured))
        if slots == 0 or before == now:
            return ""
        said_of_gpus = ""
        if gpus != self.gpus:
            self._needs.clear()  # they are those of trials on other devices
            said_of_gpus = "; trials use its GPUs from now on" if gpus else "; trials run on CPUs again"
        self.gpus, self.is_measured = gpus, is_measured
        self.machines, earlier, self.slots = machines, self.slots, slots
        self._holders = {
            name: {node: store for node, store in stores.items() if node in now}
            for name, stores in self._holders.items()
        }
        self._add_slots_of_heads()
        return (
            f"the cluster has {count_text(len(now), 'machine')} now, before {len(before)}: "
            f"{count_text(self.slots, 'trial')} at once, before {earlier}{said_of_gpus}"
        )

    def _gpus_on(self, machines: Sequence[Machine]) -> tuple[float, bool]:
        """GPUs of a trial on some machines, and whether it gets a share by its measured need."""
        if self.late_gpus <= 0:
            return self.gpus, self.is_measured
        has_gpus = any(machine.gpus for machine in machines)
        return (self.late_gpus, True) if has_gpus else (0.0, False)

    @property
    def workers_expected(self) -> int:
        """Number of workers that the machines keep busy, heads on machines without a GPU included."""
        found = self._fitting(self.machines, self.gpus)
        heads = self._slots_of_heads()
        return found + heads if self.workers is None else min(self.workers, found + heads)

    def request(
        self, config: TrialConfig, *, heads: int = 0, avoids: Collection[str] = ()
    ) -> ResourceRequest:
        """Return the resources of a trial that runs at the same time as others.

        A head whose features are stored, or need no net, goes to a machine without a GPU as long as one has
        room, so that the GPUs are left to trials that need them; else it shares a GPU as before.

        Args:
            config: Configuration of the trial.
            heads: Number of trials that run on machines without a GPU now.
            avoids: Names of machines that may not run it.
        """
        asked = replace(self._request(config, heads, avoids), avoids=tuple(sorted(avoids)))
        return replace(asked, memory_bytes=self._bounded(config)) if self.bounds_memory else asked

    def _request(self, config: TrialConfig, heads: int, avoids: Collection[str]) -> ResourceRequest:
        name = features_of(config)
        lenders = tuple(sorted(self._holders.get(name, {}).items())) if name is not None else ()
        is_reached = bool(lenders) or (self.shares_features and name in self._stored)
        has_room = heads < self._slots_of_heads(avoids)
        if has_room and (is_reached or (name is not None and self._has_no_net(config))):
            nodes = tuple(sorted(one.node_id for one in self._machines_of_heads(avoids) if one.node_id))
            return ResourceRequest(self.cpus, 0.0, nodes=nodes, lenders=lenders)
        need = self._need(kind_of(config, self.folds))
        if self.gpus <= 0:
            return ResourceRequest(self.cpus, 0.0, self._memory(need))
        if not self.is_measured:
            return ResourceRequest(self.cpus, self.gpus)
        eighths = _CAUTIOUS if need is None else min(SHARES, max(1, math.ceil(SHARES * need - 1e-9)))
        return ResourceRequest(self.cpus, eighths / SHARES)

    def alone(self, *, avoids: Collection[str] = ()) -> ResourceRequest:
        """Return the resources of a trial that must run alone: the largest machine that has its GPU.

        Args:
            avoids: Names of machines that may not run it.
        """
        gpus = max(1.0, self.gpus) if self.gpus > 0 else 0.0
        able = [one for one in self.machines if one.gpus >= gpus and one.node_id not in avoids]
        cpus = max([self.cpus, *(machine.cpus for machine in able)])
        return ResourceRequest(cpus, gpus, avoids=tuple(sorted(avoids)))

    def able(self, request: ResourceRequest) -> list[str]:
        """Return the names of the machines that could run a request, once nothing else runs there."""
        return [machine.node_id for machine in self.machines if request.fits_on(machine)]

    def has_no_machine_for(self, request: ResourceRequest, machines: Sequence[Machine] | None = None) -> bool:
        """Tell whether no machine can hold a request, so that it waits until one joins.

        Args:
            request: The request.
            machines: Machines that the cluster has now; None for those that were last taken over.
        """
        those = self.machines if machines is None else _working(machines)
        return bool(self.machines) and not any(request.fits_on(machine) for machine in those)

    def is_enough_without(self, nodes: Collection[str]) -> bool:
        """Tell whether the machines that are not named have room for a trial that is no head."""
        left = [machine for machine in self.machines if machine.node_id not in nodes]
        return self._fitting(left, self._smallest_gpus()) > 0

    def opened(self, config: TrialConfig) -> None:
        """Note that a trial has opened its features, so that from now on they are stored."""
        name = features_of(config)
        if name is not None:
            self._stored.add(name)

    def holds(self, config: TrialConfig, node: str, store: str) -> None:
        """Note that the features of a trial are in the store of a machine that lends them.

        Args:
            config: Configuration of the trial.
            node: Name of the machine.
            store: Path of its store.
        """
        name = features_of(config)
        if name is not None and self.lends_features:
            self._holders.setdefault(name, {})[node] = store

    def measured(self, config: TrialConfig, peak_bytes: int, total_bytes: int) -> None:
        """Note the memory that a trial needed.

        Args:
            config: Configuration of the trial.
            peak_bytes: Largest number of bytes that it held at once.
            total_bytes: Bytes of memory of its GPU or, without one, of its machine.
        """
        kind = kind_of(config, self.folds)
        need = _MARGIN * peak_bytes / (_USABLE * total_bytes)
        self._needs[kind] = max(need, self._needs.get(kind, 0.0))

    def resident(self, config: TrialConfig, worker_bytes: int) -> None:
        """Note the main memory that the worker of a trial took at most, in bytes; 0 if it is not known."""
        kind = kind_of(config, self.folds)
        if worker_bytes > 0:
            self._residents[kind] = max(worker_bytes, self._residents.get(kind, 0))

    def ran_out(self, config: TrialConfig) -> None:
        """Note that a trial ran out of memory: its kind gets twice as much from now on."""
        kind = kind_of(config, self.folds)
        if self.bounds_memory:
            self._residents[kind] = 2 * self._resident(config)
        given = self._need(kind) or _CAUTIOUS / SHARES
        self._needs[kind] = min(1.0, 2 * given)

    def _has_no_net(self, config: TrialConfig) -> bool:
        """Tell whether all that a trial sees are statistics of pixels, or columns of a table."""
        taps = (config.model.backbone, *(tap.rpartition("/")[0] for tap in config.model.also))
        return self.fixed_backbones.issuperset(taps)

    def _smallest_gpus(self) -> float:
        """The smallest share of a GPU that a trial which is no head may get."""
        return _smallest_share(self.gpus, is_measured=self.is_measured)

    def _slots_of_heads(self, avoids: Collection[str] = ()) -> int:
        """Number of trials that fit on machines without a GPU, where a search has any use for them.

        It has none where the user wants no more trials at once than the GPUs have room for.
        """
        reaches = self.shares_features or self.lends_features
        if self.gpus <= 0 or self.cpus <= 0 or not reaches or self._is_filled_by_gpus():
            return 0
        return self._fitting(self._machines_of_heads(avoids), 0.0)

    def _is_filled_by_gpus(self) -> bool:
        if self.workers is None:
            return False
        gpus = self._smallest_gpus()
        return slots_on(self.machines, cpus_per_trial=self.cpus, gpus_per_trial=gpus) >= self.workers

    def _fitting(self, machines: Sequence[Machine], gpus: float) -> int:
        """Number of trials with so many GPUs each that fit on machines."""
        return slots_on(
            machines,
            cpus_per_trial=self.cpus,
            gpus_per_trial=gpus,
            workers=self.workers,
            memory_per_trial=WORKER_BYTES if self.bounds_memory else 0,
        )

    def _add_slots_of_heads(self) -> None:
        more = self.slots + self._slots_of_heads()
        self.slots = more if self.workers is None else min(self.workers, more)

    def _machines_of_heads(self, avoids: Collection[str] = ()) -> list[Machine]:
        without = {*self.apart, *avoids}
        return [one for one in self.machines if one.gpus == 0 and one.node_id not in without]

    @staticmethod
    def _names(machines: Sequence[Machine]) -> list[str]:
        return sorted(machine.node_id for machine in machines)

    def _need(self, kind: Kind) -> float | None:
        """Share of the memory in [0, 1], from this kind or from kinds that differ in batch size alone.

        Memory grows at most in proportion to the batch. So the need of a larger batch is an upper limit as it
        is, and the need of a smaller batch is one after scaling.
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
        """Bytes to ask for; 0 if the memory holds as many trials as may run at once anyway."""
        smallest = self._smallest_memory()
        if need is None or smallest == 0:
            return 0
        fit = max(1, math.floor(1.0 / need))
        return 0 if fit >= self._at_once() else smallest // fit

    def _bounded(self, config: TrialConfig) -> int:
        """Bytes to ask for where memory is bounded: a whole part of it, as workers are kept for equal ones.

        A trial that needs more than there is asks for all of it, and so runs alone.
        """
        smallest = self._smallest_memory()
        if smallest == 0:
            return 0
        fit = math.floor(smallest / (_MARGIN * self._resident(config)))
        return smallest // max(1, min(fit, self._at_once()))

    def _resident(self, config: TrialConfig) -> int:
        """Bytes of main memory of a trial's worker: as measured of its kind, else of its like, else a guess.

        Of trials that train a net on a CPU the first get half of the memory; heads hold features only, and
        what is trained on a GPU lies there.
        """
        kind = kind_of(config, self.folds)
        if kind in self._residents:
            return self._residents[kind]
        like = [
            taken
            for other, taken in self._residents.items()
            if (other.trained_stages == 0) == (kind.trained_stages == 0) and other.models >= kind.models
        ]
        if like:
            return max(like)
        is_small = kind.trained_stages == 0 or self.gpus > 0
        half = math.floor(self._smallest_memory() / 2 / _MARGIN)
        return min(_UNKNOWN_HEAD_BYTES, half) if is_small else half

    def _smallest_memory(self) -> int:
        """Bytes of memory of the machine that has the least."""
        return min((machine.memory_bytes for machine in self.machines), default=0)

    def _at_once(self) -> int:
        """Number of trials that may run on one machine at once, by its cores."""
        most_cpus = max((machine.cpus for machine in self.machines), default=self.cpus)
        if self.cpus == 0:
            return self.slots
        return max(1, min(self.slots, math.floor(most_cpus / self.cpus + 1e-9)))
