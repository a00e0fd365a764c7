"""The private parts of Ray that we use, here and nowhere else.

They are two modules that look up `RayActorError`, the environment and the handle of a trial's worker, what
Tune keeps of a trial, what nodes have left and which are about to be taken away, where a
worker ran, and the key-value store of
the control process.
"""

import contextlib
from collections.abc import Collection, Sequence
from typing import Any, Final

import ray
from ray._private.state import state as cluster_state
from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.experimental import internal_kv
from ray.tune.execution import class_cache, tune_controller
from ray.tune.progress_reporter import TrialProgressCallback
from ray.util.placement_group import NODE_ID_LABEL_KEY

from orchestrator.tuning.resource_request import ResourceRequest

CLUSTER_SECONDS: Final = 5.0  # between two looks at what `nodes_that_leave` and the offers of a board say

_NAMESPACE: Final = b"orchestrate-heartbeats"
_OFFERS: Final = b"orchestrate-offers"
_LEAVERS: Final = b"orchestrate-leavers"
_BOARD_SECONDS: Final = 10.0  # for the control process to answer
_LEAVING_SECONDS: Final = 2.0  # for the control process to take that a worker ends

# Where Tune's controller keeps trials that have ended: a list, sets, and dicts by the id of a trial.
_ENDED: Final = ("_stopped_trials", "_failed_trials")
_SETS_WITH_ENDED: Final = (*_ENDED, "_live_trials", "_trials_to_cache")
_BY_ID: Final = ("_trial_metadata", "_cached_trial_decisions", "_queued_trial_decisions")
_OF_ENDED: Final = ("_trials", *_SETS_WITH_ENDED, *_BY_ID, "_resources_to_pending_trials")
# And what it still does something with: their workers run, are awaited, or are handed to another trial.
_IN_USE: Final = ("_trial_to_actor", "_staged_trials", "_resetting_trials")


def survive_out_of_memory() -> None:
    """Make Ray's out-of-memory kill an error of its trial; in Ray 2.60 it ends the whole `fit()`.

    Ray's memory monitor kills the worker, whose call then raises `OutOfMemoryError`. That is not a subclass
    of `RayActorError`, the only death that `actor_manager` expects: without this patch it raises "Caught
    unexpected exception", and one large trial ends the search with all trials that run beside it.
    """
    # Both modules use the name in isinstance(): a tuple of classes widens the check and changes nothing else.
    for module in (actor_manager, tune_controller):
        vars(module)["RayActorError"] = (RayActorError, OutOfMemoryError)


def take_waiting_workers() -> None:
    """Let trials have the workers that Ray has started already and that have imported what trials need.

    Tune asks for workers with a variable that PyTorch Lightning once needed; workers with an environment of
    their own are started anew, in a Ray of our own some seconds after the search could have begun.
    """
    class_cache.DEFAULT_ENV_VARS.clear()


def has_worker(trial: Any) -> bool:
    """Tell whether one of Tune's trials has a worker, even one that has not taken it over yet."""
    return trial.temporary_state.ray_actor is not None


def end_worker(trial: Any) -> None:
    """Kill the worker of one of Tune's trials, even if its process is stopped or hangs.

    Tune reports it as the death of a worker.
    """
    worker = trial.temporary_state.ray_actor
    if worker is not None:
        ray.kill(worker)


def forget_ended(controller: Any) -> list[str]:
    """Drop every trial that has ended from what Tune keeps of it; return the ids of those that are dropped.

    Tune keeps each `Trial` with its storage, resources and state to the end of a search, 12 kB for each, and
    copies all of them at every look at its live ones. The run folder has all that counts.

    Args:
        controller: Tune's controller of a search, or the wrapper in which schedulers get it. Another version
            of Ray may keep trials elsewhere: nothing is dropped then.
    """
    kept = vars(getattr(controller, "_tune_controller", controller))
    if any(name not in kept for name in (*_OF_ENDED, *_IN_USE)):
        return []
    ended = set().union(*(kept[name] for name in _ENDED))
    ended = {trial for trial in ended if not any(trial in kept[name] for name in _IN_USE)}
    if not ended:
        return []
    kept["_trials"][:] = [trial for trial in kept["_trials"] if trial not in ended]
    for name in _SETS_WITH_ENDED:
        kept[name].difference_update(ended)
    names = [trial.trial_id for trial in ended]
    for by_id in (kept[name] for name in _BY_ID):
        for name in names:
            by_id.pop(name, None)
    for waiting in kept["_resources_to_pending_trials"].values():
        waiting.difference_update(ended)
    return names


