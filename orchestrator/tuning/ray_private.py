"""The private parts of Ray that we use, here and nowhere else.

They are two modules that look up `RayActorError`, the handle of a trial's worker, what Tune keeps of a trial,
and the nodes that are about to be taken away.
"""

from typing import Any

import ray
from ray._private.state import state as cluster_state
from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller


def survive_out_of_memory() -> None:
    """Make Ray's out-of-memory kill an error of its trial; in Ray 2.60 it ends the whole `fit()`.

    Ray's memory monitor kills the worker, whose call then raises `OutOfMemoryError`. That is not a subclass
    of `RayActorError`, the only death that `actor_manager` expects: without this patch it raises "Caught
    unexpected exception", and one large trial ends the search with all trials that run beside it.
    """
    # Both modules use the name in isinstance(): a tuple of classes widens the check and changes nothing else.
    for module in (actor_manager, tune_controller):
        vars(module)["RayActorError"] = (RayActorError, OutOfMemoryError)


def end_worker(trial: Any) -> None:
    """Kill the worker of one of Tune's trials, even if its process is stopped or hangs.

    Tune reports it as the death of a worker.
    """
    worker = trial.temporary_state.ray_actor
    if worker is not None:
        ray.kill(worker)


def forget(trial: Any) -> None:
    """Drop what Tune keeps of a trial that has ended: configuration, last report, means of its reports.

    Tune keeps every trial to the end of a search, with tens of kB for each. The run folder has it all.
    """
    trial.config, trial.evaluated_params = {}, {}
    kept = trial.run_metadata
    kept.last_result = {"done": True}  # without any, Tune asks a worker that is not there any more
    kept.metric_analysis.clear()
    kept.metric_n_steps.clear()


def nodes_that_leave() -> frozenset[str]:
    """Return the names of the nodes that are drained, such as spot machines that are about to be taken away.

    Ray hands them no more work; what runs there runs on until the machine is gone.
    """
    return frozenset(cluster_state.get_draining_nodes())


def is_leaving() -> bool:
    """True if the node of this worker is about to be taken away."""
    return ray.get_runtime_context().get_node_id() in nodes_that_leave()
