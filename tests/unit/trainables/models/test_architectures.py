"""The nets of the source systems against their published counts, and nets that their name describes."""

import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision import models

from trainables.common.errors import ConfigError, UnknownNameError, WeightsError
from trainables.config.trial_config import HeadConfig, ModelConfig, decode
from trainables.models.custom_cnn import Structure, structure_of
from trainables.models.heads import Dropout, build_head, use_generators
from trainables.models.layers import Branches, Residual, SameAveragePool, max_pool, same_padding
from trainables.models.registry import BACKBONES, backbone_named
from trainables.models.taps import feature_shapes
from trainables.models.weights import build_stages, find_weights, take_inventory

pytestmark = pytest.mark.slow

FLAT_003 = {"pooling": "flatten", "batch_norm": True, "dropout": 0.5, "style": "tf003"}
BIG_003 = {**FLAT_003, "hidden": "2048-2048"}
LITE_003 = {**FLAT_003, "hidden": "1024-512"}
TWO_LOGITS = {"output": "softmax"}


def stages_and_head(
    name: str, size_px: int, head: dict[str, object], *, classes: int = 2, cut: str = "top"
) -> tuple[nn.Module, nn.Module]:
    """Build on the meta device: no weights, no arithmetic."""
    backbone = backbone_named(name)
    channels, kept = backbone.channels or 1, backbone.stage_names[: backbone.cut_index(cut)]
    features = feature_shapes(name, channels, size_px)[kept[-1]]
    with torch.device("meta"):
        stages = backbone.build(channels)
        return (
            nn.Sequential(*(stages[stage] for stage in kept)),
            build_head(headed(head), features, classes=classes),
        )


def headed(head: dict[str, object]) -> ModelConfig:
    """A configuration that says nothing but its head."""
    return ModelConfig(backbone="any", head=HeadConfig.model_validate(head))


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "size_px", "head", "classes", "expected"),
    [
        ("s1_0_0", 299, BIG_003 | TWO_LOGITS, 2, 32_198_594),
        ("s1_0_0", 299, BIG_003, 3, 32_200_643),
        ("s1_0_0", 299, BIG_003, 5, 32_204_741),
        ("m1_same", 150, BIG_003, 2, 17_908_161),
        ("m1_valid", 150, BIG_003, 2, 5_325_249),
        ("m1_same_conv5", 150, BIG_003, 2, 15_419_329),
        ("vgg_lite", 299, LITE_003 | TWO_LOGITS, 2, 15_815_042),
        ("inception_lite", 299, {"hidden": "none"} | TWO_LOGITS, 2, 8_531_410),
        ("scratch4", 150, {"pooling": "flatten", "hidden": "512"}, 2, 3_452_545),
        ("vgg19", 50, {"pooling": "flatten", "hidden": "128-128"} | TWO_LOGITS, 2, 20_106_818),
        ("nasnet", 50, {"hidden": "none"}, 2, 84_720_150 + 4_033),
    ],
)
def test_a_net_with_its_sources_head_has_the_parameters_of_the_source(
    name: str, size_px: int, head: dict[str, object], classes: int, expected: int
) -> None:
    body, top = stages_and_head(name, size_px, head, classes=classes)
    assert parameters(body, top) == expected


@pytest.mark.parametrize(
    ("name", "size_px", "cut", "hidden", "inputs", "expected"),
    [
        ("scratch4", 150, "top", "512", 6_272, 3_211_776 + 513),
        ("vgg16", 150, "top", "512", 8_192, 4_194_816 + 513),
        ("inception_v3", 150, "top", "512", 18_432, 9_437_696 + 513),
        ("inception_v3", 150, "top+1", "512-256", 11_520, 5_898_752 + 131_328 + 257),
        ("m1_valid", 150, "top", "none", 256, 257),
        ("m1_same", 150, "top", "none", 6_400, 6_401),
        ("m1_same_conv5", 150, "top", "none", 4_608, 4_609),
        ("s1_0_0", 299, "top", "none", 12_800, 12_801),
        ("vgg_lite", 299, "top", "none", 9_600, 9_601),
        ("vgg19", 50, "top", "none", 512, 513),
    ],
)
def test_a_flatten_head_has_the_inputs_and_parameters_of_the_source(
    name: str, size_px: int, cut: str, hidden: str, inputs: int, expected: int
) -> None:
    _, head = stages_and_head(name, size_px, {"pooling": "flatten", "hidden": hidden}, cut=cut)
    assert next(layer for layer in head if isinstance(layer, nn.Linear)).in_features == inputs
    assert parameters(head) == expected


