from collections.abc import Sequence

import pytest

from cluster.resources import Machine
from orchestrator.tuning.allocation import ResourceAllocator, idle_free_cpus
from orchestrator.tuning.resource_request import ResourceRequest
from orchestrator.tuning.trial_kinds import features_of
from trainables.config.trial_config import TrialConfig, decode

GIB = 2**30


def config(batch_size: int = 32, backbone: str = "vgg16") -> TrialConfig:
    return decode({"model.backbone": backbone, "training.batch_size": batch_size})


def on_gpus(*, is_measured: bool = True, gpus: float = 0.25) -> ResourceAllocator:
    return ResourceAllocator(
        1.0, gpus, (Machine(16, 2, 64 * GIB),), folds=4, slots=16, is_measured=is_measured
    )


def on_cpus(cpus: float = 8.0, slots: int = 8) -> ResourceAllocator:
    return ResourceAllocator(1.0, 0.0, (Machine(cpus, 0, 16 * GIB),), folds=4, slots=slots, is_measured=False)


def test_the_first_trial_of_a_kind_gets_half_a_gpu() -> None:
    assert on_gpus().request(config()) == ResourceRequest(1.0, 0.5)


@pytest.mark.parametrize(("peak_gib", "share"), [(1, 0.125), (10, 0.25), (20, 0.375), (79, 1.0)])
def test_a_kind_gets_the_eighths_of_a_gpu_that_it_was_measured_to_need(peak_gib: int, share: float) -> None:
    packing = on_gpus()
    packing.measured(config(), peak_gib * GIB, 80 * GIB)
    assert packing.request(config()).gpus == share
    assert packing.request(config(backbone="resnet50")).gpus == 0.5


def test_the_largest_trial_of_a_kind_decides() -> None:
    packing = on_gpus()
    for peak in (1, 30, 2):
        packing.measured(config(), peak * GIB, 80 * GIB)
    assert packing.request(config()).gpus == 0.5


def test_a_kind_that_differs_in_batch_size_alone_is_a_limit() -> None:
    packing = on_gpus()
    packing.measured(config(64), 5 * GIB, 80 * GIB)
    assert packing.request(config(16)).gpus == 0.125
    assert packing.request(config(128)).gpus == 0.25


def test_a_kind_that_ran_out_of_memory_gets_twice_as_much() -> None:
    packing = on_gpus()
    packing.measured(config(), 5 * GIB, 80 * GIB)
    shares = []
    for _ in range(5):
        packing.ran_out(config())
        shares.append(packing.request(config()).gpus)
    assert shares == [0.25, 0.375, 0.75, 1.0, 1.0]


def test_the_share_that_the_user_gave_is_kept() -> None:
    packing = on_gpus(is_measured=False, gpus=0.2)
    packing.measured(config(), 60 * GIB, 80 * GIB)
    packing.ran_out(config())
    assert packing.request(config()) == ResourceRequest(1.0, 0.2)


def test_on_cpus_memory_is_counted_only_where_it_would_not_suffice() -> None:
    packing = on_cpus()
    assert packing.request(config()).memory_bytes == 0
    packing.measured(config(), GIB, 16 * GIB)
    assert packing.request(config()).memory_bytes == 0
    packing.measured(config(), 4 * GIB, 16 * GIB)
    assert packing.request(config()).memory_bytes == 16 * GIB // 3
    assert on_cpus(slots=3).request(config()).memory_bytes == 0


def test_a_trial_alone_takes_the_largest_machine_and_a_whole_gpu() -> None:
    machines = (Machine(8, 0, GIB), Machine(64, 8, GIB))
    packing = ResourceAllocator(2.0, 0.25, machines, folds=4, slots=8, is_measured=True)
    assert packing.alone() == ResourceRequest(64, 1.0)
    assert on_cpus().alone() == ResourceRequest(8.0, 0.0)


