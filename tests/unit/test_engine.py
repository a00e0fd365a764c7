from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller

from orchestrator.engine import _survive_out_of_memory, cause_of_loss


def test_an_out_of_memory_kill_counts_as_the_death_of_a_worker() -> None:
    before = actor_manager.RayActorError, tune_controller.RayActorError
    try:
        assert not isinstance(OutOfMemoryError("killed"), actor_manager.RayActorError)
        _survive_out_of_memory()
        for module in (actor_manager, tune_controller):
            assert isinstance(OutOfMemoryError("killed"), module.RayActorError)
            assert isinstance(RayActorError(), module.RayActorError)
    finally:
        actor_manager.RayActorError, tune_controller.RayActorError = before


def test_a_kill_for_want_of_memory_is_told_from_other_deaths() -> None:
    killed = "Task was killed due to the node running low on memory."
    died = (
        "The actor died unexpectedly before finishing this task. Some common causes include: (1) the "
        "process was killed by the OOM killer due to high memory usage, (2) ray stop --force was called"
    )
    assert cause_of_loss(killed) == "out_of_memory"
    assert cause_of_loss(died) == "lost_worker"
