"""The private parts of Ray that its start needs, here and nowhere else in the cluster."""

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from ray._private import ray_constants, services
from ray._private.node import Node
from ray._private.parameter import RayParams

# Of what Ray starts on its first machine, a Ray of one's own needs neither the process that adds machines
# nor the one that brings the workers' output together, and its agent takes any free port: for a fixed one,
# the Ray of another search on this machine makes it wait more than three seconds and give up.
LEAN: Final[Mapping[str, Any]] = MappingProxyType(
    {"no_monitor": True, "include_log_monitor": False, "dashboard_agent_listen_port": 0}
)
# Where the agent would report events of Ray; without an address it asks and logs a fault every second.
_NOWHERE: Final = b"http://127.0.0.1:0"
_AHEAD: Final = "--num_prestart_python_workers="  # of the process that starts workers


@contextlib.contextmanager
def lean_start(ahead: int | None = None) -> Iterator[None]:
    """Let a Ray that starts meanwhile start what a single machine needs, and nothing else.

    Its dashboard has no page anyway, yet a process that all others wait for, as long as these need together.

    Args:
        ahead: Number of workers that it starts before anything asks for them; None for one a core, as it
            does by itself.
    """
    its_init, its_start = RayParams.__init__, services.start_ray_process

    @functools.wraps(its_init)
    def with_less(self: Any, *arguments: Any, **options: Any) -> None:
        its_init(self, *arguments, **{**LEAN, **options})

    def without_dashboard(self: Any, **options: Any) -> None:
        self.get_gcs_client().internal_kv_put(
            ray_constants.DASHBOARD_ADDRESS.encode(), _NOWHERE, True, ray_constants.KV_NAMESPACE_DASHBOARD
        )

    @functools.wraps(its_start)
    def with_fewer_workers(command: list[str], *arguments: Any, **options: Any) -> Any:
        said = [word for word in command if ahead is None or not word.startswith(_AHEAD)]
        if len(said) < len(command):
            said.append(f"{_AHEAD}{ahead}")
        return its_start(said, *arguments, **options)

    ours: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
        (RayParams, "__init__", with_less),
        (Node, "start_api_server", without_dashboard),
        (services, "start_ray_process", with_fewer_workers),
    )
    theirs = [getattr(owner, name) for owner, name, _ in ours]
    for owner, name, method in ours:
        setattr(owner, name, method)
    try:
        yield
    finally:
        for (owner, name, _), method in zip(ours, theirs, strict=True):
            setattr(owner, name, method)


def heed_environment() -> None:
    """Let a Ray that was imported earlier take up what the environment says now of addresses and its token.

    Ray reads both when it is imported, and would otherwise bind all addresses of the machine without a token.
    """
    ray_constants.ENABLE_RAY_CLUSTER = ray_constants.env_bool(
        ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, not ray_constants.IS_WINDOWS_OR_OSX
    )
    raylet: Any = importlib.import_module("ray._raylet")  # its stub lacks both classes
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()
