"""Finished trials as functions of raw pixels: means over views and folds, with shared trunks."""

import numpy as np
import pytest
import torch
from trial_module import TrialModule

from trainables.common.errors import WeightsError
from trainables.config.trial_config import decode
from trainables.inference.finished_trials import FinishedTrial, ImageFormat, SharedBackbones
from trainables.models.heads import probabilities
from trainables.models.registry import backbone_named
from trainables.models.weights import find_weights
from trainables.preprocessing.transforms import PixelTransform, transform_spec
from trainables.preprocessing.views import apply_symmetry, prediction_views
from trainables.training.assembly import assemble_part

pytestmark = pytest.mark.slow

GREY = ImageFormat((64, 64), 65535.0)
LITE0 = {"model.backbone": "efficientnet_lite0", "model.head.hidden": []}


def raw_pixels(images=3, side=64):
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 65536, size=(images, side, side)).astype(np.int32))


def finished(settings, *, shape, folds=2, image=GREY, classes=2):
    """An untrained trial whose folds differ."""
    config = decode(settings)
    weights = None
    if config.model.weights == "imagenet":
        weights = find_weights(config.model.backbone, weights_dir=None, may_download=False)
    states = []
    for fold in range(folds):
        torch.manual_seed(fold)
        part = assemble_part(config, shape, weights=weights, image_channels=image.channels, classes=classes)
        states.append(part.kept_state())
    return FinishedTrial(config, states, weights)


def scratch(**settings):
    return finished(
        {
            "model.backbone": "scratch4",
            "model.weights": "random",
            "model.trained_stages": "all",
            "model.head.hidden": [],
            "input.size_px": 48,
            **settings,
        },
        shape=(1, 48, 48),
    )


def test_a_trial_predicts_the_mean_over_views_and_folds_of_its_nets():
    trial, raw = scratch(**{"training.augmentation": "d4", "input.contrast_test": 2.0}), raw_pixels()
    backbone = backbone_named("scratch4")
    transform = PixelTransform(transform_spec(trial.config, backbone, (64, 64), 65535.0, is_test=True))
    by_hand = []
    with torch.inference_mode():
        for state in trial.folds:
            part = assemble_part(trial.config, (1, 48, 48), weights=None, image_channels=1, classes=2)
            part.load_kept_state(dict(state))
            part.eval()
            views = prediction_views("d4", average=True)
            seen = [probabilities(part(apply_symmetry(transform(raw), view.index))) for view in views]
            by_hand.append(torch.stack(seen).mean(dim=0))
        module = TrialModule(trial, GREY, classes=2)
        torch.testing.assert_close(module.by_fold(raw).float(), torch.stack(by_hand), atol=1e-6, rtol=0)
        mean_logit = torch.stack(by_hand).log().mean(0).softmax(-1)
        torch.testing.assert_close(module(raw).float(), mean_logit, atol=1e-6, rtol=0)


def test_trials_of_one_backbone_and_transform_share_a_trunk_and_predict_as_if_alone():
    lite0 = [
        finished({**LITE0, "training.augmentation": "flips"}, shape=(1280,)),
        finished({**LITE0, "model.cut": "block2", "training.augmentation": "none"}, shape=(24,)),
        finished({**LITE0, "model.cut": "block3", "model.trained_stages": 1}, shape=(24, 16, 16)),
    ]
    trials, raw = [*lite0, scratch()], raw_pixels()
    shared = SharedBackbones(trials, GREY, classes=2)
    assert len(shared.backbone_modules) == 2
    assert [backbone_module for ((backbone_module, _),) in shared.routes] == [0, 0, 0, 1]
    with torch.inference_mode():
        alone = torch.stack([TrialModule(trial, GREY, classes=2)(raw) for trial in trials])
        torch.testing.assert_close(shared(raw), alone, atol=1e-6, rtol=0)


def test_a_trunk_runs_no_deeper_than_its_trials_ask_for():
    shallow = finished({**LITE0, "model.cut": "block2"}, shape=(24,))
    backbone_module = SharedBackbones([shallow], GREY, classes=2).backbone_modules[0]
    assert list(backbone_module.stages) == ["stem", "block1", "block2"]


def test_another_contrast_needs_another_trunk():
    trials = [finished({**LITE0, "input.contrast": contrast}, shape=(1280,)) for contrast in (1.0, 2.0)]
    assert len(SharedBackbones(trials, GREY, classes=2).backbone_modules) == 2


def test_frozen_stages_above_a_trained_adapter_are_held_once_for_all_folds():
    settings = {**LITE0, "model.cut": "block2", "model.channels": "conv1x1"}
    trial = finished(settings, shape=(1, 64, 64), folds=3)
    first, second, third = TrialModule(trial, GREY, classes=2).shared.models[0].parts
    assert first.frozen is second.frozen is third.frozen


def test_images_of_any_size_are_predicted():
    module = TrialModule(scratch(), GREY, classes=2)
    with torch.inference_mode():
        assert module(torch.randint(0, 65535, (2, 30, 90), dtype=torch.int32)).shape == (2, 2)


def test_colour_images_and_more_than_two_classes_are_predicted():
    image = ImageFormat((64, 64, 3), 255.0)
    settings = {
        "model.backbone": "scratch4",
        "model.weights": "random",
        "model.trained_stages": "all",
        "input.size_px": 48,
    }
    trial = finished(settings, shape=(3, 48, 48), image=image, classes=3)
    with torch.inference_mode():
        found = TrialModule(trial, image, classes=3)(torch.randint(0, 255, (2, 64, 64, 3), dtype=torch.uint8))
    assert found.shape == (2, 3)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, dtype=torch.float64))


def test_a_confident_net_keeps_its_distance_from_one():
    trial = scratch()
    for state in trial.folds:
        state["head.2.bias"].fill_(30.0)
    with torch.inference_mode():
        positive = TrialModule(trial, GREY, classes=2)(raw_pixels())[:, 1]
    assert positive.dtype == torch.float64
    assert (positive < 1).all()


def test_weights_that_do_not_fit_name_the_fold():
    trial = scratch()
    trial.folds[1]["head.2.weight"] = torch.zeros(1, 7)
    with pytest.raises(
        WeightsError, match=r"weights of fold 1 do not fit the trial's configuration for images"
    ):
        TrialModule(trial, GREY, classes=2)
