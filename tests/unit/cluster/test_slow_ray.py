"""A Ray of one's own that is slow to start."""

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.connect import connect
from cluster.errors import ClusterError


@pytest.mark.parametrize(("slow", "is_there"), [(2, True), (3, False)])
def test_a_ray_that_is_slow_to_start_on_a_busy_machine_is_started_again(
    fake_ray: SimpleNamespace, slow: int, is_there: bool
) -> None:
    starts, init = [], fake_ray.init

    def slowly(**options: Any) -> Any:
        starts.append(options)
        fake_ray.fault = (
            Exception("The current node timed out during startup.") if len(starts) <= slow else None
        )
        return init(**options)

    fake_ray.init = slowly
    if is_there:
        connect("local")
    else:
        with pytest.raises(ClusterError, match=r"did not start: .*timed out"):
            connect("local")
    assert len(starts) == 3
    assert [name for name, _ in fake_ray.calls].count("shutdown") >= 2