def test_s1_0_0_keeps_as_many_running_statistics_as_the_source() -> None:
    body, head = stages_and_head("s1_0_0", 299, BIG_003)
    buffers = [b for part in (body, head) for n, b in part.named_buffers() if "running" in n]
    assert sum(b.numel() for b in buffers) == 10_688


@pytest.mark.parametrize(
    ("name", "size_px", "sides"),
    [
        ("s1_0_0", 299, [75, 38, 19, 10, 5]),
        ("vgg_lite", 299, [75, 38, 19, 10, 5]),
        ("s1_0_1_39n", 299, [75, 38, 19, 10, 5]),
        ("inception_lite", 299, [147, 73, 71, *[35] * 4, *[17] * 5, *[8] * 3]),
        ("m1_valid", 150, [34, 15, 5, 1]),
        ("m1_same", 150, [38, 19, 10, 5]),
        ("sia6conv", 150, [72, 33]),
        ("idc_bench", 50, [48]),
    ],
)
def test_the_map_has_the_sides_of_the_source_after_each_stage(
    name: str, size_px: int, sides: list[int]
) -> None:
    assert [shape[1] for shape in feature_shapes(name, 1, size_px).values()] == sides


@given(size=st.integers(1, 400), kernel=st.integers(1, 9), stride=st.integers(1, 4))
def test_same_padding_keeps_every_stride_th_position_and_pads_more_after(
    size: int, kernel: int, stride: int
) -> None:
    before, after = same_padding(size, kernel=kernel, stride=stride)
    assert 0 <= before <= after <= before + 1
    positions = (size + before + after - kernel) // stride + 1
    assert positions == math.ceil(size / stride) or (before, after) == (0, 0)


def test_a_same_pool_on_an_even_side_is_padded_below_and_right_only() -> None:
    pixels = -torch.arange(1.0, 17.0).view(1, 1, 4, 4)
    found = max_pool(3)(pixels)
    assert found.flatten().tolist() == [-1, -3, -9, -11]


def test_a_same_average_leaves_its_padding_out() -> None:
    assert SameAveragePool(2)(torch.ones(2, 3, 5, 5)).unique().tolist() == [1.0]
    ramp = torch.arange(9.0).view(1, 1, 3, 3)
    assert SameAveragePool(2)(ramp).flatten().tolist() == [2, 3, 3.5, 5, 6, 6.5, 6.5, 7.5, 8]


def test_003s_convolutions_start_and_normalise_as_in_the_source() -> None:
    torch.manual_seed(0)
    modules = [m for stage in BACKBONES["s1_0_0"].build(1).values() for m in stage.modules()]
    convolutions = [m for m in modules if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 9
    assert all(m.weight.abs().max() <= 0.1 and m.bias.abs().max() == 0 for m in convolutions)
    assert convolutions[-1].weight.std().item() == pytest.approx(0.05 * 0.88, rel=0.01)
    norms = [m for m in modules if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-8, 0.01)}
    assert {m.p for m in modules if isinstance(m, Dropout)} == {0.1}


def test_003s_head_starts_and_normalises_as_in_the_source() -> None:
    torch.manual_seed(0)
    head = build_head(headed(LITE_003), (9_600,), classes=5)
    first, second, last = (layer for layer in head if isinstance(layer, nn.Linear))
    for layer, variance in ((first, 2 / 9_600), (second, 2 / 1_024), (last, 1 / 512)):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(variance), rel=0.05)
        assert layer.bias.abs().max() == 0
    norms = [layer for layer in head if isinstance(layer, nn.BatchNorm1d)]
    assert [(layer.eps, layer.momentum) for layer in norms] == [(1e-8, 0.1)] * 2


