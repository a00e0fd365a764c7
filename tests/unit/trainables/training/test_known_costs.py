"""What a net costs is measured once a week on a machine, and a busy machine is not thought slow for ever."""

import math
import os
from pathlib import Path

import pytest
import torch

from trainables.training import known_costs
from trainables.training.cost import Cost
from trainables.training.known_costs import FOLDER, LASTS_SECONDS, KnownCosts

CPU = torch.device("cpu")
FACTS = {"net": "vgg16", "sides": (50, None), "channels": 1}


class Machine:
    """A machine whose measurements are as slow as one says, at a time that one says."""

    def __init__(self, store: Path) -> None:
        self.store, self.now, self.measured = store, 1e9, 0

    def cost(self, forward: float, **facts: object) -> float:
        def measure() -> Cost:
            self.measured += 1
            return Cost(forward, None, {"top": 3 * forward, "block4": math.inf}, (150, 2 * forward))

        found = KnownCosts(self.store, CPU, now=lambda: self.now).cost({**FACTS, **facts}, measure)
        assert found.last_stage["block4"] == math.inf
        assert found.larger == (150, 2 * found.forward)
        assert found.last_stage["top"] == 3 * found.forward
        return found.forward


@pytest.fixture
def machine(tmp_path: Path, one_thread: None) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


def test_a_cost_is_measured_once_for_a_week(machine: Machine) -> None:
    assert machine.cost(0.010) == machine.cost(0.012) == 0.010
    machine.now += LASTS_SECONDS - 1
    assert machine.cost(0.012) == 0.010
    assert machine.measured == 1


def test_a_busy_machine_is_slow_for_a_week_at_most(machine: Machine) -> None:
    assert machine.cost(0.5) == machine.cost(0.01) == 0.5
    machine.now += LASTS_SECONDS + 1
    assert machine.cost(0.01) == machine.cost(0.02) == 0.01
    machine.now += LASTS_SECONDS + 1
    assert machine.cost(0.3) == 0.01  # it was busy
    machine.now += LASTS_SECONDS + 1
    assert machine.cost(0.3) == 0.3  # it is slow


def test_a_clock_that_was_set_back_keeps_nothing_for_ever(machine: Machine) -> None:
    machine.cost(0.5)
    machine.now -= 10 * LASTS_SECONDS
    assert machine.cost(0.01) == 0.01


def test_a_cost_holds_for_what_it_was_measured_on(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.cost(0.01)
    assert machine.cost(0.02, net="resnet50") == 0.02
    assert machine.cost(0.03, sides=(75, None)) == 0.03
    assert machine.cost(0.04, channels=3) == 0.04
    for name, other in {"processor_name": lambda: "another", "count_cpus": lambda: 3}.items():
        with monkeypatch.context() as patch:
            patch.setattr(known_costs, name, other)
            assert machine.cost(0.05) == 0.05
    with monkeypatch.context() as patch:
        patch.setattr(torch, "__version__", "0.1")
        assert machine.cost(0.06) == 0.06
    assert machine.cost(0.07) == 0.01


def test_times_on_the_wall_are_not_kept_while_other_work_runs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (100.0 * (os.cpu_count() or 1), 0.0, 0.0))
    assert machine.cost(0.01) == machine.cost(0.02) == 0.01  # the clock of one thread counts its own time
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert (machine.cost(0.5), machine.cost(0.4)) == (0.5, 0.4)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    assert machine.cost(0.01) == machine.cost(0.02) == 0.01


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"measured": [[1e9, {"forward": 0.0}]]}', '{"measured": 1}']
)
def test_a_file_of_no_use_is_measured_again(machine: Machine, content: str) -> None:
    machine.cost(0.01)
    (file,) = (machine.store / FOLDER).iterdir()
    file.write_text(content)
    assert machine.cost(0.02) == machine.cost(0.03) == 0.02
    file.write_text(file.read_text().replace("0.02", "-1.0"))
    assert machine.cost(0.04) == 0.04


def test_a_store_that_cannot_be_written_keeps_nothing(tmp_path: Path, one_thread: None) -> None:
    (tmp_path / FOLDER).write_text("in the way")
    machine = Machine(tmp_path)
    assert (machine.cost(0.01), machine.cost(0.02)) == (0.01, 0.02)
