"""The connection of a search to Ray: what a Ray of its own starts with, and whether it may start at once.

Importing this takes neither torch nor Ray: a Ray of one's own starts beside what takes seconds to import.
"""

from pathlib import Path
from typing import Final

from cluster.background import BackgroundConnection
from cluster.connect import PlannedConnection, plan_connection
from cluster.own_ray import bytes_for_trials
from cluster.resources import WORKER_BYTES, Machine, slots_on
from orchestrator.request import SearchRequest, passes_quick_checks
from trainables.common.cores import count_cpus
from trainables.data.sources import is_built_in

_PRELOADED: Final = "orchestrator.tuning.preloaded"
_BACKEND: Final = "orchestrator.tuning.ray_backend"
_CURVES: Final = "orchestrator.reporting.tensorboard"
# Tune counts callbacks by importing its integrations, and so MLflow where it is installed.
_COUNTED: Final = "ray.air.integrations.mlflow"


def connection_of(
    request: SearchRequest, address: str | None, *, left: int | None = None
) -> BackgroundConnection:
    """Return what connects a search to Ray; nothing is begun yet.

    Args:
        request: Options of the search: `memory_gb`, `nice`, and what bounds the trials at once.
        address: A Ray cluster; None finds one or starts one here.
        left: Number of trials that are left to run; None for all that are asked for.
    """

    def plan() -> PlannedConnection:
        return plan_connection(
            address,
            memory_bytes=request.memory_bytes,
            is_nice=request.nice,
            preloads=[_PRELOADED],
            workers=most_at_once(request, left=left),
        )

    return BackgroundConnection(plan, needed=[_BACKEND, _COUNTED, _CURVES])


def most_at_once(request: SearchRequest, *, left: int | None = None, cpus: int | None = None) -> int:
    """Return how many trials may run at the same time on a Ray of this machine's own, at least 1.

    Args:
        request: Options of the search.
        left: Number of trials that are left to run; None for all that are asked for.
        cpus: Number of CPU cores; None for those that this process may use.
    """
    budget, cores = request.memory_bytes, count_cpus() if cpus is None else cpus
    machine = Machine(cores, 0, 0 if budget is None else bytes_for_trials(budget))
    slots = slots_on(
        [machine],
        cpus_per_trial=max(1.0, request.fewest_cpus),
        gpus_per_trial=0,
        workers=request.workers,
        memory_per_trial=0 if budget is None else WORKER_BYTES,
    )
    return max(1, min(slots, request.most_trials if left is None else left))


def may_begin(request: SearchRequest) -> bool:
    """Tell whether Ray may start before the data are read: whether they are there, and all else seems right.

    Data that have to be prepared first take minutes, and all cores: Ray starts after that.

    Args:
        request: Options of the search.
    """
    data, path = str(request.data), Path(str(request.data))
    if not passes_quick_checks(request):
        return False
    if is_built_in(data) or path.is_file():
        return True
    if not path.is_dir():
        return False
    from trainables.data.prepared.on_the_way import collection_of  # files of arrays need none of its readers

    try:
        return collection_of(data, request.source) is None
    except (KeyError, OSError):  # whoever reads the data says so
        return False
