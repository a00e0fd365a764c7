"""Every closed-form head predicts what scikit-learn or its own fit predicts, in torch and in ONNX Runtime."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from trainables.common.errors import ConfigError
from trainables.config.classical_config import ClassicalConfig
from trainables.config.trial_config import decode
from trainables.estimators.estimator import Rows
from trainables.estimators.modules import EstimatorModule, as_state
from trainables.estimators.registry import ESTIMATORS
from trainables.models.heads import probabilities
from trainables.validation.classical import fit_estimator

pytestmark = pytest.mark.slow

# A head that weighs the images of a unit has two classes, and tests of its own, test_attention.py.
NAMES = sorted(name for name, one in ESTIMATORS.items() if not one.weighs_units)
EXPORTED = [name for name in NAMES if not ESTIMATORS[name].is_random]


def some_rows(classes: int, *, columns: int = 30, count: int = 90, without: int | None = None) -> Rows:
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    if without is not None:
        labels = np.where(labels == without, (without + 1) % classes, labels)
    shift = random.normal(size=(classes, columns))
    inputs = (10 + 3 * random.normal(size=(count, columns)) + shift[labels]).astype(np.float32)
    return Rows(inputs, labels, np.arange(count).astype(np.str_), classes, np.ones(classes))


def module_of(name: str, rows: Rows, **settings: Any) -> EstimatorModule:
    own = {f"classical.{setting}": value for setting, value in settings.items()}
    config = decode({"model.backbone": "vgg16", "classical.name": name, "classical.trees": 20, **own})
    fitted = fit_estimator(config, rows, seed=0)
    assert fitted.is_finite
    return EstimatorModule(as_state(fitted), classes=rows.classes)


def test_the_registry_holds_every_kind() -> None:
    assert len(NAMES) >= 12
    assert all(name == ESTIMATORS[name].name for name in NAMES)
    settings = set(ClassicalConfig.model_fields)
    assert all(set(one.settings) <= settings for one in ESTIMATORS.values())


@pytest.mark.parametrize("pca", [0, 8])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_probabilities_of_all_classes(name: str, classes: int, pca: int) -> None:
    rows = some_rows(classes)
    module = module_of(name, rows, standardize=True, pca=pca, lr=0.05)
    with torch.inference_mode():
        found = probabilities(module(torch.from_numpy(rows.inputs))).numpy()
    assert found.shape == (90, classes)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-9)
    if name not in ("majority", "stratified"):
        assert (found.argmax(axis=1) == rows.labels).mean() > 1.3 / classes


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_rows_of_one_class_are_refused_or_predict_that_class(name: str, label: int) -> None:
    rows = replace(some_rows(2), labels=np.full(90, label))
    if not ESTIMATORS[name].learns_one_class:
        unit = {"unit.combine": "attention"} if ESTIMATORS[name].weighs_units else {}
        config = decode({"model.backbone": "vgg16", "classical.name": name, **unit})
        with pytest.raises(ConfigError, match=f"classical.name={name} tells classes apart, and a fold's"):
            fit_estimator(config, rows, seed=0)
        return
    module = module_of(name, rows)
    with torch.inference_mode():
        found = probabilities(module(torch.from_numpy(rows.inputs))).numpy()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-9)
    assert found[:, label].min() > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_a_class_without_rows_is_never_called(name: str) -> None:
    rows = some_rows(4, without=1)
    module = module_of(name, rows, standardize=True)
    with torch.inference_mode():
        found = probabilities(module(torch.from_numpy(rows.inputs))).numpy()
    assert found.shape == (90, 4)
    assert found[:, 1].max() <= 1 / 90
    assert 1 not in found.argmax(axis=1)


# Each head with two classes or with three here, and with the other number among the long ones.
@pytest.mark.parametrize(
    ("name", "classes"),
    [
        pytest.param(name, classes, marks=[pytest.mark.long] if (place + classes) % 2 else [])
        for place, name in enumerate(EXPORTED)
        for classes in (2, 3)
    ],
)
def test_onnx_runtime_predicts_the_same(name: str, classes: int, tmp_path: Path) -> None:
    rows = some_rows(classes)
    module = module_of(name, rows, standardize=True, pca=8 if classes == 3 else 0, minkowski_p=classes - 1)
    file, inputs = tmp_path / "head.onnx", torch.from_numpy(rows.inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (inputs[:2],),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["features"],
            verbose=False,
        )
    assert program is not None
    program.save(str(file))
    (found,) = onnxruntime.InferenceSession(file).run(None, {"features": rows.inputs})
    with torch.inference_mode():
        expected = probabilities(module(inputs)).numpy()
    found = probabilities(torch.from_numpy(np.asarray(found))).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_the_kept_arrays_are_the_whole_head(name: str) -> None:
    rows = some_rows(2)
    config = decode({"model.backbone": "vgg16", "classical.name": name})
    state = as_state(fit_estimator(config, rows, seed=0))
    first, again = (
        EstimatorModule(own, classes=2) for own in (state, {k: v.clone() for k, v in state.items()})
    )
    inputs = torch.from_numpy(rows.inputs)
    torch.testing.assert_close(first(inputs), again(inputs), rtol=0, atol=0)
