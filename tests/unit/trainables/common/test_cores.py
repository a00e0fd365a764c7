"""How many cores this process may use, also in a container that has a part of them."""

import os
from pathlib import Path

import pytest

from trainables.common.cores import count_cpus


@pytest.mark.parametrize(
    ("share", "cores"),
    [("200000 100000", 2), ("max 100000", 64), ("50000 100000", 1), ("9900000 100000", 64), ("", 64)],
)
def test_a_control_group_may_have_fewer_cores_than_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "cpu.max").write_text(share)
    assert count_cpus(tmp_path / "cpu.max") == cores
    assert count_cpus(tmp_path / "missing") == 64
