"""Versions of packages on the other machines of a search, which a Ray task on each of them looks up."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.tuning.ray_depot import this_node
from orchestrator.tuning.ray_shared_store import machine_names

_ANSWER_SECONDS: Final = (
    20.0  # for a process to start on a busy machine; it is a remark that would wait longer
)
_FETCH_SECONDS: Final = 10.0  # for an answer that is there


def versions_on(
    nodes: Sequence[str], packages: tuple[str, ...], *, seconds: float = _ANSWER_SECONDS
) -> dict[str, Mapping[str, str]]:
    """Return host name and address of each other machine -> package -> version there.

    Args:
        nodes: Ray's names of the machines; this one is not asked.
        packages: Names of the packages.
        seconds: Time after which a machine that has not answered is left out.
    """
    own = this_node()
    asked = {node: _ask(node, packages) for node in nodes if node != own}
    if not asked:
        return {}
    answered, _ = ray.wait([*asked.values()], num_returns=len(asked), timeout=seconds, fetch_local=False)
    found = dict[str, Mapping[str, str]]()
    names = machine_names()
    for node, reference in asked.items():
        if reference not in answered:
            ray.cancel(reference, force=True)
        elif node in names and (versions := _answer(reference)) is not None:
            found[names[node]] = versions
    return found


def look_up() -> Callable[[tuple[str, ...]], dict[str, str]]:
    """Return what looks versions up without this module, which a machine with another version may lack."""

    def look(packages: tuple[str, ...]) -> dict[str, str]:
        import importlib.metadata

        found = {}
        for package in packages:
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return found

    return look


def _ask(node: str, packages: tuple[str, ...]) -> Any:
    options = {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}
    return ray.remote(look_up()).options(**options).remote(packages)


def _answer(reference: Any) -> Mapping[str, str] | None:
    try:
        versions: Mapping[str, str] = ray.get(reference, timeout=_FETCH_SECONDS)
    except RayError:
        return None
    return versions
