"""Closed-form heads against scikit-learn, column by column and strength by strength."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.trial_config import decode
from trainables.estimators import logistic_solver, preparation, sigmoids
from trainables.estimators.estimator import Rows, Whole
from trainables.estimators.kinds.lda import ledoit_wolf
from trainables.estimators.logistic_solver import solve_logistic
from trainables.estimators.modules import EstimatorModule, as_state
from trainables.estimators.preparation import decompose, row_space
from trainables.estimators.registry import ESTIMATORS, estimator_named
from trainables.estimators.remembered import MEMORY, Memory
from trainables.estimators.sigmoids import inner_folds
from trainables.models.heads import probabilities

pytestmark = pytest.mark.slow

STRENGTHS = (1e-4, 3e-3, 0.1, 1.0, 30.0)
Matrix = NDArray[np.float64]


def rows_of(
    *, rows: int = 60, columns: int = 200, classes: int = 2, key: str = "", weights: tuple[float, ...] = ()
) -> tuple[Rows, Matrix]:
    """Rows to fit on, and others to predict."""
    random = np.random.default_rng(1)
    labels = np.arange(rows) % classes
    shift = 0.4 * random.normal(size=(classes, columns))
    scale = random.uniform(0.1, 5.0, size=columns)
    inputs = ((random.normal(size=(rows, columns)) + shift[labels]) * scale + 3).astype(np.float32)
    others = ((random.normal(size=(25, columns)) + 0.2) * scale + 3).astype(np.float32)
    by_class = np.array(weights or (1.0,) * classes)
    groups = (np.arange(rows) // 2).astype(np.str_)
    return Rows(inputs, labels, groups, classes, by_class, key=key), others.astype(np.float64)


def found(name: str, rows: Rows, others: Matrix, **settings: Any) -> Matrix:
    own = {f"classical.{setting}": value for setting, value in settings.items()}
    config = decode({"model.backbone": "vgg16", "classical.name": name, "classical.standardize": True} | own)
    module = EstimatorModule(as_state(ESTIMATORS[name].fit(config, rows, 0)), classes=rows.classes)
    with torch.inference_mode():
        return np.asarray(probabilities(module(torch.from_numpy(others))).numpy())


def expected(estimator: Any, rows: Rows, others: Matrix, *, pca: int = 0) -> Matrix:
    steps = [StandardScaler(), *([PCA(pca, svd_solver="full")] if pca else []), estimator]
    pipeline = make_pipeline(*steps)
    named = (
        {f"{pipeline.steps[-1][0]}__sample_weight": rows.weights} if (rows.class_weights != 1).any() else {}
    )
    pipeline.fit(rows.inputs.astype(np.float64), rows.labels, **named)
    return np.asarray(pipeline.predict_proba(others))


@pytest.mark.parametrize("columns", [12, 200], ids=["few columns", "more columns than rows"])
@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_is_scikit_learns(columns: int, classes: int) -> None:
    rows, others = rows_of(columns=columns, classes=classes, weights=(1.0, 2.0, 1.5)[:classes])
    for c in STRENGTHS:
        alone = LogisticRegression(C=c, tol=1e-10, max_iter=20_000)
        np.testing.assert_allclose(
            found("logistic", rows, others, c=c), expected(alone, rows, others), atol=2e-4, err_msg=f"c={c}"
        )


def test_a_strength_gives_the_same_whatever_was_asked_before() -> None:
    MEMORY.forget()
    rows, others = rows_of(key="rows")
    first = {c: found("logistic", rows, others, c=c) for c in STRENGTHS}
    MEMORY.forget()
    for c in reversed(STRENGTHS):
        np.testing.assert_array_equal(found("logistic", rows, others, c=c), first[c])


def test_strengths_on_the_same_rows_share_the_products_of_their_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    MEMORY.forget()
    rows, others = rows_of(rows=700, columns=400, key="products")
    made, original = [], logistic_solver._products

    def spy(*arrays: Any) -> Any:
        made.append(arrays[0].shape)
        return original(*arrays)

    monkeypatch.setattr(logistic_solver, "_products", spy)
    for c in (1e-3, 1e-2, 0.1):
        found("logistic", rows, others, c=c)
    assert made == [(700, 400)]


def test_products_of_rows_with_other_labels_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, others = rows_of(rows=700, columns=400, key="labels", weights=(1.0, 4.0))
    rare = dataclasses.replace(rows, labels=(np.arange(700) % 7 == 0).astype(np.int64))
    MEMORY.forget()
    alone, made = found("logistic", rare, others, c=0.1), []
    MEMORY.forget()
    found("logistic", rows, others, c=0.1)
    original = logistic_solver._products
    monkeypatch.setattr(logistic_solver, "_products", lambda *given: made.append(1) or original(*given))
    np.testing.assert_array_equal(found("logistic", rare, others, c=0.1), alone)
    assert made


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("c", [1e-3, 1.0, 1e3])
def test_correlated_columns_are_solved_as_scikit_learn_solves_them(classes: int, c: float) -> None:
    draws = np.random.default_rng(0)
    hidden = draws.normal(size=(900, 30))
    inputs = hidden @ draws.normal(size=(30, 500)) + 0.05 * draws.normal(size=(900, 500))
    labels = (hidden[:, :classes] + draws.normal(size=(900, classes))).argmax(axis=1)
    weights = np.array((1.0, 2.0, 1.5)[:classes])
    rows = Rows(inputs.astype(np.float32), labels, np.arange(900).astype(np.str_), classes, weights)
    alone = LogisticRegression(C=c, tol=1e-9, max_iter=100_000)
    wanted = expected(alone, rows, inputs)
    np.testing.assert_allclose(found("logistic", rows, inputs, c=c), wanted, atol=1e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_where_a_strength_begins_changes_its_solution_within_the_tolerance_alone(classes: int) -> None:
    rows, _ = rows_of(rows=400, columns=300, classes=classes)
    inputs = (rows.inputs - rows.inputs.mean(axis=0)) / rows.inputs.std(axis=0)
    stronger = np.vstack(solve_logistic(0.1, inputs.astype(np.float64), rows, space=()))
    fits = [
        solve_logistic(1.0, inputs.astype(np.float64), rows, space=(), start=start)
        for start in (None, stronger)
    ]
    outputs = [inputs @ coefficients + intercept for coefficients, intercept in fits]
    assert not np.array_equal(*outputs)
    np.testing.assert_allclose(*outputs, atol=0.01)  # of log-odds up to 9


@pytest.mark.parametrize("pca", [4, 16])
def test_components_are_those_of_scikit_learn(pca: int) -> None:
    rows, others = rows_of()
    alone = LogisticRegression(C=0.1, tol=1e-10, max_iter=20_000)
    np.testing.assert_allclose(
        found("logistic", rows, others, c=0.1, pca=pca), expected(alone, rows, others, pca=pca), atol=1e-4
    )


def test_more_components_than_rows_are_as_many_as_the_rows_have() -> None:
    rows, others = rows_of(rows=20)
    np.testing.assert_allclose(
        found("logistic", rows, others, pca=128), found("logistic", rows, others, pca=0), atol=1e-5
    )


@pytest.mark.parametrize("columns", [12, 200])
@pytest.mark.parametrize("classes", [2, 3])
def test_ridge_and_linear_machines_agree_with_scikit_learn_on_all_columns(columns: int, classes: int) -> None:
    rows, others = rows_of(columns=columns, classes=classes)
    config = decode({"model.backbone": "vgg16", "classical.name": "ridge"}).classical
    pairs = {"ridge": RidgeClassifier(alpha=10.0)}
    if columns < len(rows.labels):
        pairs["linear_svm"] = LinearSVC(C=0.1, random_state=0, max_iter=2000)
    for name, alone in pairs.items():
        cut = inner_folds(config, rows, 0)
        calibrated = CalibratedClassifierCV(alone, method="sigmoid", cv=cut, ensemble=False)
        np.testing.assert_allclose(
            found(name, rows, others, c=0.1), expected(calibrated, rows, others), atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("shrinkage", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("columns", [12, 200])
def test_discriminants_agree_with_scikit_learn(columns: int, shrinkage: float) -> None:
    rows, others = rows_of(columns=columns, classes=3)
    alone = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    np.testing.assert_allclose(
        found("lda", rows, others, shrinkage=shrinkage), expected(alone, rows, others), atol=1e-6
    )


@pytest.mark.parametrize("name", ["logistic", "ridge", "lda", "linear_svm", "svm", "kernel_logistic"])
def test_columns_that_tell_the_class_without_any_spread_are_fitted(name: str) -> None:
    labels = np.arange(24) % 2
    told = np.stack([labels, 1 - labels], axis=1).astype(np.float32)
    rows = Rows(told, labels, np.arange(24).astype(np.str_), 2, np.ones(2), key="")
    settings = {"k": 3} if name == "knn" else {}
    np.testing.assert_array_equal(
        found(name, rows, told.astype(np.float64), **settings).argmax(axis=1), labels
    )


@pytest.mark.parametrize("columns", [12, 200])
def test_the_shrinkage_is_scikit_learns_in_any_coordinates(columns: int) -> None:
    rows, _ = rows_of(columns=columns)
    inputs = rows.inputs.astype(np.float64)
    centred = inputs - inputs.mean(axis=0)
    wanted = ledoit_wolf_shrinkage(centred, assume_centered=True)
    assert ledoit_wolf(centred, columns) == pytest.approx(wanted, rel=1e-9)
    for space in (decompose(rows, standardize=False, count=columns), row_space(rows, standardize=False)):
        assert ledoit_wolf(space.coordinates, columns) == pytest.approx(wanted, rel=1e-6)


def test_the_first_axes_are_those_of_a_whole_decomposition() -> None:
    rows, _ = rows_of(rows=700, columns=400)
    first, all_axes = (decompose(rows, standardize=True, count=count) for count in (3, 400))
    np.testing.assert_allclose(first.lengths, all_axes.lengths[:3], rtol=1e-9)
    signs = np.sign((first.coordinates * all_axes.coordinates[:, :3]).sum(axis=0))
    np.testing.assert_allclose(first.coordinates * signs, all_axes.coordinates[:, :3], atol=1e-6)


def test_the_space_of_the_rows_has_their_products_though_some_repeat() -> None:
    rows, _ = rows_of(rows=60, columns=300)
    twice = dataclasses.replace(
        rows,
        inputs=np.concatenate([rows.inputs, rows.inputs[:20]]),
        labels=np.concatenate([rows.labels, rows.labels[:20]]),
        groups=np.concatenate([rows.groups, rows.groups[:20]]),
    )
    space = row_space(twice, standardize=True)
    prepared = (twice.inputs - space.centre) / space.scale
    products = prepared @ prepared.T
    np.testing.assert_allclose(space.coordinates @ space.coordinates.T, products, atol=1e-5)
    coefficients = np.random.default_rng(0).normal(size=(80, 2))
    columns = prepared.T @ space.row_weights(coefficients)
    np.testing.assert_allclose(prepared @ columns, space.coordinates @ coefficients, atol=1e-2)


@pytest.mark.parametrize("columns", [300, 5000], ids=["some columns", "more than are prepared at once"])
@pytest.mark.parametrize(
    ("name", "own"), [("logistic", {"c": 3.0}), ("lda", {"shrinkage": 0.5}), ("svm", {})]
)
@pytest.mark.parametrize("pca", [0, 8])
def test_folds_share_the_products_of_all_rows_and_have_the_heads_that_they_would_have_alone(
    columns: int, name: str, own: dict[str, float], pca: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    MEMORY.forget()
    everything, others = rows_of(rows=80, columns=columns)
    made, products = list[int](), preparation._products

    def counting(*arrays: Any) -> Any:
        made.append(len(arrays[0]))
        return products(*arrays)

    settings = {"standardize": False, "pca": pca, **own}
    # Some rows are drawn twice, as where classes are made even.
    drawn = [np.r_[20:80, 20:30], np.r_[0:60, 3:9]]
    folds = [
        dataclasses.replace(
            everything,
            inputs=everything.inputs[places],
            labels=everything.labels[places],
            groups=everything.groups[places],
        )
        for places in drawn
    ]
    alone = [found(name, rows, others, **settings) for rows in folds]
    monkeypatch.setattr(preparation, "_products", counting)
    for rows, places, expected_of_fold in zip(folds, drawn, alone, strict=True):
        shared = dataclasses.replace(rows, whole=Whole(everything.inputs, "all", places))
        np.testing.assert_allclose(found(name, shared, others, **settings), expected_of_fold, atol=1e-6)
    assert made == ([] if name == "svm" and not pca else [80])


@pytest.mark.parametrize(("most_bytes", "expected_of_folds"), [(100_000, [80]), (60_000, [60, 60])])
def test_folds_share_no_products_that_the_space_of_a_fold_would_push_out(
    most_bytes: int, expected_of_folds: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The products of 80 rows take 51,200 bytes, those of a fold's 60 rows 28,800."""
    MEMORY.forget()
    monkeypatch.setattr(MEMORY, "most_bytes", most_bytes)
    everything, _ = rows_of(rows=80, columns=200)
    made, products = list[int](), preparation._products

    def counting(*arrays: Any) -> Any:
        made.append(len(arrays[0]))
        return products(*arrays)

    monkeypatch.setattr(preparation, "_products", counting)
    for fold, places in enumerate((np.arange(60), np.arange(20, 80))):
        own = dataclasses.replace(
            everything,
            inputs=everything.inputs[places],
            labels=everything.labels[places],
            groups=everything.groups[places],
            key=f"fold {fold}",
            whole=Whole(everything.inputs, "all", places),
        )
        row_space(own, standardize=False)
    assert made == expected_of_folds
    MEMORY.forget()


