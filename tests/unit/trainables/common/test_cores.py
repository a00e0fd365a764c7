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
    assert count_cpus(tmp_path) == cores
    assert count_cpus(tmp_path / "missing") == 64


@pytest.mark.parametrize(("share", "cores"), [("200000\n", 2), ("-1\n", 64), ("50000\n", 1)])
def test_so_may_one_of_the_first_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text(share)
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert count_cpus(tmp_path) == cores