def test_a_trial_alone_asks_for_no_more_than_one_machine_has() -> None:
    machines = (Machine(64, 0, GIB, "cpus"), Machine(16, 2, GIB, "gpus"))
    packing = ResourceAllocator(2.0, 0.25, machines, folds=4, slots=8, is_measured=True)
    alone = packing.alone()
    assert alone == ResourceRequest(16, 1.0)
    assert not packing.has_no_machine_for(alone)
    packing.follow([machines[0], Machine(8, 2, GIB, "other")])
    assert packing.has_no_machine_for(alone)
    assert packing.has_no_machine_for(ResourceRequest(1, 0.0, nodes=("gpus",)))
    assert not packing.has_no_machine_for(ResourceRequest(1, 0.0, nodes=("cpus", "gpus")))


def test_a_request_is_larger_if_it_takes_more_of_anything() -> None:
    assert ResourceRequest(1, 0.5).is_larger_than(ResourceRequest(1, 0.25))
    assert ResourceRequest(1, 0.0, 2).is_larger_than(ResourceRequest(4, 0.0, 1))
    assert not ResourceRequest(1, 0.25).is_larger_than(ResourceRequest(1, 0.25))


@pytest.mark.parametrize(
    ("cpus", "at_once", "share"), [(2, 1, 2), (2, 2, 1), (2, 8, 1), (16, 3, 5), (16, 16, 1)]
)
def test_few_trials_share_all_cores_of_a_machine(cpus: int, at_once: int, share: int) -> None:
    assert idle_free_cpus([Machine(cpus, 0, 0)], at_once=at_once) == share


def test_trials_spread_over_machines_and_the_smallest_decides() -> None:
    machines = [Machine(8, 0, 0), Machine(4, 0, 0)]
    assert idle_free_cpus(machines, at_once=2) == 4
    assert idle_free_cpus(machines, at_once=4) == 2
    assert idle_free_cpus([], at_once=3) == 1


@pytest.mark.parametrize(
    ("machines", "at_once", "gpus", "share"),
    [
        ([Machine(64, 0, 0), Machine(64, 8, 0)], 8, 1.0, 8),  # the head of the cluster holds none of them
        ([Machine(64, 0, 0), Machine(64, 8, 0)], 2, 1.0, 32),
        ([Machine(8, 0, 0), Machine(8, 1, 0)], 8, 0.125, 1),
        ([Machine(64, 2, 0), Machine(64, 8, 0)], 10, 1.0, 8),  # two here, eight there
        ([Machine(64, 0, 0)], 8, 1.0, 1),  # no machine can hold one
    ],
)
def test_cores_are_left_for_every_gpu_that_a_trial_may_have(
    machines: list[Machine], at_once: int, gpus: float, share: int
) -> None:
    assert idle_free_cpus(machines, at_once=at_once, gpus=gpus) == share


def test_cores_are_left_for_every_trial_that_the_memory_of_a_machine_holds() -> None:
    machines = [Machine(128, 0, 4 * GIB), Machine(128, 0, 64 * GIB)]
    assert idle_free_cpus(machines, at_once=8, memory_bytes=GIB) == 32
    assert idle_free_cpus(machines, at_once=68, memory_bytes=GIB) == 2


GPU_NODE = Machine(8, 4, 64 * GIB, "gpu")
CPU_NODE = Machine(2, 0, 16 * GIB, "cpu")


def mixed(
    *,
    shares_features: bool = True,
    lends_features: bool = False,
    workers: int | None = None,
    fixed_backbones: Sequence[str] = (),
) -> ResourceAllocator:
    return ResourceAllocator(
        1.0,
        0.5,
        (GPU_NODE, CPU_NODE),
        folds=4,
        slots=8,
        is_measured=False,
        workers=workers,
        shares_features=shares_features,
        lends_features=lends_features,
        fixed_backbones=fixed_backbones,
    )


