from ray.air.execution._internal import actor_manager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution import tune_controller

from orchestrator.engine import _survive_out_of_memory


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
