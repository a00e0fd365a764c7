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
