"""A small sample of `make chaos`: few faults of four kinds, with the checks that the whole of it makes."""

import signal
from collections.abc import Iterator

import pytest

from benchmarks.chaos import files, kills, stops
from benchmarks.chaos.arena import UNDISTURBED, Arena
from benchmarks.chaos.ledger import Outcome

pytestmark = [pytest.mark.machines, pytest.mark.timeout(600)]

TRIALS = 6


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    made = Arena(tmp_path_factory.mktemp("chaos"), seed=7)
    undisturbed = made.search(UNDISTURBED, TRIALS)
    assert undisturbed.wait(made.patience) == 0, undisturbed.printed
    yield made
    made.end()


def check(outcome: Outcome, injected: int) -> None:
    assert outcome.injected == injected
    assert outcome.is_good, outcome.faults


def test_a_search_whose_driver_is_killed_ends_as_if_nobody_had(arena: Arena) -> None:
    check(kills.kill_drivers(arena, 2, TRIALS), injected=2)


def test_a_search_whose_workers_are_killed_ends_as_if_nobody_had(arena: Arena) -> None:
    check(kills.kill_workers(arena, 2, TRIALS), injected=2)


def test_a_closed_terminal_is_a_pause(arena: Arena) -> None:
    (outcome,) = stops.polite_signals(arena, [signal.SIGHUP], TRIALS, is_early=False)
    check(outcome, injected=1)


def test_damaged_files_are_named_and_made_again(arena: Arena) -> None:
    for outcome in files.damage(arena, TRIALS):
        check(outcome, injected=1)
