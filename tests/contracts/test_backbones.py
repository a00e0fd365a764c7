"""Every backbone keeps what the registry promises."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from results.scores.metrics import scores
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.config.tasks import task_named
from trainables.config.trial_config import TrialConfig, decode
from trainables.data.patches import PatchSet, select_rows
from trainables.data.splits import make_split
from trainables.data.training_data import TrainingData, training_data_of
from trainables.models.registry import BACKBONES, DEFAULT_BACKBONES, backbone_named
from trainables.models.stages import Backbone, TrainedPart
from trainables.models.taps import feature_shapes
from trainables.models.weights import build_stages, take_inventory
from trainables.runtime.trial_runtime import TrialRuntime
from trainables.training.assembly import assemble_part
from trainables.validation.cross_validation import CrossValidation

pytestmark = pytest.mark.slow

DESCRIBED = (
    "scratch:",
    "scratch:blocks=3,convs=2,filters=32,kernel=3,stride=2,pool=2,padding=same,norm=1,dropout=0.1",
    "scratch:blocks=2,convs=2,filters=16,kernel=5,pool=3,padding=valid",
    "scratch:blocks=2,convs=2,filters=17,branch=1,residual=1,norm=1,stride=2",
    "timm:test_resnet",
    "timm:regnetx_002",
    "timm:convnext_atto",
    "timm:test_vit",
)
NAMES = (*sorted(BACKBONES), *DESCRIBED)
# Parameters up to a level, from the specification of the sources: torch counts, without classifier.
PARAMETERS = {
    ("vgg16", "top"): 14_714_688,
    ("vgg16", "top+1"): 14_714_688,
    ("vgg16", "top+2"): 7_635_264,
    ("vgg19", "top"): 20_024_384,
    ("resnet50", "top"): 23_508_032,
    ("inception_v3", "top"): 21_785_568,
    ("inception_v3", "top+1"): 10_664_160,
    ("inception_v3", "top+2"): 8_965_856,
}
SHAPES_AT_150 = {
    ("vgg16", "top"): (512, 4, 4),
    ("vgg16", "top+1"): (512, 9, 9),
    ("vgg16", "top+2"): (512, 9, 9),
    ("resnet50", "top"): (2048, 5, 5),
    ("resnet50", "top+1"): (1024, 10, 10),
    ("inception_v3", "top"): (2048, 3, 3),
    ("inception_v3", "top+1"): (1280, 3, 3),
    ("inception_v3", "top+2"): (768, 7, 7),
    ("scratch4", "top"): (128, 7, 7),
    ("efficientnet_lite0", "top"): (1280, 5, 5),
    ("m1_same", "top"): (256, 5, 5),
    ("m1_valid", "top"): (256, 1, 1),
    ("m1_same_conv5", "top"): (512, 3, 3),
    ("nasnet", "top"): (4032, 5, 5),
    ("mobilenet_v1", "top"): (1024, 5, 5),
}


@dataclass(frozen=True)
class Built:
    """A backbone that trains from random weights at its smallest side."""

    backbone: Backbone
    part: TrainedPart
    channels: int

    def images(self, more_px: int = 0) -> torch.Tensor:
        side = self.backbone.min_size_px + more_px
        return torch.rand(2, self.channels, side, side)


LARGEST = "nasnet"  # takes as long as ten others
TRAINED = [
    pytest.param(name, marks=[pytest.mark.long] if name == LARGEST else [])
    for name in NAMES
    if not backbone_named(name).is_fixed
]


@pytest.fixture(scope="module", params=TRAINED)
def built(request: pytest.FixtureRequest) -> Built:
    torch.manual_seed(0)
    backbone = backbone_named(request.param)
    settings = {"model.backbone": request.param, "model.weights": "random", "model.trained_stages": "all"}
    channels, side = backbone.channels or 1, backbone.min_size_px
    part = assemble_part(
        decode(settings), (channels, side, side), weights=None, image_channels=channels, classes=2
    )
    return Built(backbone, part, channels)


def test_the_registry_is_not_empty() -> None:
    assert len(BACKBONES) >= 19
    assert all(name == backbone.name for name, backbone in BACKBONES.items())


def test_a_search_tries_these_backbones_by_itself() -> None:
    assert sorted(DEFAULT_BACKBONES) == [
        *("efficientnet_lite0", "inception_v3", "intensity", "mobilenet_v2", "resnet50", "scratch4"),
        *("texture", "vgg16"),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_names_levels_and_shapes_are_as_registered(name: str) -> None:
    backbone = backbone_named(name)
    channels = backbone.channels or 1
    with torch.device("meta"):
        stages = build_stages(backbone, channels=channels, weights=None)
    assert tuple(stages) == backbone.stage_names
    assert set(backbone.levels) <= set(backbone.stage_names)
    assert 1 <= len(backbone.levels) <= 4
    assert backbone.name == name
    assert len(backbone.mean) == len(backbone.std) == (backbone.channels or 1)
    shapes = feature_shapes(name, channels, 150)
    for drop in range(len(backbone.levels)):
        level = "top" if drop == 0 else f"top+{drop}"
        kept = backbone.cut_index(level)
        if (name, level) in PARAMETERS:
            counted = sum(p.numel() for stage in list(stages.values())[:kept] for p in stage.parameters())
            assert counted == PARAMETERS[name, level]
        if (name, level) in SHAPES_AT_150:
            assert shapes[backbone.stage_names[kept - 1]] == SHAPES_AT_150[name, level]


@pytest.mark.parametrize("more_px", [0, 11])
def test_features_have_the_announced_shapes_and_are_numbers(built: Built, more_px: int) -> None:
    features = built.images(more_px)
    announced = feature_shapes(built.backbone.name, built.channels, features.shape[-1])
    built.part.eval()
    with torch.inference_mode():
        for name, stage in built.part.trained.named_children():
            features = stage(features)
            assert tuple(features.shape[1:]) == announced[name]
            assert torch.isfinite(features).all(), name


def test_every_trained_weight_gets_a_finite_gradient_at_the_smallest_side(built: Built) -> None:
    logits = built.part.train()(built.images())
    assert logits.shape == (2, 1)
    logits.square().sum().backward()
    parameters = dict(built.part.named_parameters())
    assert len(parameters) > 1
    assert [name for name, p in parameters.items() if p.grad is None] == []
    assert [name for name, p in parameters.items() if not torch.isfinite(p.grad).all()] == []


def test_what_a_part_keeps_puts_it_back(built: Built) -> None:
    kept = built.part.kept_state()
    with torch.no_grad():
        for tensor in built.part.state_dict().values():
            tensor.fill_(3)
    built.part.load_kept_state(kept)
    again = built.part.state_dict()
    assert set(again) == set(kept)
    assert all(torch.equal(again[name], tensor) for name, tensor in kept.items())


@pytest.mark.parametrize("name", [name for name in NAMES if backbone_named(name).has_imagenet_weights])
def test_a_frozen_prefix_below_an_adapter_keeps_its_weights_and_statistics(name: str) -> None:
    backbone = backbone_named(name)
    settings = {"model.backbone": name, "model.channels": "conv1x1", "model.trained_stages": 1}
    config = decode({**settings, "model.cut": backbone.stage_names[2]})
    side = backbone.min_size_px
    part = assemble_part(config, (1, side, side), weights=None, image_channels=1, classes=2).train()
    before = {key: tensor.clone() for key, tensor in part.frozen.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in part.parameters() if p.requires_grad], lr=0.1)
    part(torch.rand(2, 1, side, side)).sum().backward()
    optimizer.step()
    assert before
    for key, tensor in part.frozen.state_dict().items():
        assert torch.equal(tensor, before[key]), key
    assert part.adapter.weight.grad is not None


def test_pretrained_stages_that_train_keep_their_batch_statistics() -> None:
    config = decode({"model.backbone": "mobilenet_v2", "model.cut": "block3", "model.trained_stages": 2})
    shape = feature_shapes("mobilenet_v2", 3, 32)["block1"]
    part = assemble_part(config, shape, weights=None, image_channels=1, classes=2).train()
    before = {n: b.clone() for n, b in part.trained.named_buffers() if "running" in n}
    part(torch.rand(4, *shape))
    assert before
    assert all(torch.equal(b, before[n]) for n, b in part.trained.named_buffers() if n in before)


CHEAP = (
    "idc_bench",
    "sia6conv",
    "s1_0_0",
    "s1_2",
    "scratch:blocks=2,filters=16,branch=1,residual=1,norm=1,dropout=0.2,stride=2",
    "scratch:blocks=2,filters=16,padding=valid,pool=3",
    "timm:test_resnet",
)


@pytest.mark.parametrize("name", CHEAP)
def test_fused_folds_agree_with_sequential_ones_to_1e_5_in_double_precision(
    name: str, bright_patches: PatchSet, tmp_path: Path
) -> None:
    config = decode(
        {
            "model.backbone": name,
            "model.weights": "random",
            "model.trained_stages": "all",
            "model.head.hidden": "8",
            "input.size_px": 32,
            "training.epochs": 1,
            "training.batch_size": 16,
            "training.average_views": False,
        }
    )
    training_data = _material(bright_patches)
    inventory = take_inventory((name,), weights_dir=None, may_download=False, is_random=True)
    place = TrialRuntime(tmp_path, torch.device("cpu"), inventory.usable, dtype=torch.float64)
    one, other = (_finished(config, training_data, place, how).best for how in ("sequential", "fused"))
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(other.probabilities, one.probabilities, atol=1e-5)
    for expected, found in zip(one.weights, other.weights, strict=True):
        assert list(expected) == list(found)
        for key, tensor in expected.items():
            torch.testing.assert_close(found[key], tensor, atol=1e-5, rtol=1e-5, msg=lambda text: text)


def _material(patches: PatchSet) -> TrainingData:
    task = task_named("benign_malignant")
    rows = select_rows(patches, task)
    split = make_split(
        rows, fingerprint=patches.fingerprint, task=task.name, folds=2, test_share=0.25, seed=0
    )
    return training_data_of(patches, task, split)


def _finished(
    config: TrialConfig, training_data: TrainingData, place: TrialRuntime, how: str
) -> CrossValidation:
    run = CrossValidation(config, training_data, dataclasses.replace(place, fusion=how), seed=3, score=scores)
    assert run.folds.models.mode == how
    while not run.is_over:
        run.epoch()
    return run


def test_an_unknown_cut_or_backbone_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown backbone 'vgg166'; did you mean 'vgg16'"):
        backbone_named("vgg166")
    with pytest.raises(UnknownNameError, match="unknown cut of vgg16 'block6'"):
        BACKBONES["vgg16"].cut_index("block6")


def test_more_trained_stages_than_kept_are_refused() -> None:
    config = decode({"model.backbone": "vgg16", "model.cut": "block2", "model.trained_stages": 3})
    with pytest.raises(ConfigError, match="trained_stages=3, but cut 'block2' of vgg16 keeps 2 stages"):
        BACKBONES["vgg16"].plan(config.model)


def test_pretrained_weights_of_a_net_that_has_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="scratch4 has no ImageNet weights"):
        BACKBONES["scratch4"].plan(decode({"model.backbone": "scratch4"}).model)
