"""What past results have taught holds all that was ever good, and narrows new searches only."""

import json

import optuna
import pytest
from space_context import context

from orchestrator.simulation.learning import good_values, ranges_of
from orchestrator.simulation.table import ResultTable, packaged_rates, packaged_table
from search_spaces.context import SpaceContext
from search_spaces.image_classifier import LEARNING_RATES, image_classifier
from search_spaces.learned import LEARNED_FILE, learned_ranges

LINEAR_OR_HIDDEN = [f"optimizer.lr@{name}+{kind}" for name in LEARNING_RATES for kind in ("hidden", "linear")]


@pytest.fixture(scope="module")
def tables() -> tuple[ResultTable, ResultTable]:
    return packaged_table(), packaged_rates()


def test_the_file_is_what_the_tables_give(tables: tuple[ResultTable, ResultTable]) -> None:
    assert dict(learned_ranges()) == ranges_of(tables)
    assert json.loads(LEARNED_FILE.read_text())["made"]["command"] == "python -m benchmarks.portfolio learn"


def test_all_that_was_ever_good_lies_inside_the_ranges(tables: tuple[ResultTable, ResultTable]) -> None:
    good, ranges = good_values(tables), learned_ranges()
    assert set(ranges) == {name for name, values in good.items() if values}
    assert set(LINEAR_OR_HIDDEN) <= set(ranges)
    outside = {
        name: value
        for name, values in good.items()
        for value in values
        if not ranges[name][0] <= value <= ranges[name][1]
    }
    assert not outside
    assert sum(len(values) for values in good.values()) > 100


def proposed(facts: SpaceContext, count: int = 60) -> list[optuna.trial.FrozenTrial]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    found = []
    for _ in range(count):
        trial = study.ask()
        image_classifier(trial, facts)
        found.append(study.trials[-1])
    return found


def test_the_learning_rate_of_a_head_on_frozen_features_has_a_range_for_optimiser_and_head() -> None:
    facts = context(("efficientnet_lite0",)).model_copy(update={"ranges": learned_ranges()})
    seen = set()
    for trial in proposed(facts, 200):
        if "optimizer.name" not in trial.params:
            continue
        (rate,) = (name for name in trial.params if name.startswith("optimizer.lr@"))
        trains = trial.params.get("model.trained_stages@efficientnet_lite0", 0) != 0
        kind = "linear" if trial.params["model.head.hidden"] == "none" else "hidden"
        name = trial.params["optimizer.name"]
        assert rate == (f"optimizer.lr@{name}" if trains else f"optimizer.lr@{name}+{kind}")
        if not trains:
            low, high = learned_ranges()[rate]
            assert low <= trial.params[rate] <= high
            seen.add(rate)
    assert seen == set(LINEAR_OR_HIDDEN)


def test_a_search_of_an_earlier_version_keeps_its_parameters_and_their_ranges() -> None:
    recorded = context(("efficientnet_lite0",)).model_dump(mode="json")
    assert recorded.pop("ranges") == {}
    ranges = {
        name: (own.low, own.high)
        for trial in proposed(SpaceContext.model_validate(recorded))
        for name, own in trial.distributions.items()
        if name.startswith("optimizer.lr@")
    }
    assert ranges == {f"optimizer.lr@{name}": ends for name, ends in LEARNING_RATES.items()}
