"""How many cores, and which share of a GPU, each trial of a search gets."""

from typing import TYPE_CHECKING

from cluster.connect import Connection
from cluster.resources import WORKER_BYTES
from orchestrator.preflight.gpus_and_slots import GPU_SHARE, slots_for
from orchestrator.tuning.allocation import SHARES, idle_free_cpus
from orchestrator.tuning.shared_store import shared_folder
from results.run.records import SearchRecord
from trainables.models.registry import fixed_backbones

if TYPE_CHECKING:  # the backend imports Ray
    from orchestrator.tuning.ray_backend import Resources


def trial_resources(record: SearchRecord, slots: int, connection: Connection, *, left: int) -> "Resources":
    """Return what the user set, else GPU shares as measured, and all cores that would idle.

    Args:
        record: Request and facts of the search.
        slots: Number of trials that may run at the same time.
        connection: Machines that Ray runs on.
        left: Number of trials that are left to run, at least 1.
    """
    from orchestrator.tuning.ray_backend import Resources

    machines = connection.machines
    cpus_per_trial, is_measured = record.request.fewest_cpus, record.shares_gpus_as_measured
    gpus, is_bounded = record.gpus_per_trial, record.request.memory_gb is not None
    if is_measured and machines:
        gpus = 1 / SHARES  # the smallest share that trials get
        slots = slots_for(record.request, gpus, connection)
    if record.request.cpus_per_trial is None:
        idle_free = idle_free_cpus(
            machines,
            at_once=min(slots, left),
            gpus=gpus,
            memory_bytes=WORKER_BYTES if is_bounded else 0,
        )
        cpus_per_trial = max(cpus_per_trial, idle_free)
    return Resources(
        cpus_per_trial,
        record.gpus_per_trial,
        slots,
        machines=machines,
        is_measured=is_measured,
        workers=record.request.workers,
        shares_features=len(machines) > 1 and shared_folder(record.request) is not None,
        shared_store=shared_folder(record.request),
        # Others may join a cluster of one machine.
        lends_features=bool(machines) and not connection.is_own and _lends_features(record),
        fixed_backbones=frozenset(fixed_backbones()),
        bounds_memory=is_bounded,
        late_gpus=GPU_SHARE if record.request.gpus_per_trial is None and record.gpus_per_trial == 0 else 0.0,
    )


def _lends_features(record: SearchRecord) -> bool:
    """True if a machine takes from another one what that has computed; the process of a fold cannot."""
    request = record.request
    return request.features != "off" and request.shared_store is None and not request.process_per_fold
