"""Connection of a search to Ray: to a named cluster, to one that is found here, or to a Ray of its own."""

import contextlib
import logging
import os
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn

from cluster.errors import ClusterError
from cluster.own_ray import (
    LOOPBACK,
    begun,
    bytes_for_trials,
    check_may_join,
    prepare_own_ray,
    store_bytes,
    workers_ahead,
)
from cluster.resources import Machine, count_nodes, describe, machines_of
from cluster.target import Target, find_target, recorded_address
from trainables.common.cores import count_cpus

# Ray reads these once, when it is imported, so they are set first. What the user has set stays.
# RAY_BACKEND_LOG_LEVEL is not among them: with it Ray prints a line about the level itself.
QUIET_ENVIRONMENT: Final = MappingProxyType(
    {
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a FutureWarning for each trial without a GPU
        "ORT_DISABLE_TELEMETRY": "1",  # of ONNX Runtime, in every worker that Ray starts
        "RAY_USAGE_STATS_ENABLED": "0",  # no prompt, and nothing about the machine leaves it
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the stock TensorBoard logger imports torch in the driver
    }
)

_JOIN_SECONDS: Final = 60.0  # for the first machine with CPUs, where the head of a cluster has none
_LOOK_SECONDS: Final = 0.5
_ALL_OF_THEM: Final = "(?s:.*)"  # as no filter of anybody else says it, so that ours can be told from theirs


@dataclass(frozen=True, slots=True)
class Connection:
    """The Ray that a search runs on.

    Attributes:
        address: Address `host:port` of the cluster's control service.
        is_own: True if `connect` started this Ray, so that `disconnect` ends it.
        cpus: Number of CPUs that Ray offers in total.
        gpus: Number of GPUs that Ray offers in total.
        nodes: Number of its machines, at least 1.
        message: Description for the user, in one sentence.
        machines: Resources of each machine; empty if they are not known.
        session_folder: Folder of logs and sockets of an own Ray; empty for any other.
        warning: What the user risks by having joined it, as a sentence without its full stop; empty without
            a risk.
    """

    address: str
    is_own: bool
    cpus: float
    gpus: float
    nodes: int
    message: str
    machines: tuple[Machine, ...] = ()
    session_folder: str = ""
    warning: str = ""


def connect(
    address: str | None,
    *,
    cpus: int | None = None,
    memory_bytes: int | None = None,
    is_nice: bool = False,
    preloads: Sequence[str] = (),
) -> Connection:
    """Connect to a Ray cluster, or start a Ray on this machine.

    Ray's information and warnings stay off the terminal; its errors still show.

    Args:
        address: `host:port` of a cluster that this machine is part of; `local` for an own Ray in any case;
            `auto` for `RAY_ADDRESS`, else the cluster that `ray start` or `ray up` left running here, or an
            error; None for the same, but an own Ray in place of the error.
        cpus: Number of CPUs of an own Ray, at least 1; None takes those that this process may use. A cluster
            keeps the CPUs that it has.
        memory_bytes: Memory that a search on an own Ray may use, in bytes; trials have what driver and Ray
            leave of it. None takes what Ray finds. A cluster keeps the memory that it has.
        is_nice: Workers of an own Ray leave the CPUs to other programs.
        preloads: Modules that the workers of an own Ray import before they are asked for anything.

    Raises:
        ClusterError: If the cluster cannot be reached (known after seconds), or Ray does not start.
    """
    planned = plan_connection(
        address, cpus=cpus, memory_bytes=memory_bytes, is_nice=is_nice, preloads=preloads
    )
    with undisturbed():
        return planned.start()


@dataclass(frozen=True, slots=True)
class PlannedConnection:
    """A connection that is chosen and prepared, but not made.

    Attributes:
        target: The cluster, or an own Ray.
        options: Arguments of `ray.init`.
        ahead: Number of workers that an own Ray starts at once; None for one a core.
    """

    target: "Target"
    options: Mapping[str, Any]
    ahead: int | None = None

    def start(self, is_wanted: Callable[[], bool] = lambda: True) -> Connection:
        """Connect; whoever calls it does so within `undisturbed`, which only the main thread can open.

        A cluster whose head has no CPUs is waited for up to a minute: its machines may be about to join.

        Args:
            is_wanted: Tells whether anybody still waits for it: else a slow Ray is not started again.

        Raises:
            ClusterError: If the cluster cannot be joined, or Ray does not start.
        """
        import ray

        from cluster.ray_private import lean_start

        is_own = self.target.address is None
        try:
            with _without_hangups(), lean_start(self.ahead) if is_own else contextlib.nullcontext():
                context: Any = begun(ray, self.options, is_own=is_own, is_wanted=is_wanted)
        except Exception as error:
            ray.shutdown()
            _explain(self.target, error)
        if not is_own:
            _wait_for_cpus()
        found = getattr(context, "address_info", None) or {}
        session = str(found.get("session_dir") or "") if is_own else ""
        return _connection(self.target, session)


def _wait_for_cpus() -> None:
    import ray

    end = time.monotonic() + _JOIN_SECONDS
    while not ray.cluster_resources().get("CPU") and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)