def test_a_head_whose_features_are_stored_goes_where_no_gpu_is() -> None:
    packing = mixed()
    assert packing.request(config()) == ResourceRequest(1.0, 0.5)
    packing.opened(config())
    assert packing.request(config()) == ResourceRequest(1.0, 0.0, nodes=("cpu",))
    assert packing.request(config(backbone="resnet50")) == ResourceRequest(1.0, 0.5)


def test_a_head_shares_a_gpu_while_the_machines_without_one_are_full() -> None:
    packing = mixed()
    packing.opened(config())
    assert packing.request(config(), heads=1).nodes == ("cpu",)
    assert packing.request(config(), heads=2) == ResourceRequest(1.0, 0.5)


def test_a_machine_that_does_not_reach_the_features_gets_no_head() -> None:
    packing = mixed(shares_features=False)
    packing.opened(config())
    assert packing.request(config()) == ResourceRequest(1.0, 0.5)
    assert packing.slots == 8


def test_a_head_goes_where_no_gpu_is_while_a_machine_lends_its_features() -> None:
    packing = mixed(shares_features=False, lends_features=True)
    packing.opened(config())
    assert packing.request(config()) == ResourceRequest(1.0, 0.5)  # nobody is known to have them
    packing.holds(config(), "gpu", "/store")
    there = ResourceRequest(1.0, 0.0, nodes=("cpu",), lenders=(("gpu", "/store"),))
    assert packing.request(config()) == there
    assert packing.request(config(backbone="resnet50")) == ResourceRequest(1.0, 0.5)
    other = Machine(4, 4, 16 * GIB, "other")
    packing.follow([other, CPU_NODE])
    assert packing.request(config()) == ResourceRequest(1.0, 0.5)  # who had them has left


def test_nothing_is_lent_where_machines_read_a_folder_that_all_share() -> None:
    packing = mixed()
    packing.opened(config())
    packing.holds(config(), "gpu", "/store")
    assert packing.request(config()) == ResourceRequest(1.0, 0.0, nodes=("cpu",))


STATISTICS = ("statistics", "table")


@pytest.mark.parametrize("shares_features", [True, False])
def test_what_needs_no_net_goes_where_no_gpu_is_from_the_start(shares_features: bool) -> None:
    packing = mixed(
        shares_features=shares_features, lends_features=not shares_features, fixed_backbones=STATISTICS
    )
    there = ResourceRequest(1.0, 0.0, nodes=("cpu",))
    both = {"classical.name": "lda", "model.also": ["statistics/top"]}
    assert packing.request(config(backbone="statistics")) == there
    assert packing.request(decode({"model.backbone": "table", **both})) == there
    assert packing.request(decode({"model.backbone": "vgg16", **both})) == ResourceRequest(1.0, 0.5)
    assert packing.request(config(backbone="statistics"), heads=2) == ResourceRequest(1.0, 0.5)


def test_what_needs_no_net_shares_a_gpu_where_all_machines_have_one() -> None:
    packing = ResourceAllocator(
        1.0, 0.5, (GPU_NODE,), folds=4, slots=8, is_measured=False, fixed_backbones=STATISTICS
    )
    assert packing.request(config(backbone="statistics")) == ResourceRequest(1.0, 0.5)


def test_heads_stay_on_gpus_that_have_room_for_all_trials_that_the_user_wants() -> None:
    packing = mixed(workers=8)
    packing.opened(config())
    assert packing.request(config()) == ResourceRequest(1.0, 0.5)
    assert packing.slots == 8


def test_heads_on_machines_without_a_gpu_run_beside_the_others() -> None:
    assert (mixed().slots, mixed().workers_expected) == (10, 10)
    assert (mixed(workers=9).slots, mixed(workers=9).workers_expected) == (9, 9)


def test_a_trial_that_trains_stages_needs_a_gpu_whatever_is_stored() -> None:
    trained = decode({"model.backbone": "vgg16", "model.trained_stages": 1})
    packing = mixed()
    packing.opened(trained)
    assert features_of(trained) is None
    assert packing.request(trained) == ResourceRequest(1.0, 0.5)