def test_a_head_that_is_not_asked_for_another_style_starts_as_keras_does() -> None:
    torch.manual_seed(0)
    head = build_head(headed({"hidden": (64,), "batch_norm": True}), (320,), classes=2)
    assert head[2].weight.abs().max().item() == pytest.approx(math.sqrt(6 / 384), rel=0.01)
    assert head[3].eps == 1e-5


def test_the_first_six_keras_layers_of_vgg19_are_a_stage_boundary() -> None:
    config = decode({"model.backbone": "vgg19", "model.trained_stages": 7})
    plan = BACKBONES["vgg19"].plan(config.model)
    assert plan.frozen == ("block1", "block2")
    with torch.device("meta"):
        stages = BACKBONES["vgg19"].build(3)
        published = models.vgg19(weights=None, init_weights=False).features
    assert sum(len(stages[name]) for name in plan.frozen) == 9
    assert [str(m) for stage in stages.values() for m in stage] == [str(m) for m in published]


@pytest.mark.parametrize(
    ("name", "published", "size_px"),
    [("nasnet", "nasnetalarge", 48), ("mobilenet_v1", "mobilenetv1_100", 48)],
)
def test_a_state_dict_of_timm_fits_and_computes_the_same(
    name: str, published: str, size_px: int, tmp_path: Path
) -> None:
    net = timm.create_model(published, pretrained=False).eval()
    torch.save(net.state_dict(), tmp_path / f"{name}.pt")
    found = find_weights(name, weights_dir=tmp_path, may_download=False)
    body = nn.Sequential(build_stages(backbone_named(name), channels=3, weights=found)).eval()
    pixels = torch.rand(1, 3, size_px, size_px)
    with torch.inference_mode():
        torch.testing.assert_close(body(pixels), net.forward_features(pixels))


def test_branches_lie_side_by_side_and_a_residual_is_added() -> None:
    pixels = torch.rand(2, 1, 4, 4)
    both = Branches([nn.Identity(), nn.ReLU()])(pixels)
    torch.testing.assert_close(both, torch.cat([pixels, pixels], dim=1))
    torch.testing.assert_close(Residual(nn.ReLU(), nn.Identity())(pixels), 2 * pixels)


structures = st.builds(
    Structure,
    blocks=st.integers(1, 6),
    convs=st.integers(1, 3),
    filters=st.integers(16, 512),
    kernel=st.sampled_from((3, 5, 7)),
    stride=st.integers(1, 2),
    pool=st.integers(2, 3),
    padding=st.just("same"),
    norm=st.booleans(),
    dropout=st.floats(0.0, 0.25),
    branch=st.booleans(),
    residual=st.booleans(),
)


@settings(max_examples=20, deadline=None)
@given(structure=structures)
def test_every_structure_is_read_back_from_its_name_and_builds_at_its_smallest_side(
    structure: Structure,
) -> None:
    assert structure_of(structure.name) == structure
    shapes = feature_shapes(structure.name, 3, structure.min_size_px)
    assert [shape[0] for shape in shapes.values()] == list(structure.widths)


@pytest.mark.parametrize(
    "text",
    [
        "blocks=2,convs=3,kernel=5,stride=2,pool=3,padding=valid",
        "blocks=4,convs=1,padding=valid",
        "blocks=3,convs=2,pool=3,kernel=7,padding=valid",
    ],
)
def test_the_smallest_side_of_a_valid_net_leaves_one_position_and_a_smaller_one_none(text: str) -> None:
    backbone = backbone_named(f"scratch:{text}")
    top = backbone.stage_names[-1]
    assert feature_shapes(backbone.name, 1, backbone.min_size_px)[top][1:] == (1, 1)
    with pytest.raises(RuntimeError, match=r"too small|[Kk]ernel size"):
        feature_shapes(backbone.name, 1, backbone.min_size_px - 1)


