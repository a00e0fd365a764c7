"""Number of trials at once, from the resources of a cluster and those of a trial."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cluster.errors import ResourceError
from trainables.common.text import count_text

# Ray keeps resources in ten-thousandths; below that a request is rounded to nothing.
_SMALLEST_SHARE: Final = 1e-4
WORKER_BYTES: Final = 1_000_000_000  # least main memory of a worker: torch, and a small set of images


@dataclass(frozen=True, slots=True)
class Machine:
    """Resources that one machine of a cluster offers to trials.

    Attributes:
        cpus: Number of CPUs, at least 0.
        gpus: Number of GPUs, at least 0.
        memory_bytes: Bytes of main memory that Ray gives out, at least 0.
        node_id: Ray's name of the machine; two machines that offer the same are equal all the same.
    """

    cpus: float
    gpus: float
    memory_bytes: int
    node_id: str = field(default="", compare=False, repr=False)


def machines_of(nodes: Sequence[Mapping[str, Any]], *, leaving: Collection[str] = ()) -> tuple[Machine, ...]:
    """Return the machines that run.

    Args:
        nodes: Nodes as `ray.nodes()` returns them.
        leaving: Names of nodes that are about to be taken away; they are left out.

    >>> machines_of([{"Alive": True, "Resources": {"CPU": 8.0, "memory": 16e9}}, {"Alive": False}])
    (Machine(cpus=8.0, gpus=0.0, memory_bytes=16000000000),)
    """
    offers = [
        (node["Resources"], name)
        for node in nodes
        if node["Alive"] and (name := str(node.get("NodeID", ""))) not in leaving
    ]
    return tuple(
        Machine(offer.get("CPU", 0.0), offer.get("GPU", 0.0), int(offer.get("memory", 0)), name)
        for offer, name in offers
    )


def slots_on(
    machines: Sequence[Machine],
    *,
    cpus_per_trial: float,
    gpus_per_trial: float,
    workers: int | None = None,
    memory_per_trial: int = 0,
) -> int:
    """Return the number of trials that fit on machines, which may be none.

    Args:
        machines: Machines of the cluster.
        cpus_per_trial: Number of CPUs of a trial, at least 0.
        gpus_per_trial: Number of GPUs of a trial, or a share below 1; not 0 together with the CPUs.
        workers: Largest number of trials that the user wants at once; None sets no limit.
        memory_per_trial: Bytes of memory of a trial; 0 if memory is not counted.

    >>> slots_on([Machine(8, 2, 0), Machine(4, 0, 0)], cpus_per_trial=1, gpus_per_trial=0.5)
    4
    >>> slots_on([], cpus_per_trial=1, gpus_per_trial=0)
    0
    """
    slots = sum(
        min(
            _fit(machine.cpus, cpus_per_trial),
            _fit_gpus(machine.gpus, gpus_per_trial),
            _fit(machine.memory_bytes, memory_per_trial),
        )
        for machine in machines
    )
    return int(slots if workers is None else min(slots, workers))


def trial_slots(
    cpus: float,
    gpus: float,
    *,
    cpus_per_trial: float,
    gpus_per_trial: float,
    workers: int | None = None,
    machines: Sequence[Machine] = (),
    memory_per_trial: int = 0,
) -> int:
    """Return the number of trials that can run at the same time.

    Args:
        cpus: Number of CPUs that the cluster offers, at least 0.
        gpus: Number of GPUs that the cluster offers, at least 0.
        cpus_per_trial: Number of CPUs of a trial, at least 0; fractions share a CPU.
        gpus_per_trial: Number of GPUs of a trial: 0, a share below 1 (1/n lets n trials share a GPU), or a
            whole number.
        workers: Largest number of trials that the user wants at once, at least 1; None sets no limit.
        machines: Machines of the cluster; empty counts it as one machine, whose memory is not known.
        memory_per_trial: Bytes of memory of a trial; 0 if memory is not counted.

    Returns:
        Number of trials, at least 1. A trial runs on one machine, and a share below 1 on one GPU, so they are
        counted machine by machine and GPU by GPU.

    Raises:
        ResourceError: If no trial could ever start, or a request is contradictory.

    >>> trial_slots(8, 2, cpus_per_trial=1, gpus_per_trial=0.5)
    4
    >>> trial_slots(8, 0, cpus_per_trial=2, gpus_per_trial=0, workers=3)
    3
    """
    _check_request(cpus_per_trial, gpus_per_trial, workers)
    if cpus_per_trial > cpus:
        remedy = f"ask for at most {cpus:g} with --cpus-per-trial, or use a larger cluster"
        if cpus == 0:
            remedy = "its machines may not have joined yet, which `ray status` on its head shows"
        raise ResourceError(
            f"a trial asks for {count_text(cpus_per_trial, 'CPU')}, but Ray sees {count_text(cpus, 'CPU')}; "
            f"{remedy}"
        )
    if gpus_per_trial > gpus:
        remedy = "ask for none with --gpus-per-trial 0" if gpus == 0 else f"ask for at most {gpus:g}"
        raise ResourceError(
            f"a trial asks for {count_text(gpus_per_trial, 'GPU')}, but Ray sees {_found_gpus(gpus)}; "
            f"{remedy}, or start Ray where the GPUs are (see docs/how-to-cluster.md)"
        )
    parts = machines or [Machine(cpus, gpus, 0)]
    asked: dict[str, Any] = {"cpus_per_trial": cpus_per_trial, "gpus_per_trial": gpus_per_trial}
    slots = slots_on(parts, **asked, workers=workers, memory_per_trial=memory_per_trial)
    if slots == 0 and slots_on(parts, **asked) > 0:
        largest = max(machine.memory_bytes for machine in parts)
        raise ResourceError(
            f"a trial takes {memory_per_trial / 1e9:.2g} GB of memory at least, but Ray gives out "
            f"{largest / 1e9:.2g} GB on a machine; raise `--memory-gb` or, of a cluster that runs already, "
            "that of `ray start --memory`"
        )
    if slots == 0:
        raise ResourceError(
            f"a trial asks for {count_text(cpus_per_trial, 'CPU')} and "
            f"{count_text(gpus_per_trial, 'GPU')} on one machine, but none of the {len(parts)} machines has "
            "both; ask for less with --cpus-per-trial or "
            "--gpus-per-trial"
        )
    return slots


def describe(resources: Mapping[str, float]) -> str:
    """Describe the resources of a cluster in a few words.

    Args:
        resources: Resources as `ray.cluster_resources()` returns them; one `node:ADDRESS` entry for each
            machine, memory in bytes.

    >>> describe({"CPU": 224.0, "GPU": 8.0, "memory": 2e12, "node:10.0.0.1": 1.0})
    '1 machine with 224 CPUs, 8 GPUs and 2000 GB of memory'
    >>> describe({"CPU": 1.0, "memory": 8e9, "node:10.0.0.1": 1.0})
    '1 machine with 1 CPU, no GPU and 8 GB of memory'
    """
    parts = [count_text(resources.get("CPU", 0.0), "CPU"), _found_gpus(resources.get("GPU", 0.0))]
    memory = resources.get("memory", 0.0)
    if memory:
        parts.append(f"{memory / 1e9:.0f} GB of memory")
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"{count_text(count_nodes(resources), 'machine')} with {listed}"


def count_nodes(resources: Mapping[str, float]) -> int:
    """Return the number of machines among Ray's resources.

    >>> count_nodes({"node:__internal_head__": 1.0, "node:10.0.0.1": 1.0, "node:10.0.0.2": 1.0})
    2
    """
    return sum(1 for name in resources if name.startswith("node:") and name != "node:__internal_head__")


def _check_request(cpus_per_trial: float, gpus_per_trial: float, workers: int | None) -> None:
    for name, share in (("--cpus-per-trial", cpus_per_trial), ("--gpus-per-trial", gpus_per_trial)):
        if not math.isfinite(share) or share < 0:
            raise ResourceError(f"{name} must be 0 or more, it is {share:g}")
        if 0 < share < _SMALLEST_SHARE:
            raise ResourceError(f"{name} must be 0 or at least {_SMALLEST_SHARE:g}, it is {share:g}")
    if gpus_per_trial > 1 and not float(gpus_per_trial).is_integer():
        raise ResourceError(
            f"--gpus-per-trial must be a share of one GPU or a whole number, it is {gpus_per_trial:g}; "
            f"say {math.floor(gpus_per_trial)} or {math.ceil(gpus_per_trial)}"
        )
    if workers is not None and workers < 1:
        raise ResourceError(f"--workers must be at least 1, it is {workers}")
    if cpus_per_trial == 0 and gpus_per_trial == 0 and workers is None:
        raise ResourceError(
            "a trial that asks for no CPU and no GPU would start without limit; "
            "set --cpus-per-trial, --gpus-per-trial or --workers"
        )


def _fit(offered: float, asked: float) -> float:
    # The small term keeps 0.3 / 0.1 from being counted as 2.
    return math.inf if asked == 0 else math.floor(offered / asked + 1e-9)


def _fit_gpus(offered: float, asked: float) -> float:
    if 0 < asked < 1:
        return _fit(1, asked) * math.floor(offered)
    return _fit(offered, asked)


def _found_gpus(gpus: float) -> str:
    return "no GPU" if gpus == 0 else count_text(gpus, "GPU")
