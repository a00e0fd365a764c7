"""What a configuration costs here: each pass by itself, and the steps of stages that train."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from records import search_record
from space_context import context
from split_data import split_in_three, three_folds

from orchestrator.preflight.pricing import MeasuredPrices, lasting, passes_of, stored_passes
from orchestrator.reporting.compute_savings import Images
from orchestrator.study.price import Pass
from orchestrator.tuning.setup import allowance_of
from results.run.records import SearchRecord
from trainables.config.feature_storage import Kind
from trainables.config.tasks import task_named
from trainables.config.trial_config import InputConfig, decode
from trainables.data.patches import PatchSet, select_rows
from trainables.features.keys import PrefixKey
from trainables.features.loading import open_features
from trainables.features.store import PrefixStore
from trainables.models.registry import backbone_named
from trainables.models.taps import Tap
from trainables.preprocessing.transforms import transform_spec
from trainables.preprocessing.views import IDENTITY, View
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.cost import Cost

LITE = "efficientnet_lite0"

COSTS = {
    "vgg16": Cost(0.1, None, {"block5_pool": 0.02}),
    "efficientnet_lite0": Cost(0.01, None, {}),
    "scratch4": Cost(0.01, 0.03, {}),
}
PRICES = MeasuredPrices(
    COSTS,
    {"vgg16": 100, "efficientnet_lite0": 100, "scratch4": 100},
    Images(trained=300, predicted=100, stored=120),
)
NET = {"model.backbone": "vgg16", "training.epochs": 10, "training.augmentation": "none"}


def passes(**settings: Any) -> dict[Pass, float]:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return dict(PRICES(decode({**NET, **named})).passes)


def test_a_frozen_net_passes_each_image_once_in_the_plain_view() -> None:
    price = PRICES(decode(NET))
    assert price.passes == {Pass("vgg16", 100, 1.0, "d4-0"): pytest.approx(12.0)}
    assert price.training == 0.0
    assert price.seconds == pytest.approx(12.0)


def test_each_view_is_a_pass_and_a_larger_side_another_one() -> None:
    found = passes(training__augmentation="d4", input__size_px=200)
    assert len(found) == 8
    assert {own.size_px for own in found} == {200}
    assert list(found.values()) == pytest.approx([48.0] * 8)


def test_training_and_prediction_may_see_another_contrast() -> None:
    found = passes(input__contrast=2.0, input__contrast_test=1.0)
    assert {own.contrast for own in found} == {1.0, 2.0}
    assert passes(input__contrast=2.0).keys() == {Pass("vgg16", 100, 2.0, "d4-0")}


def test_taps_of_one_net_share_a_pass_and_another_net_has_its_own() -> None:
    head = {"classical.name": "lda", "model.also": "vgg16/top+1,efficientnet_lite0/top,texture/top"}
    price = PRICES(decode({"model.backbone": "vgg16", **head}))
    assert {own.backbone: seconds for own, seconds in price.passes.items()} == {
        "vgg16": pytest.approx(12.0),
        "efficientnet_lite0": pytest.approx(1.2),
    }
    assert price.training == 0.0


def test_other_pixels_are_another_pass() -> None:
    assert not passes().keys() & passes(input__clahe=2.0).keys()
    assert not passes().keys() & passes(input__scaling="unit").keys()


def test_a_net_that_trains_has_steps_in_every_epoch() -> None:
    last = PRICES(decode({**NET, "model.trained_stages": 1}))
    assert last.training == pytest.approx(10 * 0.02 * (300 + 100 / 3))
    scratch = PRICES(
        decode(
            {**NET, "model.backbone": "scratch4", "model.weights": "random", "model.trained_stages": "all"}
        )
    )
    assert scratch.passes == {}
    assert scratch.training == pytest.approx(10 * 0.03 * (300 + 100 / 3))


def test_what_is_not_measured_costs_nothing() -> None:
    assert PRICES(decode({**NET, "model.backbone": "resnet50"})).seconds == 0.0


def test_a_record_keeps_no_infinite_steps(tmp_path: Path) -> None:
    fixed = Cost(0.1, None, {"top": math.inf, "block": 0.2}, larger=(224, 0.4))
    assert lasting(fixed) == dataclasses.replace(fixed, last_stage={"block": 0.2})


def test_the_columns_of_a_head_are_those_of_all_its_taps() -> None:
    def columns(**settings: Any) -> int:
        named = {name.replace("__", "."): value for name, value in settings.items()}
        return PRICES(decode({"model.backbone": "vgg16", **named})).columns

    assert columns() == 512
    assert columns(model__head__pooling="flatten") == 512 * 3 * 3  # 100 px, halved five times
    assert columns(model__head__pooling="flatten", input__size_px=224) == 512 * 7 * 7
    both: dict[str, Any] = {"classical__name": "lda", "model__also": ("efficientnet_lite0/top",)}
    assert columns(**both) == 512 + 1280
    assert columns(**both, model__head__pooling="flatten") == 512 * 3 * 3 + 1280  # further taps are averaged
    assert (
        PRICES(
            decode({"model.backbone": "scratch4", "model.weights": "random", "model.trained_stages": "all"})
        ).columns
        == 0
    )


def head_seconds(*, has_gpu: bool = False, **settings: Any) -> float:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return dataclasses.replace(PRICES, has_gpu=has_gpu)(decode({**NET, **named})).head


def test_a_trained_head_takes_its_steps_and_grows_with_its_weights() -> None:
    """Five steps of 64 in each of ten epochs of 300 images; 512 columns of VGG16."""
    layer = {"training__batch_size": 64, "model__head__hidden": "128"}
    weights = 512 * 128 + 128 * 2
    assert head_seconds(**layer) == pytest.approx(50 * (1e-3 + 2e-10 * weights * 84))
    assert head_seconds(**layer, training__repeats=2) == pytest.approx(2 * head_seconds(**layer))
    wide = {**layer, "model__head__hidden": "1024-512"}
    flat = head_seconds(**wide, model__head__pooling="flatten")
    assert flat > 4 * head_seconds(**wide)
    assert head_seconds(**wide, model__head__pooling="flatten", has_gpu=True) < flat / 5


def test_only_a_head_alone_is_guessed() -> None:
    assert head_seconds(classical__name="lda") == 0.0  # learned from others
    assert head_seconds(model__trained_stages=1) == 0.0  # measured


def make_pass(
    patches: PatchSet,
    store: Path,
    settings: Mapping[str, Any],
    *,
    images: int = 48,
    weights: str = "w",
    kind: Kind = "float16",
) -> None:
    """Store features of the plain view of an EfficientNet, as a trial with these settings would."""
    config, net = decode({"model.backbone": LITE, **settings}), backbone_named(LITE)
    spec = transform_spec(config, net, patches.images.shape[1:], patches.max_value, is_test=False)
    rows = select_rows(patches, task_named("benign_malignant")).rows[:images]

    def compute(view: View, taps: Sequence[Tap]) -> Iterator[tuple[int, dict[Tap, torch.Tensor]]]:
        yield 0, {tap: torch.ones(images, 3) for tap in taps}

    key = PrefixKey(patches.fingerprint, rows, LITE, weights, spec.as_key(), kind)
    PrefixStore(store).views(key, [IDENTITY], Tap("top", is_pooled=True), also=(), compute=compute)


def a_search(patches: PatchSet, store: Path, **options: Any) -> SearchRecord:
    facts = context((LITE,)).model_copy(update={"sizes_px": {LITE: 48}}).model_dump(mode="json")
    return search_record(
        fingerprint=patches.fingerprint,
        store=str(store),
        space_context=facts,
        weights={LITE: "w"},
        minutes=10.0,
        **options,
    )


CLAHE = {"input.clahe": 2.0}
HELD = {"fixed_params": CLAHE}


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, {}),
        ({"input.contrast": 2.0}, {}),
        ({"input.size_px": 64}, {}),
        ({"input.contrast": 1.5, **CLAHE}, HELD),
        ({"input.scaling": "unit"}, {"fixed_params": {"input.scaling": "unit", "classical.name": "lda"}}),
    ],
    ids=str,
)
def test_a_pass_that_is_stored_for_the_same_images_weights_and_settings_is_made(
    bright_patches: PatchSet, tmp_path: Path, settings: dict[str, Any], options: dict[str, Any]
) -> None:
    make_pass(bright_patches, tmp_path / "store", settings)
    config = decode({"model.backbone": LITE, "training.augmentation": "none", **settings})
    found = stored_passes(a_search(bright_patches, tmp_path / "store", **options))
    assert found == {*passes_of(config, {LITE: 48})}


@pytest.mark.parametrize(
    ("made", "options"),
    [
        ({"images": 40}, {}),
        ({"weights": "others"}, {}),
        ({"kind": "float32"}, {}),
        ({}, {"features": "float32"}),
        ({"settings": CLAHE}, {}),
        ({}, HELD),
        ({"settings": {"input.scaling": "unit"}}, {}),
    ],
    ids=["other images", "other weights", "wider", "to be wider", "equalised", "to be equalised", "scaled"],
)
def test_features_of_another_key_are_no_pass_of_the_search(
    bright_patches: PatchSet, tmp_path: Path, made: dict[str, Any], options: dict[str, Any]
) -> None:
    make_pass(bright_patches, tmp_path / "store", **({"settings": {}} | made))
    assert stored_passes(a_search(bright_patches, tmp_path / "store", **options)) == frozenset()


def test_features_that_trials_store_are_passes_of_the_search(
    bright_patches: PatchSet, tmp_path: Path
) -> None:
    data = split_in_three(bright_patches)
    head = {"model.backbone": "intensity", "classical.name": "lda", "training.augmentation": "none"}
    config = decode({**head, "training.average_views": False})
    open_features(config, data, TrialRuntime(tmp_path / "store", torch.device("cpu"), {"intensity": None}))
    facts = context(("intensity",)).model_copy(update={"sizes_px": {"intensity": 48}})
    record = search_record(
        fingerprint=bright_patches.fingerprint,
        store=str(tmp_path / "store"),
        space_context=facts.model_dump(mode="json"),
    )
    assert stored_passes(record) == {*passes_of(config, {"intensity": 48})}


@pytest.mark.parametrize(("features", "cost"), [("float16", 0.0), ("off", 4.8)])
def test_a_search_that_keeps_no_features_pays_each_pass_again(
    bright_patches: PatchSet, tmp_path: Path, features: str, cost: float
) -> None:
    make_pass(bright_patches, tmp_path / "store", {})
    record = a_search(bright_patches, tmp_path / "store", features=features)
    record = record.model_copy(update={"costs": {LITE: Cost(0.1, None, {})}})
    allowance = allowance_of(record, three_folds(bright_patches))
    plain = decode({"model.backbone": LITE, "training.augmentation": "none", "classical.name": "lda"})
    assert allowance.cost(plain) == pytest.approx(cost)
    other = plain.model_copy(update={"input": InputConfig(contrast=2.0)})
    assert allowance.cost(other) == pytest.approx(4.8)
    allowance.begin_trial(0, other)
    allowance.open_trial(0)
    allowance.end_trial(0)
    assert allowance.cost(other) == pytest.approx(cost)