def test_a_free_form_net_is_what_its_name_says() -> None:
    with torch.device("meta"):
        stages = backbone_named("scratch:blocks=3,convs=2,filters=200,kernel=5,norm=1,dropout=0.1").build(1)
    convolutions = [m for stage in stages.values() for m in stage.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [200, 200, 400, 400, 512, 512]
    assert {m.kernel_size for m in convolutions} == {(5, 5)}
    for stage in stages.values():
        assert sum(isinstance(m, nn.BatchNorm2d) for m in stage.modules()) == 2
        assert [m.p for m in stage.modules() if isinstance(m, Dropout)] == [0.1]


def test_a_net_with_branches_and_residuals_has_them() -> None:
    stages = backbone_named("scratch:blocks=2,convs=2,filters=33,branch=1,residual=1").build(1)
    for stage, width in zip(stages.values(), (33, 66), strict=True):
        assert isinstance(stage[0], Residual)
        assert isinstance(stage[0].body, Branches)
        beside, single = stage[0].body
        assert (len(beside), beside[-1][0].out_channels) == (2, width - width // 2)
        assert single[0].out_channels == width // 2


def test_spellings_of_one_net_have_one_canonical_name_and_keep_their_own() -> None:
    one, other = "scratch:blocks=2,norm=1", "scratch:norm=true, blocks=2"
    assert structure_of(one).name == structure_of(other).name
    assert (backbone_named(one).name, backbone_named(other).name) == (one, other)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "scratch:bloks=3",
            r"unknown setting of scratch: 'bloks'; did you mean 'blocks'\? Known: blocks, br",
        ),
        ("scratch:blocks=9", "blocks=9: Input should be less than or equal to 6"),
        ("scratch:filters=8", "filters=8: Input should be greater than or equal to 16"),
        ("scratch:dropout=0.3", r"dropout=0\.3: Input should be less than or equal to 0\.25"),
        ("scratch:kernel=4", "kernel=4: 3, 5 or 7 are possible"),
        ("scratch:padding=full", "padding=full: Input should be 'same' or 'valid'"),
        ("scratch:blocks", "blocks needs one value, such as scratch:blocks=3,convs=2"),
        ("scratch:blocks=2,blocks=3", "blocks needs one value"),
        ("scratch:padding=valid,branch=1", "branch=1 and residual=1 need padding=same"),
        ("scratch:padding=valid,residual=1", "branch=1 and residual=1 need padding=same"),
        (
            "scratch:padding=valid,blocks=6,convs=3,kernel=7",
            "such a net needs images of 1198 pixels, above 512",
        ),
        ("timm:resnet1", "unknown network of timm 'resnet1'; did you mean 'resnet18'"),
        ("timm:", "unknown network of timm ''. Known: convnext_atto, regnetx_002, resnet18"),
        ("timm:beit_base_patch16_224", "cannot be cut into stages .*: its features are not a map"),
        (
            "timm:hrnet_w18_small",
            "transition1 takes something else than layer1 gives; take a network of plain",
        ),
        ("sratch:blocks=3", "did you mean 'scratch:blocks=3,convs=2'"),
    ],
)
def test_a_name_that_describes_no_net_is_explained(name: str, message: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        backbone_named(name)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("timm:resnet18", ("stem", "layer1", "layer2", "layer3", "layer4")),
        ("timm:convnext_atto", ("stem", "stages_0", "stages_1", "stages_2", "stages_3")),
        ("timm:mobilenetv1_100", ("stem", *(f"blocks_{number}" for number in range(5)))),
    ],
)
def test_stages_of_a_timm_network_are_found_and_compute_the_same_with_its_weights(
    name: str, stages: tuple[str, ...], tmp_path: Path
) -> None:
    short = name.partition(":")[2]
    net = timm.create_model(short, pretrained=False).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
    torch.save(net.state_dict(), tmp_path / f"{short}.pt")
    backbone = backbone_named(name)
    assert backbone.stage_names == stages
    assert backbone.levels[0] == stages[-1]
    found = find_weights(name, weights_dir=tmp_path, may_download=False)
    body = nn.Sequential(build_stages(backbone, channels=3, weights=found)).eval()
    pixels = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(body(pixels), net.forward_features(pixels))


