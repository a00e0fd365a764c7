"""Transformers of timm, cut into stages, compute what timm computes: class token and mean of the patches."""

from pathlib import Path

import pytest
import timm
import torch

from trainables.features.onnx_stages import OnnxStore
from trainables.models.registry import backbone_named
from trainables.models.timm_tokens import as_map, as_tokens
from trainables.models.weights import build_stages, find_weights

pytestmark = pytest.mark.slow

PLAIN, ROTARY, REGISTERS, WINDOWS = (
    "vit_tiny_patch16_224",
    "eva02_tiny_patch14_224",
    "vit_small_patch16_dinov3",
    "swin_tiny_patch4_window7_224",
)
SIDE = 64


def published(name: str, folder: Path) -> torch.nn.Module:
    """A network of timm with random weights, whose state dict lies in the folder."""
    torch.manual_seed(3)
    options = {"strict_img_size": False} if name == WINDOWS else {"dynamic_img_size": True}
    net = timm.create_model(name, pretrained=False, **options).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)  # nothing is zero or one, as some parts begin
    torch.save(net.state_dict(), folder / f"{name}.pt")
    return net


def images(side: int = SIDE) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["test_vit", PLAIN, ROTARY, REGISTERS])
def test_every_block_gives_the_tokens_of_timms_own_intermediates(name: str, tmp_path: Path) -> None:
    net = published(name, tmp_path)
    backbone = backbone_named(f"timm:{name}")
    side = SIDE if "patch14" not in name else 56
    weights = find_weights(f"timm:{name}", weights_dir=tmp_path, may_download=False)
    stages = build_stages(backbone, channels=3, weights=weights)
    with torch.inference_mode():
        expected = net.forward_intermediates(
            images(side), return_prefix_tokens=True, intermediates_only=True, norm=False
        )
        features, last = images(side), net.forward_features(images(side))
        for number, (stage, module) in enumerate(stages.items(), start=-1):
            features = module(features)
            if 0 <= number < len(stages) - 2:
                patches, others = expected[number]
                width, found = patches.shape[1], features.mean(dim=(2, 3))
                torch.testing.assert_close(features[:, :width], patches, rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(
                    found[:, width : 2 * width], others[:, 0], rtol=1e-4, atol=1e-4, msg=stage
                )
    prefix = net.num_prefix_tokens
    wanted = torch.cat([last[:, prefix:].mean(dim=1), last[:, 0]], dim=1)
    torch.testing.assert_close(features.mean(dim=(2, 3)), wanted, rtol=1e-4, atol=1e-4)


def test_windows_that_move_are_stages_too(tmp_path: Path) -> None:
    net = published(WINDOWS, tmp_path)
    weights = find_weights(f"timm:{WINDOWS}", weights_dir=tmp_path, may_download=False)
    features = images()
    with torch.inference_mode():
        for stage in build_stages(backbone_named(f"timm:{WINDOWS}"), channels=3, weights=weights).values():
            features = stage(features)
        expected = net.forward_features(images())
    torch.testing.assert_close(features, expected.permute(0, 3, 1, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [32, 50, 96])
def test_any_side_will_do(side: int) -> None:
    features = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        for stage in backbone_named("timm:test_vit").build(3).values():
            features = stage.eval()(features)
    assert features.shape == (1, 128, -(-side // 16), -(-side // 16))
    assert torch.isfinite(features).all()


@pytest.mark.long
def test_onnx_runtime_computes_the_same_stages(tmp_path: Path) -> None:
    backbone = backbone_named("timm:test_vit")
    torch.manual_seed(0)
    stages = backbone.build(3)
    for stage in stages.values():
        stage.eval()
    exported = OnnxStore(tmp_path, stages, (3, SIDE, SIDE)).open(stages, images())
    found, features = exported(images(), list(stages)), images()
    with torch.inference_mode():
        for name, stage in stages.items():
            features = stage(features)
            torch.testing.assert_close(found[name], features, rtol=1e-3, atol=1e-4)


def test_a_map_is_turned_back_into_its_tokens() -> None:
    tokens = torch.rand(2, 3 + 4 * 5, 6)
    found = as_map(tokens, 3, 4, 5)
    assert found.shape == (2, 4 * 6, 4, 5)
    assert torch.equal(as_tokens(found, 3), tokens)
    assert torch.equal(as_tokens(as_map(tokens[:, 3:], 0, 4, 5), 0), tokens[:, 3:])


def test_levels_are_at_the_end_at_three_quarters_and_at_half() -> None:
    assert backbone_named(f"timm:{PLAIN}").levels == ("blocks_11", "blocks_8", "blocks_5")
