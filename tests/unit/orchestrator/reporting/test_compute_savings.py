"""What sharing frozen prefixes saved."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from orchestrator.reporting.compute_savings import (
    ComputeSavings,
    Images,
    count_images,
    plain_passes,
    savings_from_sharing,
    savings_message,
)
from results.run.records import TrialRecord
from trainables.data.patches import TaskRows
from trainables.data.splits import make_split
from trainables.features.feature_use import FeatureUse

IMAGES = Images(trained=300, predicted=100, stored=120)


def use(**fields: Any) -> FeatureUse:
    shared: dict[str, Any] = {"kind": "stored views", "stage": "top", "views": 8, "computed": 0, "read": 16}
    return FeatureUse(**(shared | fields))


def record(number: int, prefix: FeatureUse | None, **fields: Any) -> TrialRecord:
    return TrialRecord(
        number=number,
        state="pruned",
        config={"model.backbone": "resnet50"} | fields.pop("config", {}),
        prefix=prefix,
        epochs=fields.pop("epochs", 5),
        fingerprint="f",
        seed=0,
        finished_at=datetime(2026, 1, 1, tzinfo=UTC),
        **fields,
    )


def test_a_plain_search_trains_on_one_view_and_predicts_as_many_as_were_averaged() -> None:
    # Ten epochs; 100 images, each trained on in three folds and held out in one, in eight views.
    passes = plain_passes(epochs=10, models=1, trained=300, predicted=100, prediction_views=8)
    assert passes == 10 * (300 + 800)


def test_a_plain_search_runs_each_model_of_a_fold_by_itself() -> None:
    saved = savings_from_sharing([record(0, use(), config={"training.repeats": 3})], IMAGES)
    assert saved.plain_passes == 3 * 5 * (300 + 800)


def test_a_trial_without_averaging_predicts_one_view() -> None:
    saved = savings_from_sharing([record(0, use(read=9))], IMAGES)
    assert saved.plain_passes == 5 * (300 + 100)


def test_a_plain_search_sends_each_image_once_through_each_net_of_a_closed_form_head() -> None:
    config = {"classical.name": "lda", "model.also": ["resnet50/layer3", "vgg16/top", "vgg16/top+1"]}
    uses = use(views=1, read=8, seconds_per_image=0.25)
    saved = savings_from_sharing([record(0, uses, config=config, epochs=1)], IMAGES)
    assert saved.plain_passes == 2 * (300 + 100)
    assert saved.plain_seconds == pytest.approx(2 * (300 + 100) * 0.25)


def test_passes_that_ran_count_the_sealed_images_too() -> None:
    records = [record(0, use(computed=8)), record(1, use(computed=2))]
    assert savings_from_sharing(records, IMAGES).passes == 10 * 120


def test_a_trial_that_trains_from_pixels_saves_nothing() -> None:
    online = FeatureUse(kind="online pixels", stage=None, views=8, computed=0, read=0)
    saved = savings_from_sharing([record(0, online), record(1, None)], IMAGES)
    assert saved == ComputeSavings(0, 0, 0, None, None)
    assert savings_message(saved) == ""


def test_time_is_left_out_where_no_prefix_was_measured() -> None:
    saved = savings_from_sharing([record(0, use(computed=8))], IMAGES)
    assert (saved.plain_seconds, saved.seconds) == (None, None)
    assert "device time" not in savings_message(saved)


def test_a_search_on_a_warm_store_ran_no_pass_and_divides_by_none() -> None:
    text = savings_message(savings_from_sharing([record(0, use())], IMAGES))
    assert text == "0 frozen forward passes, a plain search 5,500"


def test_images_are_counted_from_the_split() -> None:
    labels = np.tile([0, 1], 20).astype(np.int64)
    groups = np.array([f"p{index // 2:02d}" for index in range(40)])
    rows = TaskRows(np.arange(40), labels, groups, None, True)
    split = make_split(rows, fingerprint="f", task="benign_malignant", folds=4, test_share=0.2, seed=0)
    assert count_images(split, ("benign", "malignant")) == Images(trained=96, predicted=32, stored=40)


def test_a_hold_out_trains_on_what_it_does_not_predict() -> None:
    labels = np.tile([0, 1], 20).astype(np.int64)
    groups = np.array([f"p{index // 2:02d}" for index in range(40)])
    rows = TaskRows(np.arange(40), labels, groups, None, True)
    split = make_split(
        rows, fingerprint="f", task="benign_malignant", folds=1, test_share=0.2, seed=0, holdout=0.25
    )
    assert count_images(split, ("benign", "malignant")) == Images(trained=24, predicted=8, stored=40)


def test_device_time_is_that_of_each_trials_own_prefix() -> None:
    records = [
        record(0, use(computed=8, computed_seconds=9.6, seconds_per_image=0.01)),
        record(1, use(seconds_per_image=0.002)),
    ]
    saved = savings_from_sharing(records, IMAGES)
    assert saved.plain_seconds == pytest.approx(5 * 1100 * (0.01 + 0.002))
    assert saved.seconds == pytest.approx(9.6)
    assert savings_message(saved).endswith("0:09 of device time for 1:06")
