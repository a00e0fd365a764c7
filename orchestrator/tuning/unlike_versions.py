"""Machines of a search whose packages are of other versions than those of the machine that started it."""

from collections.abc import Mapping
from typing import Final

from cluster.background import Connector
from results.run.versions import package_versions
from trainables.common.notify import Notify

PACKAGES: Final = ("breast-image-orchestrator", "torch", "ray")
_MOST_NAMED: Final = 8  # machines in one sentence


def note_unlike_versions(connect: Connector, notify: Notify) -> None:
    """Name the machines of a search that is about to start whose versions are not those of this one.

    Args:
        connect: Returns the connection to the machines.
        notify: Function called with the sentence, if there are any.
    """
    machines = [machine for machine in connect().machines if machine.node_id]
    if len(machines) < 2:  # this one alone
        return
    nodes = [machine.node_id for machine in machines if machine.cpus > 0]
    from orchestrator.tuning.ray_versions import versions_on  # imports Ray

    said = unlike_versions(package_versions(PACKAGES), versions_on(nodes, PACKAGES))
    if said:
        notify(said)


def unlike_versions(here: Mapping[str, str], there: Mapping[str, Mapping[str, str]]) -> str:
    """Return a sentence about machines with other versions; empty where all are alike.

    The label of a build, such as `+cpu`, makes no other version.

    Args:
        here: Package -> version on this machine.
        there: Name of another machine -> package -> version.

    >>> unlike_versions({"torch": "2.6.0+cu124"}, {"a": {"torch": "2.6.0+cpu"}})
    ''
    >>> unlike_versions({"torch": "2.6.0"}, {"a": {"torch": "2.5.1"}}).partition(":")[2].partition(";")[0]
    ' a has torch 2.5.1 (here 2.6.0)'
    """
    found = {name: _differences(here, versions) for name, versions in sorted(there.items())}
    said = [f"{name} has {told}" for name, told in found.items() if told]
    if not said:
        return ""
    if len(said) > _MOST_NAMED:
        said[_MOST_NAMED:] = [f"{len(said) - _MOST_NAMED} more have others"]
    return (
        "machines of this search have other versions of packages, so that what trials find there may differ "
        f"a little: {', and '.join(said)}; `orchestrate cluster up` with the file of the cluster brings all "
        "to the same"
    )


def _differences(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {there[name]} (here {version})" if name in there else f"no {name} (here {version})"
        for name, version in here.items()
        if _public(there.get(name, "")) != _public(version)
    )


def _public(version: str) -> str:
    return version.partition("+")[0]