def test_heads_of_other_settings_read_the_same_features_and_other_images_do_not() -> None:
    narrow = decode({"model.backbone": "vgg16", "model.head.hidden": [8], "optimizer.lr": 0.01})
    other = decode({"model.backbone": "vgg16", "input.contrast": 2.0})
    assert features_of(narrow) == features_of(config())
    assert features_of(other) != features_of(config())


def test_the_number_of_trials_at_once_follows_the_machines() -> None:
    packing = ResourceAllocator(1.0, 0.0, (Machine(4, 0, 0, "a"),), folds=4, slots=4, is_measured=False)
    assert packing.follow([Machine(4, 0, 0, "a")]) == ""
    said = packing.follow([Machine(4, 0, 0, "a"), Machine(8, 0, 0, "b")])
    assert said == "the cluster has 2 machines now, before 1: 12 trials at once, before 4"
    assert (packing.slots, packing.workers_expected) == (12, 12)
    packing.follow([Machine(8, 0, 0, "b")])
    assert packing.slots == 8


def test_the_first_gpus_that_join_are_used_unless_the_user_wants_none() -> None:
    here, there = Machine(4, 0, 0, "a"), Machine(8, 2, 16 * GIB, "b")
    packing = ResourceAllocator(
        1.0, 0.0, (here,), folds=4, slots=4, is_measured=False, late_gpus=0.25, lends_features=True
    )
    assert packing.request(config()).gpus == 0.0
    said = packing.follow([here, there])
    assert said.endswith("; trials use its GPUs from now on")
    assert packing.request(config()).gpus > 0.0
    assert packing.slots == 8 + 4  # the second of heads on features that the other machine lends
    assert "GPUs" not in packing.follow([here, there, Machine(8, 2, 16 * GIB, "c")])
    said = packing.follow([here])  # the others were rented for a while
    assert said.endswith("; trials run on CPUs again")
    assert (packing.request(config()).gpus, packing.slots) == (0.0, 4)
    without = ResourceAllocator(1.0, 0.0, (here,), folds=4, slots=4, is_measured=False)
    assert "GPUs" not in without.follow([here, there])
    assert without.request(config()).gpus == 0.0


def test_gpus_of_a_machine_without_room_for_a_trial_change_nothing() -> None:
    here, full = Machine(4, 0, 0, "a"), Machine(0.5, 1, 16 * GIB, "b")
    packing = ResourceAllocator(1.0, 0.0, (here,), folds=4, slots=4, is_measured=False, late_gpus=0.25)
    assert packing.follow([here, full]) == ""
    assert (packing.request(config()).gpus, packing.slots, packing.is_measured) == (0.0, 4, False)


def test_a_head_that_runs_no_trials_is_no_machine_of_theirs() -> None:
    head, worker = Machine(0, 0, GIB, "head"), Machine(4, 0, GIB, "worker")
    packing = ResourceAllocator(1.0, 0.0, (worker,), folds=4, slots=4, is_measured=False)
    assert packing.follow([head, worker]) == ""
    assert idle_free_cpus([head, worker], at_once=2) == 2


def test_a_cluster_that_is_gone_for_a_moment_changes_nothing() -> None:
    packing = ResourceAllocator(1.0, 0.0, (Machine(4, 0, 0, "a"),), folds=4, slots=4, is_measured=False)
    assert packing.follow([]) == ""
    assert (packing.slots, packing.machines) == (4, (Machine(4, 0, 0, "a"),))


def test_the_limit_that_the_user_set_holds_when_machines_join() -> None:
    packing = ResourceAllocator(
        1.0, 0.0, (Machine(4, 0, 0, "a"),), folds=4, slots=3, is_measured=False, workers=3
    )
    packing.follow([Machine(4, 0, 0, "a"), Machine(8, 0, 0, "b")])
    assert packing.slots == 3
