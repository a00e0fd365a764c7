"""The shared store as other machines see it: a Ray task on each of them looks for signs of the folder."""

import contextlib
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.resources import Machine
from orchestrator.tuning.ray_depot import this_node
from orchestrator.tuning.ray_private import nodes_that_leave
from orchestrator.tuning.store_signs import Signs, fault_here, signs_in
from trainables.common.errors import ConfigError

_ANSWER_SECONDS: Final = 120.0  # for a process to start on a busy machine, and to look
_FETCH_SECONDS: Final = 10.0  # for an answer that is there


def faults_on(nodes: Sequence[str], folder: Path, *, seconds: float = _ANSWER_SECONDS) -> dict[str, str]:
    """Ask machines whether they see a folder that this one sees, all at the same time.

    Args:
        nodes: Ray's names of the machines; this one is not asked.
        folder: The folder.
        seconds: Time after which a machine that has not answered counts as one that does not see it.

    Returns:
        Host name and address of each machine that does not see the folder -> why; without machines that have
        left meanwhile, or are about to.

    Raises:
        ConfigError: If this machine does not see the folder, though there are others.
    """
    own = this_node()
    others = [node for node in nodes if node != own]
    if not others:
        return {}
    with signs_in(folder) as signs:
        asked = {node: _ask(node, signs) for node in others}
        answered, _ = ray.wait([*asked.values()], num_returns=len(asked), timeout=seconds, fetch_local=False)
        faults = {
            node: _answer(reference) if reference in answered else _no_answer(reference, seconds)
            for node, reference in asked.items()
        }
    names = machine_names()
    return {names[node]: fault for node, fault in faults.items() if fault and node in names}


class Newcomers:
    """Asks machines that join a search whether they see its shared store, without waiting for them.

    Args:
        folder: The folder.
        known: Ray's names of the machines that are known to see it.
        seconds: Time after which a machine that has not answered counts as one that does not see it.

    Attributes:
        apart: Ray's names of the machines that do not see it.
    """

    def __init__(self, folder: Path, known: Collection[str], seconds: float = _ANSWER_SECONDS) -> None:
        self._folder, self._seconds = folder, seconds
        self._known = {this_node(), *known}
        self._asked: dict[str, tuple[Any, float]] = {}  # machine -> Ray's reference, and when it was asked
        self._mark, self._signs = contextlib.ExitStack(), Signs(folder, ())
        self._remarks: list[str] = []
        self.apart = set[str]()

    def known_of(self, machines: Sequence[Machine]) -> tuple[Machine, ...]:
        """Return the machines of which it is known whether they see the folder, and ask the others.

        Args:
            machines: Machines of the cluster.
        """
        names = {machine.node_id for machine in machines}
        for node in sorted(names & self._asked.keys()):
            self._look(node)
        for node in self._asked.keys() - names:
            del self._asked[node]
        self._begin(sorted(names - self._known - self._asked.keys()))
        if not self._asked:
            self._mark.close()
        return tuple(machine for machine in machines if machine.node_id in self._known)

    def take_remarks(self) -> list[str]:
        """Return a sentence for each machine that was found not to see the folder since the last call."""
        said, self._remarks = self._remarks, []
        return said

    def close(self) -> None:
        """Ask nobody any more."""
        self._asked.clear()
        self._mark.close()

    def _begin(self, nodes: Sequence[str]) -> None:
        if not nodes:
            return
        if not self._asked:
            try:
                self._signs = self._mark.enter_context(signs_in(self._folder))
            except ConfigError as error:  # it was there when the search began
                for node in nodes:
                    self._set_apart(node, f"it cannot be compared ({error})")
                return
        for node in nodes:
            self._asked[node] = _ask(node, self._signs), time.monotonic()

    def _look(self, node: str) -> None:
        reference, asked_at = self._asked[node]
        answered, _ = ray.wait([reference], timeout=0, fetch_local=False)
        if not answered and time.monotonic() - asked_at < self._seconds:
            return
        del self._asked[node]
        fault = _answer(reference) if answered else _no_answer(reference, self._seconds)
        if fault:
            self._set_apart(node, fault)
        self._known.add(node)

    def _set_apart(self, node: str, fault: str) -> None:
        self.apart.add(node)
        self._known.add(node)
        name = machine_names().get(node)
        if name is not None:
            self._remarks.append(
                f"{name} has joined and does not see --shared-store {self._folder} ({fault}): it computes "
                "its own features and, if it has no GPU, gets no trials of a search on GPUs; mount the "
                "folder there, and start Ray on it anew"
            )


def _ask(node: str, signs: Signs) -> Any:
    options = {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}
    return ray.remote(fault_here).options(**options).remote(signs)


def _answer(reference: Any) -> str:
    try:
        fault: str = ray.get(reference, timeout=_FETCH_SECONDS)
    except RayError as error:
        return f"nobody could look ({type(error).__name__})"
    return fault


def _no_answer(reference: Any, seconds: float) -> str:
    ray.cancel(reference, force=True)
    return f"nothing answered within {seconds:g} s"


def machine_names() -> dict[str, str]:
    """Return Ray's name of each machine that stays -> its host name and address."""
    leaving = nodes_that_leave()
    return {
        str(node["NodeID"]): f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in leaving
    }
