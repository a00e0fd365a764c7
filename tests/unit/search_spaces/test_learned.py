"""What past results have taught holds all that was ever good, and narrows new searches only."""

import json

import optuna
import pytest
from optuna.distributions import FloatDistribution
from space_context import context

from orchestrator.simulation.learning import good_values, ranges_of, tried_of
from orchestrator.simulation.portfolio import likely_merits
from orchestrator.simulation.table import ResultTable, packaged_rates, packaged_table
from search_spaces.context import SpaceContext
from search_spaces.enqueue import InitialPoint, matching_params
from search_spaces.fixed_params import FixedParamsTrial
from search_spaces.image_classifier import LEARNING_RATES, image_classifier
from search_spaces.learned import LEARNED_FILE, learned_ranges, tried_elsewhere, tried_space
from search_spaces.recipes.portfolio import portfolio_points

LINEAR_OR_HIDDEN = [f"optimizer.lr@{name}+{kind}" for name in LEARNING_RATES for kind in ("hidden", "linear")]


@pytest.fixture(scope="module")
def tables() -> tuple[ResultTable, ResultTable]:
    return packaged_table(), packaged_rates()


def test_the_file_is_what_the_tables_give(tables: tuple[ResultTable, ResultTable]) -> None:
    assert dict(learned_ranges()) == ranges_of(tables)
    assert json.loads(LEARNED_FILE.read_text())["made"]["command"] == "python -m benchmarks.portfolio learn"


def test_what_was_tried_elsewhere_is_what_the_table_gives(tables: tuple[ResultTable, ResultTable]) -> None:
    table = tables[0]
    assert [(dict(own.settings), own.merit) for own in tried_elsewhere()] == [
        (own.settings, own.merit) for own in tried_of(table)
    ]
    assert tried_space() == table.space
    best = max(tried_elsewhere(), key=lambda own: own.merit)
    assert best.merit == pytest.approx(likely_merits(table).mean(axis=0).max(), abs=1e-4)


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


def rate_of(facts: SpaceContext, optimizer: str, hidden: str) -> tuple[str, float, FloatDistribution]:
    """Parameter, value and range of the learning rate that is proposed for a head on frozen features."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2)).ask()
    held = {
        "classical.name": "none",
        "model.trained_stages": 0,
        "model.head.hidden": hidden,
        "optimizer.name": optimizer,
    }
    # FixedParamsTrial has all methods by which a space asks a trial, without being one.
    image_classifier(FixedParamsTrial(trial, held), facts)  # type: ignore[arg-type]  # see above
    ((name, value),) = ((name, own) for name, own in trial.params.items() if name.startswith("optimizer.lr@"))
    found = trial.distributions[name]
    assert isinstance(found, FloatDistribution)
    return name, value, found


@pytest.mark.parametrize("optimizer", LEARNING_RATES)
@pytest.mark.parametrize(("hidden", "kind"), [("none", "linear"), ("256", "hidden")])
def test_the_learning_rate_of_a_head_on_frozen_features_has_a_range_for_optimiser_and_head(
    optimizer: str, hidden: str, kind: str
) -> None:
    facts = context(("efficientnet_lite0",))
    name, value, own = rate_of(facts.model_copy(update={"ranges": learned_ranges()}), optimizer, hidden)
    assert name == f"optimizer.lr@{optimizer}+{kind}"
    assert (own.low, own.high) == learned_ranges()[name]
    assert own.low <= value <= own.high
    recorded = facts.model_dump(mode="json")
    assert recorded.pop("ranges") == {}  # as in a search of an earlier version, which goes on as it began
    name, value, own = rate_of(SpaceContext.model_validate(recorded), optimizer, hidden)
    assert (name, (own.low, own.high)) == (f"optimizer.lr@{optimizer}", LEARNING_RATES[optimizer])


@pytest.mark.parametrize("place", range(len(portfolio_points())))
def test_a_sampler_learns_all_that_a_learned_first_point_holds(place: int) -> None:
    """What the space could not propose stays unknown to the sampler, such as taps in another list."""
    settings = portfolio_points()[place]
    point = InitialPoint("portfolio", settings)
    nets = ("efficientnet_lite0", "vgg16", "intensity", "texture")
    params = matching_params(image_classifier, context(nets), point.configure({}, epochs=30))
    known = {name.partition("@")[0] for name in params}
    is_closed = settings["classical.name"] != "none"
    own = {"classical.pca", "model.also"} if is_closed else {"optimizer.name"}
    assert {"model.backbone", "model.cut", "classical.name"} | own <= known
