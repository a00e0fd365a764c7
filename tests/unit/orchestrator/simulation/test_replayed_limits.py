"""Passes are shared, and a time limit, its allowance and the terminator act in a replay as in a search."""

from dataclasses import replace
from typing import Any

import pytest
from space_context import context

from orchestrator import Replay, ReplayedSearch, packaged_table, replay_search
from orchestrator.preflight.pricing import head_seconds
from orchestrator.simulation.set_clock import clock_of
from orchestrator.simulation.table import ResultTable, Trajectory
from orchestrator.study.terminator import FEWEST_TRIALS
from trainables.config.trial_config import decode

pytestmark = pytest.mark.slow

SPACE = "search_spaces.image_classifier:image_classifier"


def head(backbone: str, **own: object) -> dict[str, Any]:
    return {"model.backbone": backbone, "classical.name": "logistic", "training.epochs": 1, **own}


def table(seconds: dict[str, tuple[float, ...]], *, spread: float = 0.1) -> ResultTable:
    """Heads of equal AUC: backbone -> seconds of each, in the order in which they were trained."""
    settings, found = list[dict[str, Any]](), list[Trajectory]()
    for backbone, own in seconds.items():
        settings += [head(backbone, **{"classical.c": 10.0**-place}) for place in range(len(own))]
        found += [Trajectory(((0.7 - spread, 0.7 + spread),), (one,), 0.7) for one in own]
    facts = context(tuple(seconds)).model_dump(mode="json")
    return ResultTable(tuple(settings), {"a": tuple(found)}, SPACE, facts, 2, {})


PASSES = table({"efficientnet_lite0": (4.5, 0.5, 0.5), "vgg16": (30.5, 0.5, 0.5)})


def times(found: Replay) -> list[tuple[int, float, float, float]]:
    return [(own.configuration, own.started, own.ended, own.opening_seconds) for own in found.trials]


def test_the_first_trial_that_needs_a_pass_made_it_when_the_table_was_made() -> None:
    clock = clock_of(PASSES, "a")
    assert clock.passes == pytest.approx({("efficientnet_lite0", 150): 4.0, ("vgg16", 150): 30.0})
    assert clock.epochs == ((0.5,),) * 6


def test_what_was_added_later_began_with_an_empty_store() -> None:
    later = table({"efficientnet_lite0": (4.5, 0.5, 0.5, 90.5, 0.5)})
    clock = clock_of(replace(later, fresh_stores=(0, 3)), "a")
    assert clock.passes == pytest.approx({("efficientnet_lite0", 150): 4.0})
    assert clock.epochs == ((0.5,),) * 5


def test_a_pass_at_another_side_goes_by_its_area() -> None:
    clock = clock_of(PASSES, "a")
    (own,) = clock.price(decode(head("efficientnet_lite0", **{"input.size_px": 75}))).passes.values()
    assert own == pytest.approx(1.0)


def test_the_training_of_a_head_is_guessed_as_in_a_search_where_the_table_counts_the_images() -> None:
    settings = {"model.backbone": "efficientnet_lite0", "training.epochs": 8, "training.batch_size": 32}
    trained = decode(settings)
    counted = clock_of(replace(PASSES, trained={"a": 450}), "a").price(trained)

    as_in_a_search = head_seconds(trained, counted.columns, trained=450, has_gpu=False)
    assert counted.columns == 1280
    assert counted.head == as_in_a_search > 8 * 15 * 0.001  # steps of a millisecond and more
    assert clock_of(PASSES, "a").price(trained).head == 0.0
    assert clock_of(replace(PASSES, trained={"a": 450}), "a").price(decode(head("vgg16"))).head == 0.0


def test_in_a_replay_whoever_needs_a_pass_first_makes_it_and_others_wait() -> None:
    alone = replay_search(PASSES, "a", ReplayedSearch(trials=2, first=[1, 0]))
    assert times(alone) == [(1, 0.0, 4.5, 4.0), (0, 4.5, 5.0, 0.0)]
    beside = replay_search(PASSES, "a", ReplayedSearch(trials=2, first=[1, 0], workers=2, trial_seconds=1.0))
    assert times(beside) == [(1, 0.0, 5.5, 4.0), (0, 0.0, 5.5, 4.0)]
    assert (beside.seconds, beside.busy_seconds) == (5.5, 11.0)


def test_when_the_time_is_up_what_runs_is_stopped_without_a_value() -> None:
    found = replay_search(PASSES, "a", ReplayedSearch(trials=9, first=[0, 3, 1], minutes=0.1))
    assert times(found) == [(0, 0.0, 4.5, 4.0), (3, 4.5, 6.0, 1.5)]
    assert [own.value for own in found.trials] == [0.7, None]
    assert found.regret == pytest.approx(0.0)


def test_with_a_time_limit_a_trial_takes_a_share_of_the_time_left() -> None:
    limited = ReplayedSearch(trials=30, sampler="random", first=[0], minutes=1.0, trial_seconds=1.0)
    free = replay_search(PASSES, "a", replace(limited, has_allowance=False))
    shared = replay_search(PASSES, "a", limited)
    assert max(own.opening_seconds for own in free.trials) > 7.5  # an eighth of a minute
    ended = [own for own in shared.trials if own.value is not None]
    assert max(own.opening_seconds for own in ended) <= 7.5
    assert len(shared.trials) > len(free.trials)


def test_brief_heads_come_before_each_trial_that_is_not() -> None:
    limited = ReplayedSearch(trials=40, seed=1, minutes=1.0, workers=2, trial_seconds=0.3, first=[0])
    counts = [
        sum(own.opening_seconds == 0.0 for own in replay_search(PASSES, "a", search).trials[:20])
        for search in (limited, replace(limited, brief_between=0))
    ]
    assert counts[0] > counts[1]


def test_the_terminator_ends_a_search_that_has_nothing_to_gain() -> None:
    flat = table({"efficientnet_lite0": (0.5,) * 6})
    search = ReplayedSearch(trials=FEWEST_TRIALS + 5, sampler="random", terminator=True)
    found = replay_search(flat, "a", search)
    assert found.terminated is not None
    assert (found.terminated.trials, len(found.trials)) == (FEWEST_TRIALS, FEWEST_TRIALS)
    assert found.terminated.gain < found.terminated.noise
    certain = replay_search(table({"efficientnet_lite0": (0.5,) * 6}, spread=0.0), "a", search)
    assert (certain.terminated, len(certain.trials)) == (None, FEWEST_TRIALS + 5)
    assert replay_search(flat, "a", replace(search, terminator=False)).terminated is None


def test_five_hundred_workers_begin_at_once() -> None:
    search = ReplayedSearch(trials=60, sampler="random", workers=512)
    found = replay_search(packaged_table(), "infn", search)
    assert {own.started for own in found.trials} == {0.0}
    alone = replay_search(packaged_table(), "infn", replace(search, workers=1))
    assert found.seconds < alone.seconds == pytest.approx(alone.busy_seconds)
