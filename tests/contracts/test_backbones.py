"""Every backbone keeps what the registry promises."""

import pytest
import torch

from trainables.assembly import assemble_part
from trainables.config import decode
from trainables.errors import ConfigError, UnknownNameError
from trainables.models.registry import BACKBONES, backbone_named
from trainables.models.weights import build_stages
from trainables.prefix.taps import feature_shapes

NAMES = sorted(BACKBONES)
# Parameters up to a level, from the specification of the sources: torch counts, without classifier.
PARAMETERS = {
    ("vgg16", "top"): 14_714_688,
    ("vgg16", "top+1"): 14_714_688,
    ("vgg16", "top+2"): 7_635_264,
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
}


def test_the_registry_is_not_empty() -> None:
    assert len(NAMES) >= 6


@pytest.mark.parametrize("name", NAMES)
def test_names_levels_and_shapes_are_as_registered(name: str) -> None:
    backbone = BACKBONES[name]
    channels = backbone.channels or 1
    with torch.device("meta"):
        stages = build_stages(backbone, channels=channels, weights=None)
    assert tuple(stages) == backbone.stage_names
    assert set(backbone.levels) <= set(backbone.stage_names)
    shapes = feature_shapes(name, channels, 150)
    for drop in range(len(backbone.levels)):
        level = "top" if drop == 0 else f"top+{drop}"
        kept = backbone.cut_index(level)
        if (name, level) in PARAMETERS:
            counted = sum(p.numel() for stage in list(stages.values())[:kept] for p in stage.parameters())
            assert counted == PARAMETERS[name, level]
        if (name, level) in SHAPES_AT_150:
            assert shapes[backbone.stage_names[kept - 1]] == SHAPES_AT_150[name, level]


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_side_works_and_every_trained_weight_gets_a_gradient(name: str) -> None:
    backbone = BACKBONES[name]
    config = decode({"model.backbone": name, "model.weights": "random", "model.trained_stages": "all"})
    channels, side = backbone.channels or 1, backbone.min_size_px
    part = assemble_part(config, (channels, side, side), weights=None, image_channels=channels, classes=2)
    logits = part.train()(torch.rand(3, channels, side, side))
    assert logits.shape == (3, 1)
    logits.square().sum().backward()
    without = [n for n, p in part.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in part.parameters() if p.grad is not None)


def test_scratch4_with_its_seed_head_has_the_parameters_of_the_source() -> None:
    config = decode(
        {
            "model.backbone": "scratch4",
            "model.weights": "random",
            "model.trained_stages": "all",
            "model.head.pooling": "flatten",
            "model.head.hidden": [512],
        }
    )
    part = assemble_part(config, (1, 150, 150), weights=None, image_channels=1, classes=2)
    assert sum(p.numel() for p in part.parameters()) == 3_452_545


def test_vgg16_with_its_seed_head_has_the_parameters_of_the_source() -> None:
    config = decode(
        {
            "model.backbone": "vgg16",
            "model.channels": "conv1x1",
            "model.head.pooling": "flatten",
            "model.head.hidden": [512],
        }
    )
    part = assemble_part(config, (1, 150, 150), weights=None, image_channels=1, classes=2)
    assert sum(p.numel() for p in part.parameters()) == 18_910_023
    assert sum(p.numel() for p in part.parameters() if p.requires_grad) == 4_195_335


def test_a_frozen_prefix_below_an_adapter_keeps_its_weights_and_statistics() -> None:
    config = decode({"model.backbone": "mobilenet_v2", "model.channels": "conv1x1", "model.cut": "block3"})
    part = assemble_part(config, (1, 32, 32), weights=None, image_channels=1, classes=2).train()
    before = {name: tensor.clone() for name, tensor in part.frozen.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in part.parameters() if p.requires_grad], lr=0.1)
    part(torch.rand(4, 1, 32, 32)).sum().backward()
    optimizer.step()
    assert len(before) > 10
    for name, tensor in part.frozen.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert part.adapter.weight.grad is not None


def test_pretrained_stages_that_train_keep_their_batch_statistics() -> None:
    config = decode({"model.backbone": "mobilenet_v2", "model.cut": "block3", "model.trained_stages": 2})
    shape = feature_shapes("mobilenet_v2", 3, 32)["block1"]
    part = assemble_part(config, shape, weights=None, image_channels=1, classes=2).train()
    before = {n: b.clone() for n, b in part.trained.named_buffers() if "running" in n}
    part(torch.rand(4, *shape))
    assert before
    assert all(torch.equal(b, before[n]) for n, b in part.trained.named_buffers() if n in before)


def test_an_unknown_cut_or_backbone_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown backbone 'vgg61'; did you mean 'vgg16'"):
        backbone_named("vgg61")
    with pytest.raises(UnknownNameError, match="unknown cut of vgg16 'block6'"):
        BACKBONES["vgg16"].cut_index("block6")


def test_more_trained_stages_than_kept_are_refused() -> None:
    config = decode({"model.backbone": "vgg16", "model.cut": "block2", "model.trained_stages": 3})
    with pytest.raises(ConfigError, match="trained_stages=3, but cut 'block2' of vgg16 keeps 2 stages"):
        BACKBONES["vgg16"].plan(config.model)


def test_pretrained_weights_of_a_net_that_has_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="scratch4 has no ImageNet weights"):
        BACKBONES["scratch4"].plan(decode({"model.backbone": "scratch4"}).model)
