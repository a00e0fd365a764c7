"""A small sample of `make chaos`: few faults of some kinds, with the checks that the whole of it makes."""

import signal
from collections.abc import Iterator

import pytest

from benchmarks.chaos import files, kills, stops
from benchmarks.chaos.arena import UNDISTURBED, Arena
from benchmarks.chaos.ledger import Outcome
from benchmarks.chaos.plan import UNDISTURBED_FOLDS

pytestmark = [pytest.mark.machines, pytest.mark.timeout(600)]

TRIALS = 6
FOLD_TRIALS = 3


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    made = Arena(tmp_path_factory.mktemp("chaos"), seed=7)
    searches = {UNDISTURBED: (TRIALS,), UNDISTURBED_FOLDS: (FOLD_TRIALS, "--process-per-fold")}
    for name, options in searches.items():
        undisturbed = made.search(name, *options)
        assert undisturbed.wait(made.patience) == 0, undisturbed.printed
        verdict = made.judged(name, [], trials=options[0], reference=None)
        assert [*verdict.lost, *verdict.repeated, *verdict.faults] == []
    yield made
    made.end()


def check(outcome: Outcome) -> None:
    assert outcome.injected >= outcome.asked >= 1, outcome
    assert outcome.is_good, outcome.faults


def test_a_search_whose_driver_is_killed_ends_as_if_nobody_had(arena: Arena) -> None:
    check(kills.kill_drivers(arena, 2, TRIALS))


def test_a_search_whose_workers_are_killed_or_asked_to_end_ends_as_if_nobody_had(arena: Arena) -> None:
    for outcome in kills.kill_workers(arena, 1, 2, TRIALS):
        check(outcome)


def test_finished_folds_in_processes_of_their_own_outlive_worker_and_driver(arena: Arena) -> None:
    for outcome in kills.kill_workers_of_folds(arena, 1, 2, FOLD_TRIALS, UNDISTURBED_FOLDS):
        check(outcome)


def test_a_closed_terminal_is_a_pause(arena: Arena) -> None:
    (outcome,) = stops.polite_signals(arena, {signal.SIGHUP: 1}, TRIALS, early=0)
    check(outcome)


def test_damaged_files_are_named_and_made_again(arena: Arena) -> None:
    for outcome in files.damage(arena, dict.fromkeys(files.KINDS, 1), TRIALS):
        check(outcome)
