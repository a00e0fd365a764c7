"""The memory that a search may use: what a Ray of its own gives out, and how many trials fit."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from ray_control_service import ray_that_answers

from cluster.connect import connect, disconnect
from cluster.errors import ResourceError
from cluster.own_ray import DRIVER_BYTES, bytes_for_trials, store_bytes
from cluster.resources import Machine, slots_on, trial_slots

GB = 1_000_000_000


def test_an_own_ray_gives_out_what_driver_and_object_store_leave(fake_ray: SimpleNamespace) -> None:
    disconnect(connect("local", memory_bytes=16 * GB))
    (_, options), _ = fake_ray.calls
    assert options["object_store_memory"] == 800_000_000
    assert options["_memory"] == 16 * GB - DRIVER_BYTES - 800_000_000


def test_without_a_bound_ray_chooses_by_itself(fake_ray: SimpleNamespace) -> None:
    disconnect(connect("local"))
    (_, options), _ = fake_ray.calls
    assert "_memory" not in options
    assert "object_store_memory" not in options


def test_a_cluster_keeps_the_memory_that_it_has(fake_ray: SimpleNamespace, note: Path) -> None:
    with ray_that_answers() as port:
        disconnect(connect(f"127.0.0.1:{port}", memory_bytes=16 * GB))
    (_, options), _ = fake_ray.calls
    assert "_memory" not in options
    assert "object_store_memory" not in options


def test_the_object_store_stays_between_what_ray_wants_and_what_one_machine_needs() -> None:
    assert store_bytes(GB) == 100_000_000 > 75 * 2**20  # the least that Ray takes
    assert store_bytes(1000 * GB) == 2 * GB
    assert bytes_for_trials(GB) == 0


def test_memory_is_one_more_limit_of_trials_at_once() -> None:
    machines = [Machine(8, 0, 5 * GB), Machine(2, 0, 64 * GB)]
    assert slots_on(machines, cpus_per_trial=1, gpus_per_trial=0, memory_per_trial=2 * GB) == 4
    assert slots_on(machines, cpus_per_trial=1, gpus_per_trial=0) == 10


def test_too_little_memory_for_one_trial_is_refused_with_both_figures() -> None:
    with pytest.raises(
        ResourceError,
        match=r"takes 2 GB of memory at least, but Ray gives out 1.5 GB on a machine; raise `--memory-gb`",
    ):
        trial_slots(
            8,
            0,
            cpus_per_trial=1,
            gpus_per_trial=0,
            machines=[Machine(8, 0, 3 * GB // 2)],
            memory_per_trial=2 * GB,
        )
