"""The GPUs that a trial gets, the trials at once, and the device on which costs are measured."""

from typing import Final

from cluster.background import Connector
from cluster.connect import Connection
from cluster.own_ray import bytes_for_trials
from cluster.resources import WORKER_BYTES, Machine, trial_slots
from orchestrator.request import SearchRequest
from trainables.runtime.devices import Device, choose_device, device_of_trials
from trainables.training.cost_probe import count_gpus

GPU_SHARE: Final = 0.25  # of a GPU, for a trial; what trials were measured to need follows later


def gpus_per_trial(request: SearchRequest, connect: Connector) -> float:
    """Return the number of GPUs of a trial, before a Ray of this machine's own is there to count them.

    Args:
        request: Options of the search.
        connect: Returns the machines for the trials; a named cluster is asked, and a Ray of one's own begun.
    """
    if request.gpus_per_trial is not None:
        return request.gpus_per_trial
    return _default_gpus(count_gpus() if connect.begin() else connect().gpus)


def measured_on(gpus: float, *, is_own: bool) -> Device:
    """Return the device on which this process measures what nets cost trials.

    Args:
        gpus: Number of GPUs of a trial.
        is_own: Trials run on this machine alone.

    Raises:
        ConfigError: If trials of this machine would have a GPU that torch cannot use.
    """
    return choose_device(gpus) if is_own else device_of_trials(min(gpus, count_gpus()))


def trials_of(request: SearchRequest, connection: Connection) -> tuple[float, int]:
    """Return the number of GPUs of a trial, and the number of trials at once.

    Args:
        request: Options of the search.
        connection: Machines that Ray runs on.
    """
    gpus = gpus_on(request, connection)
    return gpus, slots_for(request, gpus, connection)


def gpus_on(request: SearchRequest, connection: Connection) -> float:
    """Return the number of GPUs of a trial on the machines of a Ray that is there.

    Args:
        request: Options of the search.
        connection: Machines that Ray runs on.
    """
    if request.gpus_per_trial is not None:
        return request.gpus_per_trial
    # Ray also counts cards that torch cannot use.
    return _default_gpus(min(connection.gpus, count_gpus()) if connection.is_own else connection.gpus)


def _default_gpus(gpus: float) -> float:
    """Number of GPUs of a trial that the user leaves open, where there are so many."""
    return GPU_SHARE if gpus else 0.0


def slots_for(request: SearchRequest, gpus_per_trial: float, connection: Connection) -> int:
    """Return the number of trials that run at once.

    Args:
        request: Options of the search.
        gpus_per_trial: Number of GPUs that a trial starts with.
        connection: Machines that Ray runs on.
    """
    return trial_slots(
        connection.cpus,
        connection.gpus,
        cpus_per_trial=request.fewest_cpus,
        gpus_per_trial=gpus_per_trial,
        workers=request.workers,
        machines=connection.machines or _only_machine(request, connection),
        memory_per_trial=0 if request.memory_gb is None else WORKER_BYTES,
    )


def _only_machine(request: SearchRequest, connection: Connection) -> tuple[Machine, ...]:
    """The machine of a Ray that is not there yet, with the memory that trials would have."""
    if request.memory_bytes is None:
        return ()
    return (Machine(connection.cpus, connection.gpus, bytes_for_trials(request.memory_bytes)),)
