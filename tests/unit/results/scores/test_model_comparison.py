import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import t

from benchmarks.claims_tests import false_comparisons
from benchmarks.simulated_patients import World
from results.run.records import OutOfFold
from results.scores.calibration import sigmoid
from results.scores.fold_scores import fold_areas, out_of_fold_metrics
from results.scores.model_comparison import NamedPredictions, compare_models
from results.scores.model_comparison_table import comparison_table, comparisons_as_csv
from results.scores.operating_point import Operation
from results.scores.ranking import Objectives
from trainables.common.errors import DataError


def _model(name, strength, *, images=240, seed=0, folds=4, rows=None):
    """A model whose noise is half that of the images, so that models err on the same patients."""
    common = np.random.default_rng(0).normal(size=images)
    own = np.random.default_rng(seed + 1).normal(size=images)
    labels = np.arange(images) % 2
    positive = sigmoid((common + own) / np.sqrt(2) + strength * labels)
    rows = np.arange(images) if rows is None else rows
    parts = np.arange(images) // 2 % folds
    both = np.stack([1 - positive, positive], axis=1)
    return NamedPredictions(
        name, OutOfFold(rows, labels, parts, (np.arange(images) // 2 * 1).astype(str), both)
    )


def _compared(*models, **options):
    return compare_models(models, metric="auc", seed=0, **options)


def test_a_planted_difference_is_claimed_in_its_direction():
    (pair,) = _compared(_model("good", 2.5), _model("poor", 0.3, seed=5)).comparisons
    assert pair.is_better
    assert pair.low > 0
    assert pair.superiority > 0.99
    (turned,) = _compared(_model("poor", 0.3, seed=5), _model("good", 2.5)).comparisons
    assert turned.is_better is False
    assert turned.difference == pytest.approx(-pair.difference)


def test_smaller_is_better_where_the_metric_says_so():
    models = (_model("good", 2.5), _model("poor", 0.3, seed=5))
    (pair,) = compare_models(models, metric="log_loss", seed=0).comparisons
    assert pair.difference < 0
    assert pair.is_better


@pytest.mark.parametrize("metric", ["mcc", "accuracy", "f2", "recall"])
def test_models_are_compared_by_the_decisions_that_their_scores_judge(metric):
    models = [_model("one", 2.0), _model("other", 0.8, seed=5)]
    models.append(replace(_model("for recall", 0.8, seed=5), searched=("f2",)))
    found = compare_models(models, metric=metric, seed=0)
    for pair, second in zip(found.comparisons, found.models[1:], strict=True):
        assert pair.difference == pytest.approx(found.models[0].value - second.value)
    for one, score in zip(models, found.models, strict=True):
        shown = out_of_fold_metrics(one.predictions, Objectives(one.searched, also=(metric,)))
        assert score.value == pytest.approx(shown[metric])


@pytest.mark.parametrize("metric", ["recall", "accuracy", "f2", "log_loss"])
def test_models_are_compared_at_the_operating_points_that_were_asked_of_them(metric):
    operation = Operation.of(at="sensitivity=0.95")
    plain = _model("plain", 1.0)
    found = compare_models([replace(plain, name="asked", operation=operation), plain], metric=metric, seed=0)
    objectives = Objectives(("auc",), also=(metric,))
    shown = [
        out_of_fold_metrics(plain.predictions, own)[metric] for own in (objectives.at(operation), objectives)
    ]
    assert [one.value for one in found.models] == pytest.approx(shown)
    (pair,) = found.comparisons
    assert pair.difference == pytest.approx(shown[0] - shown[1])
    assert (pair.p_value == 1.0) is (metric in ("f2", "log_loss"))
    assert (abs(pair.difference) > 0.02) is (metric in ("recall", "accuracy"))


def test_equal_predictions_cannot_be_told_apart():
    (pair,) = _compared(_model("one", 1.0), _model("same", 1.0)).comparisons
    assert pair.difference == 0
    assert (pair.adjusted, pair.superiority, pair.is_better) == (1.0, 0.5, None)


def _ranked(name, positive):
    rows = np.arange(len(positive))
    both = np.stack([1 - positive, positive], axis=1)
    return NamedPredictions(name, OutOfFold(rows, rows % 2, rows // 2 % 4, rows.astype(str), both))


@pytest.mark.parametrize("metric", ["auc", "average_precision", "accuracy"])
def test_a_perfect_and_a_reversed_ranking_differ_although_no_patient_varies(metric):
    right = np.where(np.arange(40) % 2 == 1, 0.9, 0.1) + np.random.default_rng(0).normal(size=40) * 0.01
    models = _ranked("perfect", right), _ranked("reversed", 1 - right)
    (pair,) = compare_models(models, metric=metric, seed=0).comparisons
    assert pair.is_better
    assert 0 < pair.low < pair.difference < pair.high
    assert pair.adjusted < 0.001
    assert pair.superiority > 0.999


def test_a_perfect_and_a_reversed_ranking_of_a_few_patients_are_less_sure():
    right = np.where(np.arange(8) % 2 == 1, 0.9, 0.1) + np.arange(8) * 0.001
    models = _ranked("perfect", right), _ranked("without order", np.full(8, 0.5))
    (pair,) = _compared(*models).comparisons
    assert pair.is_better is None
    assert pair.low < 0 < pair.difference == 0.5


def test_the_second_opinion_is_the_corrected_t_test_of_the_folds():
    one, other = _model("one", 1.0), _model("other", 1.4, seed=3)
    apart = np.array(fold_areas(one.predictions)) - np.array(fold_areas(other.predictions))
    error = np.sqrt((1 / 4 + 1 / 3) * apart.var(ddof=1))
    (pair,) = _compared(one, other).comparisons
    assert pair.t_p_value == pytest.approx(2 * t.sf(abs(apart.mean()) / error, 3))


def test_more_comparisons_ask_for_more_evidence():
    first, second = _model("first", 1.0), _model("second", 1.25, seed=9)
    others = [_model(f"other {seed}", 1.1, seed=20 + seed) for seed in range(8)]
    alone = _compared(first, second).comparisons[0]
    among = _compared(first, second, *others).comparisons[0]
    assert among.p_value == pytest.approx(alone.p_value)
    assert among.adjusted > alone.adjusted
    assert among.high - among.low > alone.high - alone.low
    assert len(_compared(first, second, *others[:2], has_all_pairs=True).comparisons) == 6


def test_models_are_compared_on_the_images_that_all_predicted():
    half = _model("half", 1.0)
    rows = np.arange(120)
    cut = OutOfFold(**{name: getattr(half.predictions, name)[rows] for name in OutOfFold.ARRAYS})
    found = _compared(_model("whole", 1.2, seed=2), NamedPredictions("half", cut))
    assert found.images == 120
    assert found.notes == ("compared on the 120 images that all models predicted; whole predicted more",)


def test_other_folds_are_said():
    found = _compared(_model("four", 1.0), _model("five", 1.0, folds=5, seed=2))
    assert found.notes[0].startswith("the models were trained in other folds")
    assert found.comparisons[0].t_p_value is None


def test_models_without_an_image_in_common_are_refused():
    with pytest.raises(DataError, match="no image in common"):
        _compared(_model("one", 1.0), _model("other", 1.0, rows=np.arange(240) + 1000))
    with pytest.raises(DataError, match="needs at least two models, found one"):
        _compared(_model("one", 1.0))
    with pytest.raises(DataError, match="one is named twice"):
        _compared(_model("one", 1.0), _model("one", 1.0, seed=2))


def test_what_was_asked_for_before_the_search_is_marked():
    models = (_model("one", 1.0), _model("other", 1.2, seed=2), _model("third", 1.1, seed=3))
    found = _compared(*models, registered=frozenset([frozenset(("other", "one"))]))
    assert [pair.is_pre_registered for pair in found.comparisons] == [True, False]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(comparison_table(found))
    text = console.export_text()
    assert "one †" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert len(comparisons_as_csv(found).splitlines()) == 3


def test_false_claims_over_nineteen_comparisons_are_rare():
    assert false_comparisons(100, World(0.75), sets=6, seed=2) <= 1 / 6


def _of_holdouts(name, strength, *, seed, parts, images=240):
    """A model in repeats of a hold-out, each on the images of its own part, with noise of its own."""
    whole = [_model(name, strength, seed=seed + place, images=images) for place in range(len(parts))]
    own = [one.predictions.where(part) for one, part in zip(whole, parts, strict=True)]
    repeats = tuple(replace(one, folds=np.zeros_like(one.folds)) for one in own)
    return NamedPredictions(name, repeats[0], repeats, holdout=1 / 3)


def test_repeats_of_a_holdout_are_compared_each_on_its_own_images():
    parts = [np.flatnonzero(np.arange(240) // 2 % 3 == part) for part in range(3)]
    one = _of_holdouts("one", 1.0, seed=1, parts=parts)
    other = _of_holdouts("other", 1.6, seed=4, parts=parts)
    found = _compared(one, other)
    (pair,) = found.comparisons
    apart = [
        fold_areas(own)[0] - fold_areas(rest)[0] for own, rest in zip(one.repeats, other.repeats, strict=True)
    ]
    assert pair.difference == pytest.approx(np.mean(apart))
    assert (found.images, found.groups, found.repeats) == (240, 120, 3)
    assert found.notes[1] == "each repeat holds out others of these 240 images, 80 at a time"
    assert len(found.notes) == 2
    singles = [
        _compared(NamedPredictions("one", own), NamedPredictions("other", rest)).comparisons[0]
        for own, rest in zip(one.repeats, other.repeats, strict=True)
    ]
    margin, of_one = (pair.high - pair.low) / 2, np.mean([own.high - own.low for own in singles]) / 2
    # Three independent thirds, widened by what their training parts have in common.
    assert margin == pytest.approx(of_one * np.sqrt((1 + 0.75 * 3 / 2) / 3), rel=0.1)
    alone = [_compared(*(replace(own, repeats=()) for own in (one, other))).models[0]]
    assert found.models[0].high - found.models[0].low < alone[0].high - alone[0].low


def test_repeats_of_a_holdout_match_where_they_share_images():
    parts = [np.arange(0, 120), np.arange(60, 160), np.arange(160, 240)]
    found = _compared(*(_of_holdouts(str(seed), 1.0, seed=seed, parts=parts) for seed in (0, 5)))
    assert found.images == 240
    assert found.notes[1] == "each repeat holds out others of these 240 images, 80 to 120 at a time"
    fewer = [parts[0][:100], parts[1], parts[2]]
    models = (
        _of_holdouts("whole", 1.0, seed=0, parts=parts),
        _of_holdouts("fewer", 1.0, seed=5, parts=fewer),
    )
    assert "that all models predicted; whole predicted more" in _compared(*models).notes[-1]
    with pytest.raises(DataError, match="no image in common"):
        _compared(models[0], replace(models[1], repeats=models[1].repeats[::-1]))


def test_intervals_over_repeats_of_a_holdout_cover_no_difference():
    differences, margins = [], []
    for draw in range(24):
        random = np.random.default_rng(draw)
        parts = [np.sort(random.permutation(160)[:40]) for _ in range(3)]
        models = [NamedPredictions(name, own[0], own, holdout=0.25) for name, own in _equals(random, parts)]
        (pair,) = _compared(*models).comparisons
        differences.append(pair.difference)
        margins.append((pair.high - pair.low) / 2)
    assert sum(abs(one) <= margin for one, margin in zip(differences, margins, strict=True)) >= 22
    assert 1.0 < np.mean(margins) / 1.96 / np.std(differences) < 1.7


def _equals(random, parts):
    """Two models that err independently, each with the same scores in all repeats: patients alone vary."""
    labels = np.arange(160) % 2
    for name in ("one", "other"):
        positive = sigmoid(labels + random.normal(size=160))
        both = np.stack([1 - positive, positive], axis=1)
        yield (
            name,
            tuple(
                OutOfFold(part, labels[part], np.zeros_like(part), part.astype(str), both[part])
                for part in parts
            ),
        )


def test_over_repeats_the_t_test_knows_that_they_share_patients():
    one = [_model("one", 1.0, seed=seed).predictions for seed in (1, 2, 3)]
    other = [_model("other", 1.6, seed=seed).predictions for seed in (4, 5, 6)]
    models = [
        NamedPredictions("one", one[0], tuple(one)),
        NamedPredictions("other", other[0], tuple(other)),
    ]
    (pair,) = _compared(*models).comparisons
    apart = np.ravel([fold_areas(own) for own in one]) - np.ravel([fold_areas(own) for own in other])
    error = np.sqrt((1 / 12 + 1 / 3) * apart.var(ddof=1))
    assert pair.t_p_value == pytest.approx(2 * t.sf(abs(apart.mean()) / error, 11))
    assert pair.difference == pytest.approx(apart.mean())
    alone = _compared(NamedPredictions("one", one[0]), models[1])
    assert alone.repeats == 0
    width = [own.high - own.low for own in (pair, *alone.comparisons)]
    assert width[0] < width[1]
