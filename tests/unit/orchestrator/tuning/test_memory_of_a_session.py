"""What a session makes of the memory that a search may use: of a Ray of its own, and of any other."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from records import search_record

from cluster.connect import Connection
from cluster.errors import ResourceError
from cluster.own_ray import bytes_for_trials
from cluster.resources import WORKER_BYTES, Machine
from orchestrator.preflight.gpus_and_slots import slots_for
from orchestrator.request import SearchRequest, parse_request
from orchestrator.tuning import connecting, session
from orchestrator.tuning.allocation import SHARES
from orchestrator.tuning.surroundings import Surroundings
from orchestrator.tuning.trial_resources import trial_resources
from trainables.common.errors import ConfigError

GB = 1_000_000_000
OWN = Connection("127.0.0.1:1", True, 8.0, 0.0, 1, "Running on a Ray of its own.")
CLUSTER = replace(OWN, is_own=False, message="Running on a cluster.")


def request(**options: Any) -> SearchRequest:
    return parse_request({"task": "benign_malignant", **options})


class Connects:
    """Stands for the connection in the background; it is there at once."""

    found = OWN

    def __init__(self, plan: Callable[[], Any], needed: Any) -> None:
        self.plan = plan
        self.said: Callable[[Connection], None] = lambda _: None

    def close(self) -> None:
        """Nothing is open."""


def said_on(found: Connection, asked: SearchRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a session says of the connection; Ray must have been asked for the memory."""
    asked_for, said = dict[str, Any](), list[str]()
    monkeypatch.setattr(connecting, "BackgroundConnection", Connects)
    monkeypatch.setattr(connecting, "plan_connection", lambda address, **options: asked_for.update(options))
    surroundings = Surroundings(notify=said.append, open_view=cast(Any, None))
    with session._connector(surroundings, asked) as connection:
        stand_in = cast(Connects, connection)
        stand_in.plan()
        stand_in.said(found)
    assert asked_for["memory_bytes"] == asked.memory_bytes
    return said


def test_on_a_ray_of_its_own_there_is_nothing_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said_on(OWN, request(memory_gb=8.0), monkeypatch) == [OWN.message]


def test_on_a_cluster_it_is_said_that_the_number_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = said_on(CLUSTER, request(memory_gb=8.0), monkeypatch)
    assert first == CLUSTER.message
    assert "--memory-gb 8 is for a Ray of the search's own: here trials share what `ray start" in second
    assert said_on(CLUSTER, request(), monkeypatch) == [CLUSTER.message]


@pytest.mark.parametrize(
    ("options", "cpus", "workers"),
    [
        ({"trials": 24}, 8, 8),
        ({"trials": 24, "workers": 1}, 8, 1),
        ({"trials": 24, "memory_gb": 3.0}, 16, 1),
        ({"trials": 24, "memory_gb": 4.0}, 16, 2),
        ({"trials": 24, "cpus_per_trial": 4.0}, 8, 2),
        ({"trials": 24, "cpus_per_trial": 0.5}, 2, 2),
        ({"trials": 24, "cpus_per_trial": 4.0}, 2, 1),
        ({"trials": 3}, 8, 3),
    ],
)
def test_so_many_workers_import_ahead_as_trials_may_run_at_once(
    options: dict[str, Any], cpus: int, workers: int
) -> None:
    assert connecting.most_at_once(request(**options), cpus=cpus) == workers


def test_a_resume_counts_the_trials_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connecting.most_at_once(request(trials=24), left=1, cpus=8) == 1
    assert connecting.most_at_once(request(trials=24), left=0, cpus=8) == 1
    planned = dict[str, Any]()
    monkeypatch.setattr(connecting, "count_cpus", lambda: 8)
    monkeypatch.setattr(connecting, "plan_connection", lambda address, **options: planned.update(options))
    connecting.connection_of(request(trials=24), None, left=2)._plan()
    assert planned["workers"] == 2


@pytest.mark.parametrize(("memory_gb", "slots"), [(None, 8), (3.0, 1), (4.0, 2), (64.0, 8)])
def test_a_plan_counts_the_workers_that_fit(memory_gb: float | None, slots: int) -> None:
    assert slots_for(request(memory_gb=memory_gb), 0.0, OWN) == slots


def test_where_ray_runs_its_own_figure_counts() -> None:
    cluster = replace(CLUSTER, machines=(Machine(8, 0, 3 * WORKER_BYTES),))
    assert slots_for(request(memory_gb=64.0), 0.0, cluster) == 3
    assert slots_for(request(), 0.0, cluster) == 8
    with pytest.raises(ResourceError, match=r"Ray gives out 0\.5 GB on a machine"):
        slots_for(request(memory_gb=64.0), 0.0, replace(cluster, machines=(Machine(8, 0, GB // 2),)))


def test_trials_ask_for_memory_only_where_the_user_bounds_it() -> None:
    def bounds(**options: Any) -> bool:
        found = replace(OWN, machines=(Machine(2, 0, 8 * GB),))
        return trial_resources(search_record(**options), 2, found, left=1).bounds_memory

    assert bounds(memory_gb=8.0)
    assert not bounds()


def test_trials_that_share_a_gpu_as_measured_are_counted_as_a_plan_counts_the_smallest_share() -> None:
    machine = Machine(16, 1, 3 * WORKER_BYTES)
    found = replace(CLUSTER, cpus=16.0, gpus=1.0, machines=(machine,))

    def slots(**options: Any) -> int:
        record = search_record(gpus_per_trial=0.25, shares_gpus_as_measured=True, **options)
        return trial_resources(record, 4, found, left=1).slots

    assert slots() == slots_for(request(), 1 / SHARES, found) == 8
    assert slots(memory_gb=64.0) == slots_for(request(memory_gb=64.0), 1 / SHARES, found) == 3


@pytest.mark.parametrize("memory_gb", [0, -1, 2.9])
def test_less_than_driver_and_one_worker_need_is_refused_with_the_least(memory_gb: float) -> None:
    with pytest.raises(ConfigError, match=r"--memory-gb must be at least 3"):
        request(memory_gb=memory_gb)
    least = request(memory_gb=3.0).memory_bytes
    assert least is not None
    assert bytes_for_trials(least) >= WORKER_BYTES
