"""Trials of a search whose memory is bounded: each asks for what its worker needs."""

from typing import Any

import pytest

from cluster.resources import WORKER_BYTES, Machine
from orchestrator.tuning.allocation import ResourceAllocator
from trainables.config.trial_config import TrialConfig, decode

GB = 1_000_000_000


def head(backbone: str = "vgg16", batch_size: int = 32) -> TrialConfig:
    return decode({"model.backbone": backbone, "training.batch_size": batch_size, "model.trained_stages": 0})


def net() -> TrialConfig:
    return decode({"model.backbone": "vgg16", "model.trained_stages": 1})


def bounded(memory_gb: int = 8, cpus: int = 8, slots: int = 8, **more: Any) -> ResourceAllocator:
    machines = (Machine(cpus, 0, memory_gb * GB),)
    asked: dict[str, Any] = {"folds": 4, "slots": slots, "is_measured": False, "bounds_memory": True} | more
    return ResourceAllocator(1.0, asked.pop("gpus", 0.0), asked.pop("machines", machines), **asked)


def at_once(packing: ResourceAllocator, config: TrialConfig, memory_gb: int = 8) -> int:
    return memory_gb * GB // packing.request(config).memory_bytes


@pytest.mark.parametrize(("worker_gb", "fit"), [(0.5, 8), (0.9, 7), (2.0, 3), (3.0, 2), (5.0, 1), (20.0, 1)])
def test_so_many_trials_of_a_kind_fit_as_its_worker_was_measured_to_need(worker_gb: float, fit: int) -> None:
    packing = bounded()
    packing.resident(head(), round(worker_gb * GB))
    assert at_once(packing, head()) == fit


def test_every_trial_asks_for_memory_so_that_small_ones_leave_large_ones_theirs() -> None:
    packing = bounded()
    packing.resident(head(), GB // 10)
    packing.resident(net(), 6 * GB)
    assert packing.request(head()).memory_bytes == GB
    assert packing.request(net()).memory_bytes == 8 * GB  # and so no other trial beside it


def test_before_a_measurement_heads_are_guessed_and_nets_get_half() -> None:
    packing = bounded()
    assert (at_once(packing, head()), at_once(packing, net())) == (4, 2)
    assert at_once(bounded(gpus=0.25), net()) == 4  # what is trained on a GPU lies there


def test_a_kind_that_was_not_measured_needs_what_the_largest_of_its_like_did() -> None:
    packing = bounded()
    for taken in (1, 2):
        packing.resident(head(batch_size=taken), taken * GB)
    assert at_once(packing, head("resnet50")) == 3
    assert at_once(packing, net()) == 2


def test_the_largest_worker_of_a_kind_counts_and_an_unknown_one_does_not() -> None:
    packing = bounded()
    for taken in (1, 3, 2, 0):
        packing.resident(head(), taken * GB)
    assert at_once(packing, head()) == 2


def test_a_kind_that_ran_out_of_memory_asks_for_twice_as_much_memory() -> None:
    packing = bounded()
    packing.resident(head(), GB)
    packing.ran_out(head())
    assert at_once(packing, head()) == 3


def test_machines_hold_no_more_trials_than_memory_for_their_workers() -> None:
    small = (Machine(8, 0, 2 * WORKER_BYTES + 1, "a"),)
    assert bounded(machines=small).workers_expected == 2
    packing = bounded(machines=(Machine(8, 0, 8 * GB, "b"),))
    assert "2 trials at once, before 8" in packing.follow(small)


def test_memory_that_ray_does_not_know_is_not_asked_for() -> None:
    assert bounded(0).request(net()).memory_bytes == 0


def test_without_a_bound_a_trial_that_fits_beside_all_others_asks_for_none() -> None:
    packing = bounded(bounds_memory=False)
    packing.resident(head(), 6 * GB)
    assert packing.request(head()).memory_bytes == 0