def plan_connection(
    address: str | None,
    *,
    cpus: int | None = None,
    memory_bytes: int | None = None,
    is_nice: bool = False,
    preloads: Sequence[str] = (),
    workers: int | None = None,
) -> PlannedConnection:
    """Choose a cluster or an own Ray, and set the environment that Ray reads when it is imported.

    Args:
        address: As for `connect`, and so are the others.
        cpus: Number of CPUs of an own Ray.
        memory_bytes: Memory that a search on an own Ray may use, in bytes.
        is_nice: Workers leave the CPUs to other programs.
        preloads: Modules that workers import at once.
        workers: Largest number of trials at once: so many workers do so, sixteen at most; None if it is not
            known.

    Raises:
        ClusterError: If a named cluster does not answer, or this process is connected already.
    """
    target = find_target(address, os.environ.get("RAY_ADDRESS"))
    is_imported = "ray._raylet" in sys.modules
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if target.address is None:
        prepare_own_ray(is_nice=is_nice, preloads=preloads)
    else:
        check_may_join()
    # While it is imported in a notebook, Ray asks for widgets; this level its own set-up leaves alone.
    logging.getLogger("ray.widgets.util").setLevel(logging.ERROR)
    # It warns that it takes no signals over when it is started in the background.
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)
    import ray

    if ray.is_initialized():
        raise ClusterError("this process is connected to a Ray already; call disconnect first")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if target.address is None and is_imported:
        from cluster.ray_private import heed_environment

        heed_environment()
    if target.address is None:
        options |= {"address": "local", "num_cpus": cpus or count_cpus(), "include_dashboard": False}
        options["_node_ip_address"] = LOOPBACK
        if memory_bytes is not None:
            options["_memory"] = bytes_for_trials(memory_bytes)
            options["object_store_memory"] = store_bytes(memory_bytes)
    elif target.address != recorded_address():
        # Ray must find an address that `ray start` recorded: only then does it read the token itself.
        options["address"] = target.address
    ahead = workers_ahead(workers, cpus) if target.address is None and preloads else None
    return PlannedConnection(target, options, ahead)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Keep from Ray, while it starts, what it would take over: warnings, SIGTERM and its address."""
    with _quiet_warnings(), _callers_sigterm_handler(), _without_ray_address():
        yield


def disconnect(connection: Connection) -> None:
    """Leave the cluster; an own Ray ends, with its session folder, any other goes on. Safe to call twice."""
    import ray

    ray.shutdown(wait_for_processes=connection.is_own)
    _put_sigterm_handler_back()
    if connection.is_own and connection.session_folder:
        _remove_session(Path(connection.session_folder))


def _connection(target: Target, session_folder: str) -> Connection:
    import ray

    resources = ray.cluster_resources()
    address = target.address or ray.get_runtime_context().gcs_address
    if target.address is None:
        where = "a Ray of its own" + (f" ({target.note})" if target.note else "")
    else:
        where = f"the Ray cluster at {address}"
    return Connection(
        address=address,
        is_own=target.address is None,
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        nodes=max(1, count_nodes(resources)),
        message=f"Running on {where}: {describe(resources)}.",
        machines=machines_of(ray.nodes()),
        session_folder=session_folder,
        warning=target.warning,
    )


def _remove_session(folder: Path) -> None:
    """Remove the session folder of a Ray that has ended, and the link that names it as the latest."""
    if not folder.name.startswith("session_"):
        return
    shutil.rmtree(folder, ignore_errors=True)
    latest = folder.with_name("session_latest")
    with contextlib.suppress(OSError):
        if latest.is_symlink() and latest.readlink().name == folder.name:
            latest.unlink()


def _explain(target: Target, error: Exception) -> NoReturn:
    lines = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
    reason = lines[-1].strip().rstrip(".")  # Ray puts whole tracebacks into some messages
    if target.address is None:
        raise ClusterError(
            f"a Ray of its own was needed, but it did not start: {reason}; {_advice(str(error))}"
        ) from error
    raise ClusterError(
        f"something answers at {target.address}, but Ray could not join it: {reason}; "
        "run on a machine of that cluster, with the same Ray version and, where it asks for a token, with "
        "RAY_AUTH_MODE=token and its ~/.ray/auth_token; or say local for a Ray of your own"
    ) from error


def _advice(fault: str) -> str:
    """What to do about an own Ray that did not start."""
    if "AF_UNIX" in fault:
        return (
            "the path of the temporary folder is too long for it: set RAY_TMPDIR to a short one, such as /tmp"
        )
    if ".ray" in fault and ("Read-only" in fault or "Permission denied" in fault):
        return "it keeps its token there: set HOME to a folder that can be written, or RAY_AUTH_TOKEN"
    if "Read-only" in fault or "Permission denied" in fault:
        return "set RAY_TMPDIR to a folder that can be written"
    return "free memory or disk space in the temporary folder, or name a cluster"


@contextlib.contextmanager
def _quiet_warnings() -> Iterator[None]:
    """Ignore warnings; filters that others add meanwhile, as packages that are imported do, stay."""
    warnings.filterwarnings("ignore", message=_ALL_OF_THEM)
    ours = warnings.filters[0]
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # another took all filters away
            warnings.filters.remove(ours)  # type: ignore[attr-defined]  # it is a list


@contextlib.contextmanager
def _callers_sigterm_handler() -> Iterator[None]:
    """Give the caller's SIGTERM handler back after `ray.init`, which replaces it."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:  # where it fails, too: `ray.shutdown`, which then ends what is there, takes the handler away
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _put_sigterm_handler_back() -> None:
    """Put the handler of SIGTERM back that Ray, at its end, takes from the process behind Python's back.

    `signal.getsignal` goes on to name it, while the signal would kill the process at once.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _without_hangups() -> Iterator[None]:
    """Keep the SIGHUP of a closed terminal from the processes that this thread starts meanwhile.

    Without Ray's control process the search could not stop its trials when it gets the same signal. What a
    thread holds back, new processes hold back as well; the other threads of this one still hear it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _without_ray_address() -> Iterator[None]:
    """Hide `RAY_ADDRESS` from `ray.init`, since the address has been chosen already."""
    before = os.environ.pop("RAY_ADDRESS", None)
    try:
        yield
    finally:
        if before is not None:
            os.environ["RAY_ADDRESS"] = before
