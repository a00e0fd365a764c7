"""A search that is replayed from a table follows the table's clock and what its study decides."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from space_context import context

from orchestrator import ReplayedSearch, replay_search
from orchestrator.simulation.portfolio import chosen_points, likely_merits, merits
from orchestrator.simulation.replay import nearest
from orchestrator.simulation.table import ResultTable, Trajectory, packaged_table, read_table, write_table
from search_spaces.recipes.portfolio import POINTS_FILE, portfolio_points
from trainables.common.errors import ConfigError, UnknownNameError

pytestmark = pytest.mark.slow


def trajectory(value: float, *, seconds: float = 1.0, epochs: int = 1) -> Trajectory:
    return Trajectory(((value, value),) * epochs, (seconds,) * epochs, value)


def head(name: str, **own: object) -> dict[str, object]:
    return {"model.backbone": "efficientnet_lite0", "classical.name": name, **own}


def table(**sets: tuple[Trajectory | None, ...]) -> ResultTable:
    settings = (
        head("logistic", **{"classical.c": 0.01}),
        head("logistic", **{"classical.c": 10.0}),
        head("lda"),
        head("none", **{"training.epochs": 12}),
    )
    facts = context(("efficientnet_lite0",)).model_dump(mode="json")
    return ResultTable(settings, sets, "search_spaces.image_classifier:image_classifier", facts, 2, {})


ONE = table(
    a=(
        trajectory(0.6),
        trajectory(0.9, seconds=2.0),
        trajectory(0.7),
        trajectory(0.8, seconds=3.0, epochs=12),
    ),
    b=(trajectory(0.9), None, trajectory(0.5), trajectory(0.9, seconds=3.0, epochs=12)),
)


def test_merit_lies_between_chance_and_the_best_of_a_set() -> None:
    assert merits(ONE).round(3).tolist() == [[0.25, 1.0, 0.5, 0.75], [1.0, 0.0, 0.0, 1.0]]


def far_apart() -> ResultTable:
    """The same results of configurations that have nothing to say about each other."""
    settings = tuple(
        {"classical.name": letter, **dict.fromkeys((f"{letter}{place}" for place in range(12)), 1)}
        for letter in "abcd"
    )
    return replace(ONE, settings=settings)


def test_the_first_point_is_good_everywhere_and_the_next_where_it_is_not() -> None:
    assert chosen_points(far_apart(), 4) == [3, 1, 0, 2]  # the highest mean, the best on a; then by the mean
    assert len(set(chosen_points(ONE, 4))) == 4


def test_one_of_four_points_may_be_a_trained_head_and_others_only_if_nothing_else_is_left() -> None:
    names = ("none", "none", "lda", "lda")
    settings = tuple(
        {**own, "classical.name": name} for own, name in zip(far_apart().settings, names, strict=True)
    )
    values = (0.9, 0.85, 0.8, 0.7)
    own = replace(ONE, settings=settings, sets={"a": tuple(map(trajectory, values))})
    assert chosen_points(own, 4) == [0, 2, 3, 1]


def test_one_of_four_points_may_need_a_slow_net_and_none_takes_images_of_another_side() -> None:
    own = ({"model.backbone": "vgg16"}, {"model.also": ("vgg16/top+1",)}, {"input.size_px": 224}, {})
    settings = tuple({**far, **added} for far, added in zip(far_apart().settings, own, strict=True))
    values = (0.9, 0.85, 0.95, 0.7)
    table = replace(ONE, settings=settings, sets={"a": tuple(map(trajectory, values))})
    assert chosen_points(table, 4) == [0, 3, 1]


def test_of_equal_points_the_quicker_is_chosen() -> None:
    assert chosen_points(far_apart().without("a"), 1) == [0]


def test_luck_counts_less_than_what_lies_near() -> None:
    lonely = {f"x{setting}": 1 for setting in range(12)}
    near = tuple({"y": setting, "z": 1} for setting in (1, 2, 3, 4, 5))
    values = (0.9, 0.86, 0.85, 0.86, 0.87, 0.5)  # the first by chance, the neighbours of the last are poor
    poor = tuple({**lonely, "x0": setting} for setting in (2, 3))
    settings = (lonely, *near[:4], *poor)
    own = replace(ONE, settings=settings, sets={"a": tuple(map(trajectory, (*values[:5], 0.5, 0.5)))})
    assert merits(own)[0].argmax() == 0
    assert chosen_points(own, 1)[0] in (1, 2, 3, 4)
    assert likely_merits(own).max() < 1.0


def test_the_clock_is_that_of_the_table() -> None:
    found = replay_search(ONE, "a", ReplayedSearch(trials=3, first=[2, 1, 0], workers=2))
    assert [(own.configuration, own.started, own.ended) for own in found.trials] == [
        (2, 0.0, 1.0),
        (1, 0.0, 2.0),
        (0, 1.0, 2.0),
    ]
    assert [own.distance for own in found.trials] == [0.0, 0.0, 0.0]
    assert [found.regret_after(count) for count in (0, 1, 2)] == pytest.approx([1.0, 0.5, 0.0])
    assert found.regret_at(1.5) == pytest.approx(0.5)


def test_a_configuration_that_failed_has_no_value_and_the_search_goes_on() -> None:
    found = replay_search(ONE, "b", ReplayedSearch(trials=2, first=[1, 0]))
    assert [own.value for own in found.trials] == [None, 0.9]


def test_a_search_is_repeated_by_its_seed_and_ends_where_it_is_told_to() -> None:
    search = ReplayedSearch(trials=6, seed=3, workers=4)
    assert replay_search(ONE, "a", search) == replay_search(ONE, "a", search)
    ended = replay_search(ONE, "a", ReplayedSearch(trials=6, seed=3, ends=lambda ended: len(ended) >= 2))
    assert len(ended.trials) == 2


def two_heads(*, seconds: float) -> ResultTable:
    """Two trained heads that differ in their cut: one good, one poor."""
    own = (trajectory(0.9, seconds=seconds, epochs=12), trajectory(0.55, seconds=seconds, epochs=12))
    settings = tuple(head("none", **{"model.cut": cut, "training.epochs": 12}) for cut in ("top", "top+1"))
    return replace(table(a=own), settings=settings)


def test_a_pruner_stops_trials_at_its_comparisons() -> None:
    found = replay_search(two_heads(seconds=1.0), "a", ReplayedSearch(trials=40, pruner="halving"))
    stopped = {trial.epochs for trial in found.trials if trial.value is None}
    assert 5 in stopped
    assert stopped <= {5, 10}
    whole = replay_search(two_heads(seconds=1.0), "a", ReplayedSearch(trials=40, pruner="none"))
    assert all(trial.value for trial in whole.trials)


def test_a_trial_whose_epochs_cost_next_to_nothing_is_finished() -> None:
    found = replay_search(two_heads(seconds=0.05), "a", ReplayedSearch(trials=20, pruner="halving"))
    assert all(trial.value for trial in found.trials)


def test_an_unknown_sampler_is_named() -> None:
    with pytest.raises(UnknownNameError, match="tpee"):
        replay_search(ONE, "a", ReplayedSearch(sampler="tpee"))


def test_what_cannot_be_replayed_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown set of the table 'c'.* Known: a, b"):
        replay_search(ONE, "c")
    with pytest.raises(ConfigError, match=r"configurations of the table, from 0 to 3, found \[4, -1\]"):
        replay_search(ONE, "a", ReplayedSearch(first=[0, 4, -1]))
    with pytest.raises(ConfigError, match="pruner wilcoxon needs 4 folds or more, the table has 2"):
        replay_search(ONE, "a", ReplayedSearch(pruner="wilcoxon"))
    with pytest.raises(ConfigError, match="needs workers from 1, found 0"):
        ReplayedSearch(workers=0)
    with pytest.raises(ConfigError, match="needs minutes above 0, found 0"):
        ReplayedSearch(minutes=0.0)


def test_a_proposal_is_answered_by_the_nearest_configuration_with_its_head() -> None:
    assert nearest(ONE, head("logistic", **{"classical.c": 0.1})) == (0, 1.0)
    assert nearest(ONE, head("logistic", **{"classical.c": 5.0})) == (1, pytest.approx(0.30103))
    assert nearest(ONE, head("lda", **{"classical.pca": 16}))[0] == 2


def test_a_proposal_of_a_head_that_the_table_lacks_is_answered_by_its_backbone() -> None:
    far = {"model.backbone": "vgg16"}
    own = replace(table(), settings=({**head("logistic"), **far}, {**head("none"), **far}, *ONE.settings[2:]))
    assert nearest(own, head("ridge", **{"classical.c": 0.1}))[0] == 2
    assert nearest(own, {**head("knn"), **far})[0] == 0


def test_a_table_is_read_as_it_was_written_and_equal_tables_are_equal_files(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_table(ONE, tmp_path / name)
    assert read_table(tmp_path / "one") == ONE
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_the_points_of_a_search_are_those_that_the_packaged_table_gives() -> None:
    found = packaged_table()
    chosen = [dict(found.settings[index]) for index in chosen_points(found, len(portfolio_points()))]
    assert POINTS_FILE.stat().st_size < 50_000
    assert json.loads(POINTS_FILE.read_text())["points"] == chosen


def test_first_points_chosen_on_other_sets_beat_random_ones() -> None:
    found = packaged_table()
    first = {name: chosen_points(found.without(name), 8) for name in found.sets}
    begun = [
        replay_search(found, name, ReplayedSearch(trials=8, first=first[name])).regret for name in found.sets
    ]
    plain = [
        replay_search(found, name, ReplayedSearch(trials=8, seed=seed, sampler="random")).regret
        for name in found.sets
        for seed in range(3)
    ]
    assert sum(begun) / len(begun) < sum(plain) / len(plain)
