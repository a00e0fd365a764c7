"""Machines whose packages are of other versions than those of the machine that started a search."""

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest
from ray.exceptions import NodeDiedError

from cluster.background import KnownConnection
from cluster.connect import Connection
from cluster.resources import Machine
from orchestrator.tuning import ray_versions
from orchestrator.tuning.ray_versions import look_up, versions_on
from orchestrator.tuning.unlike_versions import PACKAGES, note_unlike_versions, unlike_versions
from results.run.versions import package_versions

HERE = {"breast-image-orchestrator": "1.0", "torch": "2.6.0+cu124", "ray": "2.60.0"}


def test_machines_with_other_versions_are_named_with_what_they_have() -> None:
    there = {
        "one (10.0.0.1)": {**HERE, "torch": "2.6.0+cpu"},  # another build of the same
        "two (10.0.0.2)": {**HERE, "torch": "2.5.1", "breast-image-orchestrator": "0.9"},
        "three (10.0.0.3)": {"ray": "2.60.0", "breast-image-orchestrator": "1.0"},
    }
    assert unlike_versions(HERE, there) == (
        "machines of this search have other versions of packages, so that what trials find there may differ "
        "a little: three (10.0.0.3) has no torch (here 2.6.0+cu124), and two (10.0.0.2) has "
        "breast-image-orchestrator 0.9 (here 1.0), torch 2.5.1 (here 2.6.0+cu124); `orchestrate cluster up` "
        "with the file of the cluster brings all to the same"
    )
    assert unlike_versions(HERE, {"one": HERE}) == ""


def test_of_many_machines_with_other_versions_the_first_are_named() -> None:
    there = {f"n{number:02d}": {**HERE, "ray": "2.59.0"} for number in range(20)}
    said = unlike_versions(HERE, there)
    assert "n07 has ray 2.59.0 (here 2.60.0), and 12 more have others;" in said
    assert "n08" not in said


class Machines:
    """The machines of a cluster in the place of Ray's: what each answers, None if it never does."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.cancelled = answers, list[str]()

    def remote(self, look: Any) -> Any:
        self.look = look
        return self

    def options(self, *, num_cpus: int, scheduling_strategy: str) -> Any:
        assert num_cpus == 0
        return SimpleNamespace(remote=lambda packages: scheduling_strategy)

    def wait(self, asked: Sequence[str], **_: Any) -> tuple[list[str], list[str]]:
        return [one for one in asked if self.answers[one] is not None], []

    def get(self, node: str, timeout: float) -> Any:
        if isinstance(self.answers[node], Exception):
            raise self.answers[node]
        return self.answers[node]

    def cancel(self, node: str, *, force: bool) -> None:
        self.cancelled.append(node)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Machines:
    other = {**package_versions(PACKAGES), "torch": "0.1"}
    found = Machines({"far": other, "slow": None, "dead": NodeDiedError("gone"), "left": other})
    monkeypatch.setattr(ray_versions, "ray", found)
    monkeypatch.setattr(ray_versions, "NodeAffinitySchedulingStrategy", lambda node, soft: node)
    monkeypatch.setattr(ray_versions, "this_node", lambda: "here")
    monkeypatch.setattr(
        ray_versions, "machine_names", lambda: {node: node for node in found.answers if node != "left"}
    )
    return found


def test_machines_that_do_not_answer_or_have_left_are_left_out(machines: Machines) -> None:
    assert list(versions_on(["here", *machines.answers], PACKAGES)) == ["far"]
    assert machines.cancelled == ["slow"]


def test_what_looks_versions_up_travels_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    content = cloudpickle.dumps(look_up())
    monkeypatch.setitem(sys.modules, "orchestrator.tuning.ray_versions", None)  # it cannot be imported
    assert cloudpickle.loads(content)(("torch", "no-such-package")) == package_versions(("torch",))


def test_a_search_on_several_machines_names_those_with_other_versions(machines: Machines) -> None:
    said = list[str]()

    def noted(*names: str) -> list[str]:
        said.clear()
        those = tuple(Machine(4, 0, 2**34, name) for name in names)
        connection = Connection("10.0.0.0:6379", False, 4.0, 0.0, len(those), "", those)
        note_unlike_versions(KnownConnection(connection), said.append)
        return said

    assert noted("here") == []
    (line,) = noted("here", "far")
    assert "far has torch 0.1 (here" in line