def release_workers(controller: Any) -> None:
    """End the workers that Tune keeps without a trial, so that others may have what they hold.

    Args:
        controller: Tune's controller of a search, or the wrapper in which schedulers get it. Another version
            of Ray may keep workers in another way: nothing is ended then.
    """
    own = getattr(controller, "_tune_controller", controller)
    if hasattr(own, "_cleanup_cached_actors"):
        own._cleanup_cached_actors(force_all=True)


class NoTrialProgress(TrialProgressCallback):
    """Prints nothing of trials and keeps none; Tune adds one that keeps them all where it is given none."""

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        """Do nothing."""

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Do nothing."""

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Do nothing."""


def nodes_that_leave() -> frozenset[str]:
    """Return the names of the nodes that are drained, such as spot machines that are about to be taken away.

    Ray hands them no more work; what runs there runs on until the machine is gone.
    """
    return frozenset(cluster_state.get_draining_nodes())


def node_of_worker(actor: str) -> str | None:
    """Return the name of the node on which an actor runs, or ran; None where Ray does not know it.

    Args:
        actor: Ray's id of the actor, in hex.
    """
    found = cluster_state.actor_table(actor) if actor else {}
    node = str(found.get("Address", {}).get("NodeID", ""))
    return node if node.strip("f") else None  # that of an actor which never had a node is all of one digit


def selected_machines(request: ResourceRequest) -> dict[str, str]:
    """Return Ray's selector of the machines that may run something; empty if all may."""
    if request.nodes:  # else Ray would place a trial without a GPU on a machine with GPUs as well
        nodes = [node for node in request.nodes if node not in request.avoids]
        return {NODE_ID_LABEL_KEY: f"in({','.join(nodes)})"}
    return {NODE_ID_LABEL_KEY: f"!in({','.join(request.avoids)})"} if request.avoids else {}


def free_resources(but: Collection[str]) -> list[dict[str, float]]:
    """Return what each node has left, as Ray's name of a resource -> amount.

    Args:
        but: Names of nodes to leave out, as those that leave are.
    """
    without = nodes_that_leave().union(but)
    free = cluster_state.available_resources_per_node()
    return [own for node, own in free.items() if node not in without]


class KeyValueBoard:
    """The board in the key-value store of Ray's control process: heartbeats, offers and departures.

    Every node reaches it. Keys hold the job, so that searches on one cluster do not read each other's.
    Nothing of it lasts longer than the cluster, and a key is a few bytes.
    """

    def __init__(self) -> None:
        self._prefix = f"{ray.get_runtime_context().get_job_id()}/"

    def put(self, number: int, count: int) -> None:
        """Put the count of the worker of a trial; may fail if the control process is away."""
        internal_kv._internal_kv_put(self._key(number), str(count).encode(), namespace=_NAMESPACE)

    def get(self, numbers: Sequence[int]) -> dict[int, int]:
        """Return trial number -> count, of the trials that have one; fails if nobody answers in time."""
        keys = {self._key(number): number for number in numbers}
        client: Any = internal_kv.internal_kv_get_gcs_client()
        found = client.internal_kv_multi_get([*keys], namespace=_NAMESPACE, timeout=_BOARD_SECONDS)
        return {keys[key]: int(value) for key, value in found.items()}

    def offer(self, number: int, workers: int) -> None:
        """Put to how many idle workers a trial may give folds; may fail if the control process is away."""
        internal_kv._internal_kv_put(self._key(number), str(workers).encode(), namespace=_OFFERS)

    def offered(self, number: int) -> int:
        """Return to how many idle workers a trial may give folds; may fail as `offer` may."""
        found = internal_kv._internal_kv_get(self._key(number), namespace=_OFFERS)
        return 0 if found is None else int(found)

    def leave(self, number: int) -> None:
        """Put that the worker of a trial was asked to end; fails if nobody takes it in two seconds.

        The checkpoint of the trial is written after it, in what the worker has left.
        """
        client: Any = internal_kv.internal_kv_get_gcs_client()
        client.internal_kv_put(self._key(number), b"1", True, namespace=_LEAVERS, timeout=_LEAVING_SECONDS)

    def has_left(self, number: int) -> bool:
        """Tell whether the worker of a trial has put that since the last look; may fail as `leave` may."""
        found = internal_kv._internal_kv_get(self._key(number), namespace=_LEAVERS)
        if found is not None:
            internal_kv._internal_kv_del(self._key(number), namespace=_LEAVERS)
        return found is not None

    def wipe(self) -> None:
        """Take everything of this job off the board."""
        for namespace in (_NAMESPACE, _OFFERS, _LEAVERS):
            with contextlib.suppress(Exception):  # the control process may be gone
                internal_kv._internal_kv_del(self._prefix.encode(), del_by_prefix=True, namespace=namespace)

    def _key(self, number: int) -> bytes:
        return f"{self._prefix}{number}".encode()
