"""What a plan knows of a configuration: the passes that a search prices, and besides bytes and heads."""

import math
from pathlib import Path
from typing import Any

import pytest

from orchestrator.estimate.cost_model import CostModel
from orchestrator.estimate.drawn_search import simulate_search
from orchestrator.preflight.feasibility import TrialBudget, find_feasible_models
from orchestrator.preflight.pricing import prices_of
from orchestrator.reporting.compute_savings import count_images
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import make_split
from trainables.models.registry import backbone_named
from trainables.models.weights import Inventory
from trainables.runtime.devices import choose_device
from trainables.training.cost import Cost
from trainables.training.cost_probe import EpochCost

STEPS = {"efficientnet_lite0": 0.02, "vgg16": 0.2, "texture": math.inf}
COSTS = {
    name: Cost(forward, None, dict.fromkeys(backbone_named(name).levels, STEPS[name]), larger=larger)
    for name, forward, larger in (
        ("efficientnet_lite0", 0.01, (224, 0.05)),
        ("vgg16", 0.1, None),
        ("texture", 0.001, None),
    )
} | {"scratch4": Cost(0.01, 0.03, {})}
CLOSED = {"model.backbone": "efficientnet_lite0", "classical.name": "lda", "training.epochs": 30}
NET = {"model.backbone": "efficientnet_lite0", "training.epochs": 10, "training.augmentation": "flips"}


@pytest.fixture
def model(bright_patches: PatchSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CostModel:
    """A cost model on a machine where heads cost nothing."""
    monkeypatch.setattr(
        "orchestrator.estimate.cost_model.measure_epoch", lambda *_, **__: EpochCost(0.0, 1000)
    )
    monkeypatch.setattr("orchestrator.estimate.cost_model.measure_fits", lambda *_, **__: 0.0)
    task, device = task_named("benign_malignant"), choose_device(0.0)
    rows = select_rows(bright_patches, task)
    split = make_split(
        rows, fingerprint=bright_patches.fingerprint, task=task.name, folds=3, test_share=0.25, seed=0
    )
    images = count_images(split, task.classes)
    budget = TrialBudget(
        images.stored, 36, images.trained, images.predicted, 10, 1e6, slots=1, is_forced=True
    )
    inventory = Inventory(dict.fromkeys(COSTS), {})
    feasible = find_feasible_models(inventory, COSTS, bright_patches, device, budget)
    return CostModel(
        patch_set=bright_patches,
        rows=rows,
        split=split,
        inventory=inventory,
        feasible=feasible,
        prices=prices_of(feasible, images),
        store=tmp_path,
        device=device,
        crowding=1.0,
    )


def test_a_head_on_several_backbones_counts_the_passes_keys_and_bytes_of_each(model: CostModel) -> None:
    also = ["efficientnet_lite0/top+1", "vgg16/top", "texture/top"]
    alone = model.cost_of(decode(CLOSED), is_recipe=False)
    cost = model.cost_of(decode({**CLOSED, "model.also": also}), is_recipe=False)
    assert [own.backbone for own in alone.passes] == ["efficientnet_lite0"]
    assert cost.backbones == ("efficientnet_lite0", "vgg16", "texture")
    assert [own.backbone for own in cost.passes] == list(cost.backbones)  # each net once, in the plain view
    assert {model.keys[own.key].backbone for own in cost.passes} == {*cost.backbones}
    assert [str(tap) for tap in cost.passes[0].taps] == ["conv_head.gap", "block7.gap"]
    outcome = simulate_search([(cost, cost.epochs)], frozenset())
    assert len({key for key, _ in outcome.passes}) == len(outcome.passes) == 3
    seconds = {"efficientnet_lite0": 0.01, "vgg16": 0.1, "texture": 0.001}
    assert outcome.prefix_seconds == pytest.approx({name: 48 * own for name, own in seconds.items()})
    stored = {own.backbone: sum(own.fills.values()) for own in cost.passes}
    assert outcome.stored_bytes == stored
    assert stored["vgg16"] >= 48 * 512 * 2
    assert cost.memory_bytes > alone.memory_bytes + 36 * 512 * 4


@pytest.mark.parametrize(
    "settings",
    [
        {**CLOSED, "model.also": ["efficientnet_lite0/top+1", "vgg16/top", "texture/top"]},
        {**CLOSED, "input.size_px": 150},  # between the sides that were measured
        {**CLOSED, "input.contrast": 2.0, "input.contrast_test": 1.0},
        {**NET, "training.average_views": True},
        {**NET, "training.augment_last": 3},
        {**NET, "model.trained_stages": 1, "training.repeats": 2, "training.first_phase": "head"},
        {**NET, "model.backbone": "scratch4", "model.weights": "random", "model.trained_stages": "all"},
    ],
)
def test_a_plan_and_a_search_say_the_same_seconds_of_passes_and_trained_stages(
    model: CostModel, settings: dict[str, Any]
) -> None:
    config = decode(settings)
    cost, price = model.cost_of(config, is_recipe=False), model.prices(config)
    outcome = simulate_search([(cost, cost.epochs)], frozenset())
    assert price.seconds > 0
    assert len(outcome.passes) == len(price.passes)
    assert sum(outcome.prefix_seconds.values()) == pytest.approx(price.pass_seconds)
    assert cost.epochs * cost.epoch_seconds == pytest.approx(price.training)


def test_a_step_that_was_not_measured_is_guessed_by_a_search_and_measured_by_a_plan(
    model: CostModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = decode({**NET, "model.trained_stages": 2})
    guessed = model.prices(config).training
    monkeypatch.setattr("orchestrator.estimate.cost_model.measure_step", lambda *_: 3 * 0.01)
    assert 10 * model.cost_of(config, is_recipe=False).epoch_seconds == pytest.approx(guessed)
    monkeypatch.setattr("orchestrator.estimate.cost_model.measure_step", lambda *_: 6 * 0.01)
    assert 10 * model.cost_of(config, is_recipe=False).epoch_seconds == pytest.approx(2 * guessed)


def test_a_closed_form_head_is_fitted_once_and_no_trained_head_is_timed_for_it(
    model: CostModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []

    def fits(config: TrialConfig, columns: int, **_: Any) -> float:
        seen.append((config.classical.name, columns))
        return 0.5

    def no_head(*_: Any, **__: Any) -> EpochCost:
        raise AssertionError("a trained head was timed")

    monkeypatch.setattr("orchestrator.estimate.cost_model.measure_fits", fits)
    monkeypatch.setattr("orchestrator.estimate.cost_model.measure_epoch", no_head)
    cost = model.cost_of(decode({**CLOSED, "model.also": ["vgg16/top"]}), is_recipe=True)
    assert (cost.epochs, cost.epoch_seconds) == (1, 0.5)
    assert seen == [("lda", 1280 + 512)]