@pytest.mark.parametrize("classes", [2, 4])
def test_machines_with_a_kernel_agree_with_scikit_learn(classes: int) -> None:
    rows, others = rows_of(columns=40, classes=classes)
    config = decode({"model.backbone": "vgg16", "classical.name": "svm"}).classical
    calibrated = CalibratedClassifierCV(
        SVC(C=2.0, gamma=0.5 / 40), method="sigmoid", cv=inner_folds(config, rows, 0), ensemble=False
    )
    np.testing.assert_allclose(
        found("svm", rows, others, c=2.0, gamma=0.5), expected(calibrated, rows, others), atol=1e-6
    )


@pytest.mark.parametrize(
    "classes_of_patients",
    [
        ("1111", "100", "0", "0"),  # folds of scikit-learn hold both patients of class 1 together
        ("01", "12", "20"),  # no two folds part the patients of each class, though it has two
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("deals", [20, 0])
def test_a_machine_is_calibrated_on_any_patients_two_of_each_class(
    deals: int, seed: int, classes_of_patients: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sigmoids, "_DEALS", deals)
    labels = np.array([int(label) for own in classes_of_patients for label in own])
    groups = np.repeat(
        [f"p{number}" for number in range(len(classes_of_patients))], [*map(len, classes_of_patients)]
    )
    inputs = np.random.default_rng(0).normal(size=(len(labels), 5)).astype(np.float32)
    classes = int(labels.max()) + 1
    rows = Rows(inputs, labels, groups, classes, np.ones(classes))
    config = decode({"model.backbone": "vgg16", "classical.name": "ridge"})
    cut = inner_folds(config.classical, rows, seed)
    assert all(set(labels[training]) == set(range(classes)) for training, _ in cut)
    assert all(set(groups[training]).isdisjoint(groups[held_out]) for training, held_out in cut)
    assert sorted(np.concatenate([held_out for _, held_out in cut])) == list(range(len(labels)))
    assert estimator_named("ridge").fit(config, rows, seed).is_finite


@pytest.mark.parametrize("exponent", [1, 2])
def test_neighbours_agree_with_scikit_learn(exponent: int) -> None:
    rows, others = rows_of(classes=3)
    alone = expected(KNeighborsClassifier(7, p=exponent), rows, others)
    counted = (60 * alone + 1) / 63
    np.testing.assert_allclose(
        found("knn", rows, others, neighbours=7, minkowski_p=exponent), counted, atol=1e-9
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_boosting_agrees_with_scikit_learn(classes: int) -> None:
    rows, others = rows_of(rows=90, columns=10, classes=classes)
    alone = HistGradientBoostingClassifier(
        learning_rate=0.1,
        max_iter=15,
        max_depth=3,
        l2_regularization=0.01,
        early_stopping=False,
        random_state=0,
    )
    np.testing.assert_allclose(
        found("boosting", rows, others, trees=15, depth=3), expected(alone, rows, others), atol=1e-9
    )


def test_a_kernel_as_wide_as_the_data_is_nearly_a_linear_head() -> None:
    rows, others = rows_of(columns=5)
    wide = found("kernel_logistic", rows, others, gamma=1e-3, c=1000.0)
    linear = found("logistic", rows, others, c=1000.0 * 2e-3 / 5)
    np.testing.assert_allclose(wide, linear, atol=0.01)


def test_some_rows_stand_for_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, others = rows_of(rows=200, columns=5)
    exact = found("kernel_logistic", rows, others)
    monkeypatch.setattr("trainables.estimators.kinds.kernel_logistic.MOST_POINTS", 80)
    fewer = found("kernel_logistic", rows, others)
    assert not np.array_equal(exact, fewer)
    np.testing.assert_allclose(fewer, exact, atol=0.1)


def test_an_unknown_head_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"classical\.name 'logistik'; did you mean 'logistic'"):
        estimator_named("logistik")


def test_weights_of_something_else_are_refused() -> None:
    with pytest.raises(ConfigError, match="weights of a closed-form head hold one rule"):
        EstimatorModule({"head.weight": torch.zeros(1)}, classes=2)


def test_a_constant_column_is_no_reason_for_infinite_features() -> None:
    rows, others = rows_of(columns=12)
    rows.inputs[:, 3] = 7.5
    assert np.isfinite(found("logistic", rows, others)).all()


def test_what_was_used_least_recently_is_forgotten_first() -> None:
    memory, made = Memory(most_bytes=250), []

    def recall(name: str, size: int = 100) -> None:
        memory.recall((name,), lambda: made.append(name) or np.zeros(size, dtype=np.uint8))

    for name in ("a", "b", "a", "c", "a", "b"):
        recall(name)
    assert made == ["a", "b", "c", "b"]
    recall("too large", 300)
    recall("too large", 300)
    assert made[-2:] == ["too large", "too large"]


def test_logistic_regression_far_from_the_origin_is_scikit_learns_without_scaling() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(400) % 2
    inputs = (10 + 0.1 * (random.normal(size=(400, 300)) + 0.2 * labels[:, None])).astype(np.float32)
    rows = Rows(inputs, labels, np.arange(400).astype(np.str_), 2, np.ones(2), key="")
    others = 10 + 0.1 * random.normal(size=(25, 300))
    ours = found("logistic", rows, others, c=0.1, standardize=False)
    theirs = LogisticRegression(C=0.1, max_iter=10_000, tol=1e-9).fit(inputs.astype(np.float64) - 10, labels)
    np.testing.assert_allclose(ours, theirs.predict_proba(others - 10), atol=1e-4)
