"""How many trials fit on the machines of a cluster."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ResourceError
from cluster.resources import Machine, count_nodes, describe, trial_slots


@pytest.mark.parametrize(
    ("cpus", "gpus", "cpus_per_trial", "gpus_per_trial", "workers", "expected"),
    [
        (2, 0, 1, 0, None, 2),
        (224, 8, 4, 1, None, 8),
        (224, 8, 4, 0.25, None, 32),
        (16, 8, 4, 0.25, None, 4),
        (224, 8, 4, 0.3, None, 24),  # three a GPU: a trial does not span two
        (224, 8, 4, 2, None, 4),
        (0.3, 0, 0.1, 0, None, 3),
        (8, 8, 0, 1, None, 8),
        (8, 0, 0, 0, 5, 5),
        (8, 0, 1, 0, 3, 3),
        (2, 0, 1, 0, 30, 2),
    ],
)
def test_slots_are_what_the_scarcest_resource_allows(
    cpus: float, gpus: float, cpus_per_trial: float, gpus_per_trial: float, workers: int | None, expected: int
) -> None:
    slots = trial_slots(
        cpus, gpus, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial, workers=workers
    )
    assert slots == expected


@given(
    cpus=st.integers(1, 512),
    gpus=st.integers(0, 64),
    cpus_per_trial=st.sampled_from([0.1, 0.25, 0.3, 0.5, 1, 2, 3, 8]),
    gpus_per_trial=st.sampled_from([0, 0.1, 0.25, 0.3, 0.5, 1, 2]),
)
def test_all_slots_together_never_ask_for_more_than_there_is(
    cpus: int, gpus: int, cpus_per_trial: float, gpus_per_trial: float
) -> None:
    try:
        slots = trial_slots(cpus, gpus, cpus_per_trial=cpus_per_trial, gpus_per_trial=gpus_per_trial)
    except ResourceError:
        assert cpus_per_trial > cpus or gpus_per_trial > gpus
        return
    assert slots >= 1
    assert slots * cpus_per_trial <= cpus + 1e-6
    assert slots * gpus_per_trial <= gpus + 1e-6


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"gpus_per_trial": 0.25}, "a trial asks for 0.25 GPU, but Ray sees no GPU; .*--gpus-per-trial 0"),
        ({"cpus_per_trial": 4}, "a trial asks for 4 CPUs, but Ray sees 2 CPUs; ask for at most 2"),
        ({"gpus_per_trial": 1.5}, "a share of one GPU or a whole number, it is 1.5; say 1 or 2"),
        ({"cpus_per_trial": -1}, "--cpus-per-trial must be 0 or more, it is -1"),
        ({"gpus_per_trial": math.nan}, "--gpus-per-trial must be 0 or more, it is nan"),
        ({"cpus_per_trial": 1e-6}, "must be 0 or at least 0.0001"),
        ({"workers": 0}, "--workers must be at least 1, it is 0"),
        ({"cpus_per_trial": 0}, "would start without limit"),
    ],
)
def test_a_request_that_can_never_be_met_is_refused(asked: dict[str, Any], message: str) -> None:
    request = {"cpus_per_trial": 1, "gpus_per_trial": 0, "workers": None} | asked
    with pytest.raises(ResourceError, match=message):
        trial_slots(2, 0, **request)


def test_a_cluster_without_cpus_is_not_answered_with_zero_cpus_a_trial() -> None:
    with pytest.raises(
        ResourceError, match=r"Ray sees 0 CPUs; its machines may not have joined yet, .*ray status"
    ):
        trial_slots(0, 0, cpus_per_trial=1, gpus_per_trial=0)


def test_too_many_gpus_are_refused_with_the_number_that_is_there() -> None:
    with pytest.raises(
        ResourceError, match="a trial asks for 4 GPUs, but Ray sees 2 GPUs; ask for at most 2"
    ):
        trial_slots(8, 2, cpus_per_trial=1, gpus_per_trial=4)


def test_machines_are_counted_without_the_mark_of_the_head() -> None:
    resources = {"CPU": 4.0, "node:10.0.0.1": 1.0, "node:10.0.0.2": 1.0, "node:__internal_head__": 1.0}
    assert count_nodes(resources) == 2
    assert describe(resources) == "2 machines with 4 CPUs and no GPU"


def test_trials_are_counted_machine_by_machine() -> None:
    machines = (Machine(3, 0, 0), Machine(3, 0, 0))
    slots = trial_slots(6, 0, cpus_per_trial=2, gpus_per_trial=0, machines=machines)
    assert slots == 2


def test_a_machine_without_gpus_takes_no_trial_that_needs_one() -> None:
    machines = (Machine(64, 0, 0), Machine(4, 2, 0))
    slots = trial_slots(68, 2, cpus_per_trial=1, gpus_per_trial=0.125, machines=machines)
    assert slots == 4


def test_a_trial_that_fits_no_single_machine_is_refused() -> None:
    machines = (Machine(64, 0, 0), Machine(1, 2, 0))
    with pytest.raises(ResourceError, match="2 CPUs and 1 GPU on one machine, but none of the 2 machines"):
        trial_slots(65, 2, cpus_per_trial=2, gpus_per_trial=1, machines=machines)
