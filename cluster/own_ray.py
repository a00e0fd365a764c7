"""A Ray of the search's own: for this user on this machine alone, and as fast as other programs."""

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cluster.errors import ClusterError
from trainables.common.cores import count_cpus

LOOPBACK: Final = "127.0.0.1"
_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700

# Ray reads these when it is imported or started. What the user has set stays.
_SPANS_MACHINES: Final = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_AUTH_MODE: Final = "RAY_AUTH_MODE"
OWN_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Despite its name the switch that lets Ray bind the loopback address: else it replaces it by the
        # machine's outer one, and ten ports are open to the network.
        _SPANS_MACHINES: "0",
        _AUTH_MODE: "token",
        "RAY_task_events_max_num_task_in_gcs": "1000",  # nobody asks for them, and 100,000 take 700 MiB
    }
)
NICENESS: Final = "RAY_worker_niceness"
PRELOADS: Final = "RAY_preload_python_modules"
_MOST_AHEAD: Final = 16  # workers that are started and import before anything asks for them
# Ray ends idle workers when a placement group takes the cores that the trials in it are about to use.
IDLE_MILLISECONDS: Final = "RAY_idle_worker_killing_time_threshold_ms"
_LONGEST_WAIT_MS: Final = 120_000
_SLOW: Final = "timed out during startup"  # Ray waits half a minute for itself, which no setting changes
_ATTEMPTS: Final = 3
_lent: Final[dict[str, str]] = {}  # variables that were set for one Ray, with their values
# Of the memory that a search may use, before any is left for trials:
DRIVER_BYTES: Final = 1_600_000_000  # the driver and Ray's own processes, as measured
_STORE_SHARE: Final = 0.05  # of Ray's object store, which holds little on a single machine,
_LEAST_STORE_BYTES: Final = 100_000_000  # and of which Ray wants at least 75 MiB
_MOST_STORE_BYTES: Final = 2_000_000_000


def prepare_own_ray(*, is_nice: bool, preloads: Sequence[str] = ()) -> None:
    """Set the environment of a Ray that this process is about to start, and see to its token.

    Args:
        preloads: Modules that its workers import as soon as they run.
        is_nice: Leave the CPUs to other programs: Ray's default, niceness 15. Else workers are as nice as
            this process, since beside any ordinary program niceness 15 gets a few per cent of a core.
    """
    _take_back()
    for name, value in OWN_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not is_nice:
        _lend(NICENESS, str(max(0, os.getpriority(os.PRIO_PROCESS, 0))))
    if preloads:
        _lend(PRELOADS, ",".join(preloads))
        _lend(IDLE_MILLISECONDS, str(_LONGEST_WAIT_MS))
    if os.environ[_AUTH_MODE] == "token":
        _provide_token()


def _lend(name: str, value: str) -> None:
    """Set what one Ray reads when it starts, unless the user has."""
    if name not in os.environ:
        os.environ[name] = _lent[name] = value


def _take_back() -> None:
    """Forget what an earlier Ray of this process read: the next one may be asked for otherwise."""
    while _lent:
        name, value = _lent.popitem()
        if os.environ.get(name) == value:
            del os.environ[name]


def workers_ahead(workers: int | None, cpus: int | None = None) -> int:
    """Return how many workers import before anything asks for them: those that will be used, sixteen at most.

    Ray by itself starts one a core, and each of them would fill 0.6 GB of memory, whether it is used or not.

    Args:
        workers: Largest number of trials at once, at least 1; None if it is not known.
        cpus: Number of CPUs of the Ray; None for those that this process may use.

    >>> workers_ahead(1), workers_ahead(8, cpus=4), workers_ahead(None, cpus=64)
    (1, 4, 16)
    """
    cores = count_cpus() if cpus is None else cpus
    return max(1, min(cores, _MOST_AHEAD, cores if workers is None else workers))


def store_bytes(budget_bytes: int) -> int:
    """Return the size of Ray's object store, of the memory that a search may use.

    >>> store_bytes(3_000_000_000), store_bytes(16_000_000_000)
    (150000000, 800000000)
    """
    return max(_LEAST_STORE_BYTES, min(_MOST_STORE_BYTES, round(_STORE_SHARE * budget_bytes)))


def bytes_for_trials(budget_bytes: int) -> int:
    """Return what trials have of the memory that a search may use: without driver, Ray and object store.

    >>> bytes_for_trials(16_000_000_000)
    13600000000
    """
    return max(0, budget_bytes - DRIVER_BYTES - store_bytes(budget_bytes))


def check_may_join() -> None:
    """Refuse to join a cluster from a process whose Ray knows the loopback address alone; it would hang.

    Raises:
        ClusterError: If this process has had a Ray of its own.
    """
    if os.environ.get(_SPANS_MACHINES) == "0":
        raise ClusterError(
            f"a cluster cannot be joined where {_SPANS_MACHINES} is 0, as it is after a Ray of its own; "
            "start a new process"
        )


def token_file() -> Path | None:
    """Return the file that Ray reads its token from by default; None without a home folder."""
    try:
        return Path.home() / ".ray" / "auth_token"
    except RuntimeError:
        return None


def _provide_token() -> None:
    """Make sure of a token that nobody else can read; where no file can be written, this process keeps it."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    path = token_file()
    if path is None or not (_is_private(path) or _is_written(path)):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # for processes that it starts, too


def _is_private(path: Path) -> bool:
    """Take away what others may do with a token that is there; False if there is none that can be used."""
    try:
        if not path.read_text().strip():
            return False
        for place, mode in ((path, _PRIVATE_FILE), (path.parent, _PRIVATE_FOLDER)):
            if place.stat().st_mode & 0o077:
                place.chmod(mode)
    except OSError:  # there is none, or it lies where nothing can be changed
        return os.access(path, os.R_OK)
    return True


def _is_written(path: Path) -> bool:
    """Write a new token, readable by this user from its first byte; False if that is not possible."""
    try:
        path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        path.parent.chmod(_PRIVATE_FOLDER)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE_FILE)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    except OSError:
        return False
    return True


def begun(
    ray: Any, options: Mapping[str, Any], *, is_own: bool, is_wanted: Callable[[], bool] = lambda: True
) -> Any:
    """Call `ray.init`; a Ray of one's own that was slow to start, on a busy machine, is started again.

    Args:
        ray: The module.
        options: Arguments of `ray.init`.
        is_own: It starts a Ray.
        is_wanted: Tells whether anybody still waits for it.
    """
    for _ in range(_ATTEMPTS - 1 if is_own else 0):
        try:
            return ray.init(**options)
        except Exception as error:
            if _SLOW not in str(error) or not is_wanted():
                raise
            ray.shutdown()
    return ray.init(**options)
