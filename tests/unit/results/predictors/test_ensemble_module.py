"""The graph of every combination: equal to the numpy one, in torch and in ONNX Runtime."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from results.ensembles.members import Members
from results.ensembles.methods import METHODS, fit
from results.ensembles.weighted_mean import WeightedMean
from results.errors import ExportError
from results.predictors import ensemble_module
from results.predictors.ensemble_module import EnsembleModule, combination_graph, write_onnx
from results.scores.calibration import Platt
from trainables.models.heads import mean_over_folds

pytestmark = pytest.mark.slow

CALIBRATION = Platt(slope=0.3, intercept=-0.2)


def simulate(members=3, images=120, seed=0):
    """Members with every degree of confidence, some of them certain."""
    random = np.random.default_rng(seed)
    labels = np.arange(images) % 2
    logits = 3 * (labels - 0.5) + random.normal(0, 5, size=(members, images))
    positive = 1 / (1 + np.exp(-logits))
    positive[:, :4] = [0.0, 1.0, 1e-9, 1 - 1e-9]
    order = np.arange(images)
    return Members(
        tuple(range(members)),
        order,
        labels,
        order // 2 % 4,
        order.astype(str),
        np.stack([1 - positive, positive], -1),
    )


class Pixels(nn.Module):
    """Stands for the networks: the pixels themselves are the members' probabilities."""

    def by_fold(self, raw, baseline=None, finding_type=None):
        positive = raw.to(torch.float64).flatten(1).T
        return [torch.stack([1 - one, one], dim=-1).unsqueeze(0) for one in positive]


def expected(fitted, calibration, probabilities):
    combined = fitted.combine(probabilities)
    return combined if calibration is None else calibration.apply(combined)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("calibration", [None, CALIBRATION], ids=["plain", "calibrated"])
def test_a_graph_combines_as_numpy_does(method, calibration):
    fitted = fit(method, simulate(), 0)
    fresh = simulate(seed=1).probabilities
    found = combination_graph(fitted, calibration)(torch.from_numpy(fresh)).numpy()
    np.testing.assert_allclose(found, expected(fitted, calibration, fresh), atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_an_exported_graph_keeps_the_digits_of_certain_members(method, tmp_path):
    fitted = fit(method, simulate(members=2), 0)
    module = EnsembleModule(Pixels(), combination_graph(fitted, CALIBRATION))
    raw = torch.rand(6, 1, 2)
    raw[0], raw[1], raw[2] = 1.0, 0.0, torch.tensor([[1.0, 1e-7]])
    path = tmp_path / "model.onnx"
    # The stand-in takes the members from the width, so height and width are what they are.
    program = torch.onnx.export(
        module,
        (raw,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["raw"],
        verbose=False,
    )
    program.save(str(path), external_data=False)
    found = onnxruntime.InferenceSession(path).run(None, {"raw": raw.numpy()})[0]
    np.testing.assert_allclose(found, module(raw).numpy(), atol=1e-6, rtol=0)


def test_neighbours_at_the_same_distance_share_the_last_places():
    same = simulate(members=1, images=6)
    same.probabilities[:] = 0.5
    fitted = fit("stack_knn", same, 0).model_copy(update={"neighbours": 3})
    found = combination_graph(fitted, None)(torch.from_numpy(same.probabilities)).numpy()
    np.testing.assert_allclose(found[:, 1], 0.5)


def test_a_weighted_mean_takes_more_than_two_classes():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(4), size=(2, 5))
    rule = WeightedMean(weights=(0.25, 0.75))
    found = combination_graph(rule, None)(torch.from_numpy(probabilities)).numpy()
    np.testing.assert_allclose(found, rule.combine(probabilities), atol=1e-12)


def test_a_combination_without_a_graph_is_refused_with_the_known_ones():
    class Median(WeightedMean):
        """Unknown to the graph."""

    with pytest.raises(
        ExportError, match=r"no graph for combination Median; there is one for: LogisticStack"
    ):
        combination_graph(Median(weights=(1.0,)), None)


def test_weights_that_no_single_file_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ensemble_module, "_MOST_BYTES", 7)
    module = EnsembleModule(Pixels(), combination_graph(WeightedMean(weights=(1.0,)), None))
    with pytest.raises(ExportError, match=r"the weights take 0\.0 GB, one ONNX file holds at most 2 GB"):
        write_onnx(module, {"raw": torch.rand(2, 1, 1)}, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_fold_models_are_averaged_on_their_logits():
    logits = torch.tensor([[-2.0, 0.0, 30.0], [4.0, 1.0, 50.0]], dtype=torch.float64)
    by_fold = torch.stack([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=-1)
    found = mean_over_folds(by_fold)
    np.testing.assert_allclose(torch.logit(found[:2, 1]).numpy(), [1.0, 0.5], atol=1e-12)
    # 40, which a rounded positive probability could not tell from infinity.
    assert torch.log(found[2, 1] / found[2, 0]).item() == pytest.approx(40.0)
    assert torch.equal(mean_over_folds(by_fold[:1]), by_fold[0])


def test_a_fold_model_that_is_certain_to_its_last_digit_does_not_make_the_mean_nan():
    by_fold = torch.tensor([[[1.0, 0.0]], [[0.3, 0.7]]], dtype=torch.float64)
    assert torch.isfinite(mean_over_folds(by_fold)).all()


def test_the_module_predicts_by_the_mean_logit_of_its_folds_and_its_calibration():
    folds = torch.tensor([[[0.9, 0.1]], [[0.2, 0.8]], [[0.4, 0.6]]], dtype=torch.float64)
    module = EnsembleModule(Pixels(), combination_graph(WeightedMean(weights=(1.0,)), CALIBRATION))
    found = module.combine([folds])[0, 1].item()
    mean = torch.log(folds[:, 0, 1] / folds[:, 0, 0]).mean().item()
    assert found == pytest.approx(1 / (1 + np.exp(-(0.3 * mean - 0.2))))
