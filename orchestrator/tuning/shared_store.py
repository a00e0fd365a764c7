"""A search on several machines starts only if all of them see the folder of its `--shared-store`."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from cluster.background import Connector
from orchestrator.request import SearchRequest
from orchestrator.tuning.store_signs import REMEDY, RULE
from trainables.common.errors import ConfigError

_MOST_NAMED: Final = 8  # machines in one sentence


def shared_folder(request: SearchRequest) -> Path | None:
    """Return the folder in which machines read what others have computed, absolute; None without one.

    Args:
        request: Options of the search.
    """
    if request.features == "off" or request.shared_store is None:
        return None
    return request.shared_store.resolve()


def check_shared_store(request: SearchRequest, connect: Connector) -> None:
    """Make sure that all machines of a search that is about to start see its shared store, if it has one.

    A machine that does not would compute all features again, and even get trials that only their stored
    features let run without a GPU.

    Args:
        request: Options of the search.
        connect: Returns the connection to the machines.

    Raises:
        ConfigError: If one of several machines does not see it; the message names them.
    """
    folder = shared_folder(request)
    if folder is None:
        return
    nodes = [machine.node_id for machine in connect().machines if machine.cpus > 0 and machine.node_id]
    if not nodes:
        return
    from orchestrator.tuning.ray_shared_store import faults_on  # imports Ray

    faults = faults_on(nodes, folder)
    if faults:
        raise ConfigError(f"--shared-store {folder} {RULE}, but {_named(faults)}: {REMEDY}")


def _named(faults: Mapping[str, str]) -> str:
    """Name machines and what is wrong on each.

    >>> _named({"one (10.0.0.1)": "it is not there", "two (10.0.0.2)": "it is another folder"})
    'on one (10.0.0.1) it is not there, and on two (10.0.0.2) it is another folder'
    """
    said = [f"on {name} {fault}" for name, fault in islice(sorted(faults.items()), _MOST_NAMED)]
    if len(faults) > _MOST_NAMED:
        said.append(f"{len(faults) - _MOST_NAMED} more have such faults")
    return ", and ".join(filter(None, [", ".join(said[:-1]), said[-1]]))
