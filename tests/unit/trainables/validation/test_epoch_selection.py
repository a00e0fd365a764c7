"""The kept epoch: chosen by a loss that weighs classes as training does, fold by fold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from results.scores.metrics import scores
from trainables.config.trial_config import decode
from trainables.data.patches import PatchSet
from trainables.data.split_record import TRAINING
from trainables.data.training_data import TrainingData
from trainables.training.folds import training_positions
from trainables.training.losses import class_weights, learned_weights
from trainables.validation.epoch_selection import EpochRecord, Judge, Judgement

FOLDS = 3
WEIGHTED = {
    "7": {"class_weight": 7.0},
    "100": {"class_weight": 100.0},
    "less than one": {"class_weight": 0.1},
    "balanced": {"class_weight": "balanced"},
    "other share": {"class_weight": "other_share"},
    "over-sampled": {"sampling": "over"},
    "under-sampled": {"sampling": "under"},
    "both": {"sampling": "over", "class_weight": 4.0},
    "a part of the patients": {"class_weight": "balanced", "train_fraction": 0.5},
}


def drawn(shares: Sequence[float], *, images: int = 1200, is_holdout: bool = False) -> TrainingData:
    """Labels in folds whose class shares differ, and no images."""
    random = np.random.default_rng(0)
    places = np.arange(images)
    folds = places % FOLDS
    tilted = np.array(shares)[None] * np.linspace(0.7, 1.3, FOLDS)[:, None] ** np.arange(len(shares))
    cuts = (tilted / tilted.sum(axis=1, keepdims=True)).cumsum(axis=1)[folds]
    labels = (random.random(images)[:, None] > cuts).sum(axis=1).clip(max=len(shares) - 1)
    if is_holdout:
        folds = np.where(folds == 0, 0, TRAINING)
    patch_set = PatchSet(
        np.zeros((images, 1), np.float32), labels, "task", None, None, None, "drawn", True, "", max_value=1.0
    )
    return TrainingData(
        patch_set, places, places, labels, (places // 4).astype(np.str_), folds, classes=len(shares)
    )


def record_of(
    data: TrainingData,
    metric: str = "auc",
    *,
    higher: bool = True,
    more: dict[str, Any] | None = None,
    **training: Any,
) -> EpochRecord:
    settings = {f"training.{name}": value for name, value in training.items()} | (more or {})
    config = decode({"model.backbone": "table", "training.patience": None} | settings)

    def mean_of_folds(labels: Any, probabilities: Any, folds: Any, groups: Any) -> Judgement:
        parts = [folds == fold for fold in np.unique(folds)]
        by_fold = tuple(scores(labels[part], probabilities[part])[metric] for part in parts)
        return Judgement(float(np.mean(by_fold)), by_fold)

    return EpochRecord(config, data, score=scores, metric=metric, judge=Judge(mean_of_folds, higher))


def learning_curve(record: EpochRecord, epochs: int) -> list[list[NDArray[np.float32]]]:
    """Predictions of a model that ranks better with each epoch, and soon learns the prior of its training.

    From the third epoch on it is what a perfect learner of a weighted loss would be.
    """
    data, training = record.training_data, record.training
    curve = []
    for epoch in range(1, epochs + 1):
        found = []
        for fold, own in enumerate(record.held_out):
            labels = data.labels[own]
            share = training.train_fraction
            trained = training_positions(data.folds, data.labels, data.groups, fold, share=share)
            counts = np.bincount(data.labels[trained], minlength=data.classes)
            prior = np.log(counts / counts.sum())
            weights = learned_weights(
                training.class_weight, training.sampling, data.labels[trained], data.classes
            )
            prior = min(1.0, epoch / 3) * (prior + np.log(weights))
            distance = epoch / epochs  # of Gaussian evidence, and the better the longer it trains
            evidence = np.random.default_rng(fold).normal(size=(len(own), data.classes))
            evidence = distance * evidence + distance**2 * np.eye(data.classes)[labels]
            logits = evidence + prior
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            found.append((odds / odds.sum(axis=1, keepdims=True)).astype(np.float32))
        curve.append(found)
    return curve


def no_weights(fold: int) -> list[Any]:
    return []


@pytest.mark.parametrize("is_holdout", [False, True], ids=["folds", "hold-out"])
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.85, 0.15), (0.5, 0.3, 0.2)], ids=str)
@pytest.mark.parametrize("training", WEIGHTED.values(), ids=WEIGHTED.keys())
def test_the_kept_epoch_does_not_move_with_the_prior_that_training_learns(
    training: dict[str, Any], shares: tuple[float, ...], is_holdout: bool
) -> None:
    record = record_of(drawn(shares, is_holdout=is_holdout), **training)
    told = [record.add(None, found, no_weights).value for found in learning_curve(record, 10)]
    assert record.best is not None
    assert record.best.epoch == 10
    assert told == sorted(told)
    assert told[-1] == record.best.value > 0.7


def test_the_unweighted_loss_of_keras_keeps_an_untrained_epoch() -> None:
    record = record_of(drawn((0.5, 0.5)), class_weight=7.0, checkpoint_metric="unweighted_loss")
    for found in learning_curve(record, 10):
        told = record.add(None, found, no_weights).value
    assert record.best is not None
    assert record.best.epoch == 1
    assert told == record.best.value < 0.6


def test_without_weights_both_losses_are_one() -> None:
    data = drawn((0.7, 0.3))
    plain, keras = record_of(data), record_of(data, checkpoint_metric="unweighted_loss")
    for found in learning_curve(plain, 5):
        for record in (plain, keras):
            record.add(None, found, no_weights)
    assert plain.losses == pytest.approx(keras.losses, abs=1e-12)


def of_breasts() -> TrainingData:
    """In each fold 20 benign breasts of one image and 10 malignant ones of three."""
    images, classes = np.tile([1] * 20 + [3] * 10, FOLDS), np.tile([0] * 20 + [1] * 10, FOLDS)
    units = np.repeat(np.arange(len(images)), images)
    labels, folds = classes[units], units // 30
    places = np.arange(len(units))
    patch_set = PatchSet(
        np.zeros((len(units), 1), np.float32), labels, "task", None, None, None, "", True, "", max_value=1.0
    )
    return TrainingData(
        patch_set, places, places, labels, units.astype(np.str_), folds, 2, unit="breast", units=units
    )


@pytest.mark.parametrize(
    "weights", [{}, {"class_weight": "balanced"}, {"class_weight": 7.0}, {"sampling": "over"}]
)
def test_the_loss_of_breasts_is_least_where_training_on_their_images_leads(weights: dict[str, Any]) -> None:
    data = of_breasts()
    trained = data.labels[data.folds != 0]
    learned = learned_weights(
        weights.get("class_weight", "none"), weights.get("sampling", "none"), trained, data.classes
    )
    odds = np.log(learned[1] * (trained == 1).sum() / (learned[0] * (trained == 0).sum()))
    losses = losses_of_breasts(data, odds, weights)
    assert losses[1] < min(losses[0], losses[2])


@pytest.mark.parametrize("class_weight", ["none", "balanced", 7.0])
def test_the_loss_of_a_head_is_least_where_training_on_whole_breasts_leads(class_weight: Any) -> None:
    data = of_breasts()
    learned = class_weights(class_weight, np.repeat([0, 1], [40, 20]), data.classes)
    odds = np.log(learned[1] * 20 / (learned[0] * 40))
    head = {"classical.name": "attention", "unit.combine": "attention"}
    losses = losses_of_breasts(data, odds, {"class_weight": class_weight, "more": head})
    assert losses[1] < min(losses[0], losses[2])


def losses_of_breasts(data: TrainingData, odds: float, asked: dict[str, Any]) -> list[float]:
    """Loss where all are as malignant as these odds say, below and above."""
    losses = []
    for shift in (-0.3, 0.0, 0.3):
        malignant = 1 / (1 + np.exp(-(odds + shift)))
        record = record_of(data, **asked)
        same = np.array([[1 - malignant, malignant]], np.float32)
        if "more" in asked:
            same = np.array([[1 - malignant, malignant, 0.0]], np.float32)  # equal attention
        record.add(None, [np.repeat(same, len(own), axis=0) for own in record.held_out], no_weights)
        losses += record.losses
    return losses


def test_the_loss_of_a_model_that_knows_nothing_is_ln_2_whatever_the_weights() -> None:
    record = record_of(drawn((0.9, 0.1)), class_weight=7.0)
    record.add(None, [np.full((len(own), 2), 0.5, np.float32) for own in record.held_out], no_weights)
    assert record.losses == pytest.approx([np.log(2)])


def stopped_record(**training: Any) -> tuple[EpochRecord, list[NDArray[np.float32]]]:
    """A record whose first fold has stopped, and good predictions for the next epoch."""
    record = record_of(drawn((0.5, 0.5)), early_stopping_scope="fold", patience=2, **training)
    curve = learning_curve(record, 10)
    for good, better in ((4, 4), (3, 5), (2, 6)):
        record.add([0.5] * 3, [curve[good][0], *curve[better][1:]], no_weights)
    assert record.active() == [False, True, True]
    return record, curve[7]


def test_what_a_stopped_fold_would_have_become_is_not_read() -> None:
    record, good = stopped_record()
    other, _ = stopped_record()
    nothing = np.full_like(good[0], np.nan)
    report = record.add([np.nan, 0.5, 0.5], [nothing, *good[1:]], no_weights)
    expected = other.add([0.0, 0.5, 0.5], good, no_weights)
    assert report == expected
    assert report.scalars["loss/train"] == 0.5
    assert "fold_1/loss_train" not in report.scalars
    assert np.isfinite(list(report.scalars.values())).all()
    assert record.best is not None
    assert np.isfinite(record.best.probabilities).all()


def test_a_stopped_fold_counts_with_the_loss_that_it_keeps() -> None:
    record, good = stopped_record()
    kept = record.kept[0]
    assert kept is not None
    assert kept.epoch == 1
    record.add([0.0, 0.5, 0.5], good, no_weights)
    others = [own.loss for own in record.kept[1:] if own is not None]
    assert record.losses[-1] == pytest.approx(np.mean([kept.loss, *others]))
    assert record.losses[-1] < record.losses[0]  # the others improve, so no plateau begins


@pytest.mark.parametrize(("metric", "higher"), [("auc", True), ("log_loss", False)])
def test_an_epoch_by_the_metric_is_the_best_one_whichever_way_the_metric_goes(
    metric: str, higher: bool
) -> None:
    record = record_of(drawn((0.5, 0.5)), metric, higher=higher, checkpoint_metric="metric")
    curve = learning_curve(record, 5)
    for epoch in (1, 4, 2, 0):
        record.add(None, curve[epoch], no_weights)
    assert record.best is not None
    assert record.best.epoch == 2


def test_a_fold_with_one_score_for_all_is_named_and_one_below_a_half_is_not() -> None:
    record = record_of(drawn((0.9, 0.1)))
    first, second, _ = learning_curve(record, 3)[0]
    low = np.stack([1 - first[:, 1] / 2, first[:, 1] / 2], axis=1)
    assert (low[:, 1] < 0.5).all()
    dead = np.full((len(record.held_out[2]), 2), (0.9, 0.1), np.float32)
    assert record.add(None, [low, second, dead], no_weights).collapsed == (2,)


def test_a_fold_that_dies_after_a_good_epoch_keeps_that_epoch_and_is_not_named() -> None:
    record = record_of(drawn((0.5, 0.5)))
    good = learning_curve(record, 3)[1]
    dead = [np.full((len(held_out), 2), 0.5, np.float32) for held_out in record.held_out]
    record.add(None, good, no_weights)
    assert record.best is not None
    value = record.best.value
    for _ in range(10):
        report = record.add(None, dead, no_weights)
        assert (report.collapsed, report.value) == ((), value)
    assert record.best.collapsed == ()
