"""Which machines see the folder of a shared store: those of the start are refused, later ones stand apart."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from list_study import ListStudy
from ray.exceptions import NodeDiedError

from cluster.background import KnownConnection
from cluster.connect import Connection
from cluster.resources import Machine
from orchestrator.request import parse_request
from orchestrator.tuning import ray_followed, ray_shared_store
from orchestrator.tuning.allocation import ResourceAllocator
from orchestrator.tuning.ray_followed import FollowedWorkers
from orchestrator.tuning.ray_shared_store import Newcomers
from orchestrator.tuning.resource_request import ResourceRequest
from orchestrator.tuning.shared_state import SharedState
from orchestrator.tuning.shared_store import _named, check_shared_store
from orchestrator.tuning.store_signs import Signs, fault_here, signs_in
from orchestrator.tuning.trial_manager import TrialManager
from results.run.records import SearchRecord
from results.run.run_folder import RunFolder
from trainables.common.errors import ConfigError
from trainables.config.trial_config import decode

GPU, CPU = Machine(8, 4, 2**36, "gpu"), Machine(2, 0, 2**34, "cpu")
HEAD, LATE = Machine(0, 0, 2**34, "head"), Machine(2, 0, 2**34, "late")
CONFIG = decode({"model.backbone": "vgg16"})


class Nodes:
    """Stands for Ray: machines that see other folders at the same path, answer late, or die.

    Args:
        shared: The folder of the machine of the search.
        elsewhere: Ray's name of a machine -> what it has at that path.
    """

    def __init__(self, shared: Path, elsewhere: dict[str, Path]) -> None:
        self.shared, self.elsewhere = shared, elsewhere
        self.silent, self.dead, self.leaving = set[str](), set[str](), frozenset[str]()
        self.asked, self.cancelled = list[str](), list[Any]()

    def remote(self, look: Callable[[Signs], str]) -> Any:
        def asked(node: str, signs: Signs) -> tuple[str, str]:
            self.asked.append(node)
            return node, look(replace(signs, folder=self.elsewhere.get(node, self.shared)))

        return SimpleNamespace(
            options=lambda *, num_cpus, scheduling_strategy: SimpleNamespace(
                remote=lambda signs: asked(scheduling_strategy.node_id, signs)
            )
        )

    def wait(self, references: list[tuple[str, str]], **_: Any) -> tuple[list[Any], list[Any]]:
        return [one for one in references if one[0] not in self.silent], []

    def get(self, reference: tuple[str, str], timeout: float) -> str:
        if reference[0] in self.dead:
            raise NodeDiedError("its node has died")
        return reference[1]

    def cancel(self, reference: tuple[str, str], *, force: bool) -> None:
        self.cancelled.append(reference[0])

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "NodeID": name,
                "Alive": name not in self.dead,
                "NodeManagerHostname": name,
                "NodeManagerAddress": f"10.0.0.{place}",
            }
            for place, name in enumerate(("head", "gpu", "cpu", "late"))
        ]


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def nodes(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    found = Nodes(shared, {})
    monkeypatch.setattr(ray_shared_store, "ray", found)

    def strategy(node: str, *, soft: bool) -> SimpleNamespace:  # Ray's own wants a name that Ray has made
        return SimpleNamespace(node_id=node, soft=soft)

    monkeypatch.setattr(ray_shared_store, "NodeAffinitySchedulingStrategy", strategy)
    monkeypatch.setattr(ray_shared_store, "this_node", lambda: "head")
    monkeypatch.setattr(ray_shared_store, "nodes_that_leave", lambda: found.leaving)
    return found


def check(folder: Path, *machines: Machine, **options: Any) -> None:
    request = parse_request({"task": "idc", "data": "x", "shared_store": folder, **options})
    connection = Connection("10.0.0.0:6379", False, 10.0, 4.0, len(machines), "", machines)
    check_shared_store(request, KnownConnection(connection))


def test_machines_that_all_see_the_folder_may_begin_and_no_mark_is_left(nodes: Nodes, shared: Path) -> None:
    check(shared, HEAD, GPU, CPU)
    assert nodes.asked == ["gpu", "cpu"]
    assert list(shared.iterdir()) == []


def test_all_machines_that_do_not_see_the_folder_are_named_with_what_they_have_there(
    nodes: Nodes, shared: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    nodes.elsewhere = {"gpu": tmp_path / "other", "cpu": tmp_path / "nothing"}
    with pytest.raises(ConfigError) as caught:
        check(shared, HEAD, GPU, CPU)
    assert str(caught.value) == (
        f"--shared-store {shared} must be a folder that all machines of the search see, but on cpu "
        "(10.0.0.2) it is not there, and on gpu (10.0.0.1) it is another folder: mount the same folder on "
        "all of them, or leave --shared-store out"
    )
    assert caught.value.exit_code == 2
    assert list(shared.iterdir()) == []


def test_of_many_machines_the_first_are_named() -> None:
    faults = {f"n{number:02d}": "it is not there" for number in range(20)}
    assert _named(faults).endswith("on n07 it is not there, and 12 more have such faults")
    assert _named({"a": "it is not there"}) == "on a it is not there"


def test_a_folder_that_is_not_there_where_the_search_is_started_is_refused_with_that_machine(
    nodes: Nodes, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"but on .*, where the search was started, it is not there: mount"):
        check(tmp_path / "nothing", HEAD, CPU)


def test_a_machine_that_does_not_answer_is_refused_and_one_that_has_left_is_not(
    nodes: Nodes, shared: Path
) -> None:
    nodes.silent = {"cpu"}
    with pytest.raises(ConfigError, match=r"on cpu \(10.0.0.2\) nothing answered within 120 s: mount"):
        check(shared, HEAD, GPU, CPU)
    assert nodes.cancelled == ["cpu"]
    nodes.silent, nodes.dead = set(), {"cpu"}
    check(shared, HEAD, GPU, CPU)
    nodes.dead, nodes.leaving = set(), frozenset({"cpu"})
    nodes.elsewhere = {"cpu": shared / "nothing"}
    check(shared, HEAD, GPU, CPU)


def test_one_machine_and_a_search_that_stores_nothing_ask_nobody(nodes: Nodes, tmp_path: Path) -> None:
    check(tmp_path / "nothing", replace(GPU, node_id="head"))
    check(tmp_path / "nothing", HEAD, GPU, CPU, features="off")
    assert nodes.asked == []


def test_a_folder_that_is_only_read_is_known_by_its_features(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(ConfigError, match=r"cannot be written on .* \(Read-only file system\) and holds no"):
        signs_in(shared).__enter__()
    (shared / "prefix" / "0a1b").mkdir(parents=True)
    with signs_in(shared) as signs:
        assert signs.names == ("prefix/0a1b",)
    other = tmp_path / "other"
    (other / "prefix").mkdir(parents=True)
    assert fault_here(signs) == ""
    assert fault_here(replace(signs, folder=other)) == "it is another folder"
    assert fault_here(replace(signs, folder=tmp_path / "nothing")) == "it is not there"


def test_a_folder_that_cannot_be_read_says_why(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    assert fault_here(Signs(shared, ("mark",))) == "it cannot be read (Permission denied)"


def test_a_machine_that_joins_is_waited_for_until_it_has_answered(nodes: Nodes, shared: Path) -> None:
    newcomers = Newcomers(shared, ["gpu"])
    nodes.silent = {"late"}
    for _ in range(2):
        assert newcomers.known_of([HEAD, GPU, LATE]) == (HEAD, GPU)
        assert len(list(shared.iterdir())) == 1  # the mark, while somebody may look for it
    nodes.silent = set()
    assert newcomers.known_of([HEAD, GPU, LATE]) == (HEAD, GPU, LATE)
    assert (newcomers.apart, newcomers.take_remarks()) == (set(), [])
    assert list(shared.iterdir()) == []
    assert nodes.asked == ["late"]


def test_a_machine_that_joins_without_the_folder_stands_apart_and_is_named_once(
    nodes: Nodes, shared: Path, tmp_path: Path
) -> None:
    newcomers = Newcomers(shared, ["gpu"])
    nodes.elsewhere = {"late": tmp_path / "nothing"}
    for _ in range(4):
        found = newcomers.known_of([GPU, LATE])
    assert (found, newcomers.apart) == ((GPU, LATE), {"late"})
    (said,) = newcomers.take_remarks()
    assert said.startswith(f"late (10.0.0.3) has joined and does not see --shared-store {shared} (it is not")
    assert newcomers.take_remarks() == []
    assert nodes.asked == ["late"]


def test_a_machine_that_joins_and_never_answers_or_leaves_holds_up_nothing(
    nodes: Nodes, shared: Path
) -> None:
    newcomers = Newcomers(shared, ["gpu"], seconds=0.0)
    nodes.silent = {"late", "cpu"}
    assert newcomers.known_of([GPU, LATE, CPU]) == (GPU,)
    assert newcomers.known_of([GPU, LATE]) == (GPU, LATE)
    assert newcomers.apart == {"late"}
    assert "(nothing answered within 0 s)" in newcomers.take_remarks()[0]
    newcomers.close()
    assert list(shared.iterdir()) == []


def test_a_machine_that_joins_when_the_folder_is_gone_stands_apart(nodes: Nodes, shared: Path) -> None:
    newcomers = Newcomers(shared, ["gpu"])
    shared.rmdir()
    assert newcomers.known_of([GPU, LATE]) == (GPU, LATE)
    assert newcomers.apart == {"late"}
    assert "it cannot be compared" in newcomers.take_remarks()[0]


def test_heads_go_to_a_machine_without_a_gpu_only_if_it_sees_the_folder(
    nodes: Nodes, shared: Path, tmp_path: Path
) -> None:
    packing = ResourceAllocator(
        1.0, 0.5, (GPU, CPU), folds=4, slots=8, is_measured=False, shares_features=True
    )
    newcomers = Newcomers(shared, ["gpu", "cpu"])
    nodes.elsewhere = {"late": tmp_path / "nothing"}
    packing.opened(CONFIG)
    assert packing.slots == 10
    for _ in range(2):
        known = newcomers.known_of([GPU, CPU, LATE])
        packing.apart = newcomers.apart
        packing.follow(known)
    assert packing.slots == 10  # two of them heads, on the machine that sees the folder
    assert packing.request(CONFIG) == ResourceRequest(1.0, 0.0, nodes=("cpu",))
    packing.follow([GPU, LATE])
    assert packing.slots == 8
    assert packing.request(CONFIG) == ResourceRequest(1.0, 0.5)


def test_a_search_asks_the_machines_that_it_follows_and_says_who_stands_apart(
    nodes: Nodes,
    shared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_search: Callable[..., SearchRecord],
) -> None:
    said = list[str]()
    manager = TrialManager(
        RunFolder(tmp_path), make_search(), ListStudy(), (), deadline=None, clock=time.monotonic
    )
    manager.say = said.append
    packing = ResourceAllocator(1.0, 0.5, (GPU,), folds=4, slots=8, is_measured=False, shares_features=True)
    state = SharedState(manager, packing, {}, {}, newcomers=Newcomers(shared, ["gpu"]))
    nodes.elsewhere = {"late": tmp_path / "nothing"}
    monkeypatch.setattr(ray_followed, "ray", nodes)
    monkeypatch.setattr(ray_followed, "nodes_that_leave", frozenset[str])
    monkeypatch.setattr(ray_followed, "machines_of", lambda found, *, leaving: (GPU, CPU, LATE))
    anything: Any = None  # of Ray; it is not asked for machines
    followed = FollowedWorkers(state, anything, anything)
    for _ in range(3):
        followed._follow_machines()
    assert [text.partition(" (")[0] for text in said] == [
        "late",
        "the cluster has 3 machines now, before 1: 10 trials at once, before 8",
    ]
    packing.opened(CONFIG)
    assert packing.request(CONFIG).nodes == ("cpu",)