class Odd(nn.Module):
    """A network in timm's manner whose modules do not make up its features."""

    num_features, feature_info, side = 3, (), 0

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        if self.side and images.shape[-1] != self.side:
            raise ValueError(f"images of {self.side} pixels only")
        return self.convolution(images) + images


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (0, "timm:odd cannot be cut .*: it computes something else between its modules"),
        (50, "timm:odd takes square images of 3 channels at none of 32, 48, .* pixels: images of 50 pixels"),
    ],
)
def test_a_timm_network_that_is_no_list_of_stages_is_refused(
    side: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Odd, "side", side)
    monkeypatch.setattr(timm, "is_model", lambda name: True)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **options: Odd())
    with pytest.raises(ConfigError, match=message):
        backbone_named("timm:odd")


def test_looking_at_a_timm_network_changes_no_later_draw() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    backbone_named("timm:test_efficientnet")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_an_image_encoder_within_a_larger_checkpoint_is_found(suffix: str, tmp_path: Path) -> None:
    net = timm.create_model("test_resnet", pretrained=False)
    inner = {f"image_encoder.{name}": value for name, value in net.state_dict().items()}
    inner |= {"text_encoder.weight": torch.zeros(3), "image_encoder.fc.bias": torch.zeros(2)}
    path = tmp_path / f"test_resnet{suffix}"
    if suffix == ".pth":
        torch.save({"epoch": 3, "model": inner}, path)
    else:
        safetensors.torch.save_file(inner, path)
    assert_fits(net, tmp_path)


def test_other_names_of_the_same_layers_are_taken_in_their_order(tmp_path: Path) -> None:
    net = timm.create_model("test_resnet", pretrained=False)
    renamed = {
        f"image_encoder._{name.rpartition('.')[0].replace('.', '_')}.{name.rpartition('.')[2]}": value
        for name, value in net.state_dict().items()
        if not name.startswith("fc.")
    }
    torch.save({"state_dict": renamed}, tmp_path / "test_resnet.pth")
    assert_fits(net, tmp_path)


def assert_fits(net: torch.nn.Module, folder: Path) -> None:
    weights = find_weights("timm:test_resnet", weights_dir=folder, may_download=False)
    stages = build_stages(backbone_named("timm:test_resnet"), channels=3, weights=weights)
    features = images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        for stage in stages.values():
            features = stage.eval()(features)
        torch.testing.assert_close(features, net.eval().forward_features(images), rtol=1e-4, atol=1e-5)


def test_a_timm_file_that_does_not_fit_or_is_missing_is_explained(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"no test_resnet\.pt, \.pth or \.safetensors, since no --weights-dir"
    ):
        find_weights("timm:test_resnet", weights_dir=None, may_download=True)
    torch.save({"conv1.0.weight": torch.zeros(1)}, tmp_path / "test_resnet.pth")
    found = find_weights("timm:test_resnet", weights_dir=tmp_path, may_download=False)
    with pytest.raises(
        WeightsError, match=r"tensors missing \d+ \(conv1\.1\.weight; .*of another shape 1 \(conv1\.0\.weight"
    ):
        build_stages(backbone_named("timm:test_resnet"), channels=3, weights=found)
    inventory = take_inventory(("timm:test_efficientnet",), weights_dir=tmp_path, may_download=False)
    assert "train all stages from model.weights=random" in inventory.left_out["timm:test_efficientnet"]


def test_dropout_that_runs_for_several_models_drops_for_each_what_it_would_by_itself() -> None:
    features = torch.rand(3, 4, 5)
    alone = []
    for model, images in enumerate(features):
        layer = Dropout(0.4)
        layer.generator = torch.Generator().manual_seed(model)
        alone.append(layer(images))
    together = nn.Sequential(Dropout(0.4))
    use_generators(together, [torch.Generator().manual_seed(model) for model in range(3)])
    found = torch.func.vmap(together, randomness="different")(features)
    np.testing.assert_array_equal(found, torch.stack(alone))
    assert 0 < (found == 0).sum() < found.numel()
    with pytest.raises(RuntimeError, match="runs inside vmap over the models only"):
        together(features)
