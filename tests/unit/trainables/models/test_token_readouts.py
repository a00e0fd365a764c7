"""Class token, patches, or both, of any block behind the final norm, as DINOv2's linear probes read them."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from search_spaces.classical_models import frozen_features
from search_spaces.closed_form import further_taps
from search_spaces.context import SpaceContext
from search_spaces.image_classifier import model
from trainables.common.errors import UnknownNameError
from trainables.config.trial_config import decode
from trainables.features.executor import StageExecutor, multiply_adds
from trainables.features.onnx_stages import OnnxStore
from trainables.inference.shared_backbones import FeatureOutput, SharedBackbone
from trainables.models.readouts import run_stages
from trainables.models.registry import backbone_named
from trainables.models.taps import Tap, feature_shapes, frozen_parts, tap_of, taps_to_share
from trainables.models.weights import build_stages, find_weights
from trainables.preprocessing.transforms import transform_spec
from trainables.training.assembly import assemble_part

pytestmark = pytest.mark.slow

PLAIN = "timm:test_vit"
REGISTERS, MAE = "vit_small_patch14_reg4_dinov2", "vit_base_patch16_224.mae"


def published(name: str, folder: Path) -> Any:
    """A network of timm with random weights, whose state dict lies in the folder."""
    torch.manual_seed(3)
    net = timm.create_model(name, pretrained=False, dynamic_img_size=True).eval()
    for own, parameter in net.named_parameters():
        if own.endswith(("norm.weight", "norm.bias", "ls1.gamma", "ls2.gamma", "cls_token", "reg_token")):
            torch.nn.init.uniform_(parameter, 0.3, 1.5)  # they begin as zeros and ones, or all but zero
    torch.save(net.state_dict(), folder / f"{name}.pt")
    return net


def images(side: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


def plain_stages() -> tuple[Any, Any]:
    """The small transformer with readouts, and the image that it is tried on."""
    backbone = backbone_named(PLAIN)
    torch.manual_seed(0)
    stages = backbone.with_readouts(backbone.build(3))
    for stage in stages.values():
        stage.eval().requires_grad_(False)
    last = stages["blocks_5"]
    torch.nn.init.uniform_(last.norm.weight, 0.5, 1.5)
    return backbone, stages


@pytest.mark.parametrize(
    ("name", "side"), [("test_vit", 64), (REGISTERS, 56), pytest.param(MAE, 64, marks=pytest.mark.long)]
)
def test_readouts_are_what_timm_gives_with_its_final_norm(name: str, side: int, tmp_path: Path) -> None:
    net, backbone = published(name, tmp_path), backbone_named(f"timm:{name}")
    weights = find_weights(f"timm:{name}", weights_dir=tmp_path, may_download=False)
    stages = backbone.with_readouts(build_stages(backbone, channels=3, weights=weights))
    with torch.inference_mode():
        found = dict(run_stages(stages, images(side)))
        expected = net.forward_intermediates(
            images(side), return_prefix_tokens=True, intermediates_only=True, norm=True
        )
    assert len(expected) == len(backbone.stage_names) - 1 >= 6
    for number, (patches, others) in enumerate(expected):
        token, block = others[:, 0], f"blocks_{number}"
        near = {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(found[f"{block}_class"].mean(dim=(2, 3)), token, **near)
        torch.testing.assert_close(found[f"{block}_patches"], patches, **near)
        both = torch.cat([patches.mean(dim=(2, 3)), token], dim=1)
        torch.testing.assert_close(found[f"{block}_both"].mean(dim=(2, 3)), both, **near)
    assert torch.equal(found[f"{block}_both"], found[block])
    assert not torch.allclose(found["blocks_4"][:, : patches.shape[1]], expected[4][0], rtol=0.1)


def test_a_net_without_a_class_token_has_its_patches_only() -> None:
    backbone = backbone_named("timm:test_vit3")  # its one further token is a register
    assert backbone.readouts == ("patches",)
    assert backbone.readout_cuts == ()
    assert backbone.tap_lists == (
        ("top.patches", "blocks_7.patches", "blocks_6.patches", "blocks_5.patches"),
    )
    with pytest.raises(UnknownNameError, match=r"unknown cut of timm:test_vit3 'top\.class'"):
        backbone.cut_index("top.class")
    assert backbone_named("timm:test_resnet").readouts == ()


def test_a_readout_stands_behind_a_level_or_a_block_and_trains_with_it() -> None:
    backbone = backbone_named(PLAIN)
    assert backbone.end_of("top") == "blocks_5"
    assert backbone.end_of("top.class") == "blocks_5_class"
    assert backbone.end_of("top+1.patches") == "blocks_3_patches"
    assert backbone.cut_index("blocks_2.both") == backbone.cut_index("blocks_2") == 4
    frozen = decode({"model.backbone": PLAIN, "model.cut": "blocks_1.class"})
    assert backbone.plan(frozen.model).frozen == ("stem", "blocks_0", "blocks_1", "blocks_1_class")
    assert tap_of(frozen, backbone) == Tap("blocks_1_class", is_pooled=True)
    trained = frozen.model.model_copy(update={"trained_stages": 1})
    assert backbone.plan(trained).frozen == ("stem", "blocks_0")
    assert backbone.plan(trained).trained == ("blocks_1", "blocks_1_class")
    for cut in ("stem.class", "top.words", "blocks_9.class"):
        with pytest.raises(UnknownNameError, match=rf"unknown cut of timm:test_vit '{cut}'"):
            backbone.cut_index(cut)


def test_names_of_stored_features_are_new_ones_and_those_of_blocks_stay() -> None:
    backbone, shapes = backbone_named(PLAIN), feature_shapes(PLAIN, 3, 64)
    assert shapes["blocks_4"] == shapes["blocks_4_both"] == (128, 4, 4)
    assert shapes["blocks_4_class"] == (64, 1, 1)
    names = [str(tap) for tap in taps_to_share(backbone, shapes, depths=(0,))]
    assert names[:2] == ["blocks_5.gap", "blocks_5.map"]
    assert {"blocks_5_class.gap", "blocks_5_patches.gap", "blocks_2_class.gap", "blocks_2_both.gap"} <= {
        *names
    }
    assert len(names) == len({*names})
    config = decode(
        {
            "model.backbone": PLAIN,
            "model.cut": "top.class",
            "classical.name": "logistic",
            "model.also": f"{PLAIN}/blocks_4.class,{PLAIN}/blocks_3.class",
        }
    )
    taps = [str(tap_of(part, backbone)) for part in frozen_parts(config)]
    assert taps == ["blocks_5_class.gap", "blocks_4_class.gap", "blocks_3_class.gap"]


def test_a_trained_block_learns_through_its_class_token() -> None:
    config = decode(
        {
            "model.backbone": PLAIN,
            "model.cut": "blocks_4.class",
            "model.trained_stages": 1,
            "model.head.hidden": [],
            "fine_tuning.drop_path": 0.1,
        }
    )
    part = assemble_part(config, (128, 4, 4), weights=None, image_channels=1, classes=2).train()
    assert [name for name, _ in part.trained.named_children()] == ["blocks_4", "blocks_4_class"]
    part(torch.rand(3, 128, 4, 4)).sum().backward()
    missing = [name for name, own in part.named_parameters() if own.grad is None]
    assert missing == []
    again = assemble_part(config, (128, 4, 4), weights=None, image_channels=1, classes=2)
    again.load_kept_state(part.kept_state())
    torch.testing.assert_close(again.eval()(torch.ones(1, 128, 4, 4)), part.eval()(torch.ones(1, 128, 4, 4)))


def test_a_pass_computes_the_readouts_that_are_wanted_beside_the_blocks() -> None:
    backbone, stages = plain_stages()
    expected = dict(run_stages(stages, images()))
    executor = StageExecutor(stages, images())
    wanted = ("blocks_2_class", "blocks_3", "blocks_5_both")
    found = executor(images(), wanted)
    assert set(found) == set(wanted)
    for name in wanted:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-5)
    own = backbone.with_readouts(backbone.build(3), set(backbone.stage_names))
    assert tuple(own) == backbone.stage_names
    assert multiply_adds(stages, images()) == multiply_adds(own, images())


@pytest.mark.long
def test_onnx_runtime_computes_the_same_readouts(tmp_path: Path) -> None:
    backbone, stages = plain_stages()
    readouts = ("blocks_5_class", "blocks_4_both", "blocks_5_patches")
    assert {*readouts} <= {*backbone.searched_readouts}
    assert len(backbone.searched_readouts) == 9
    kept = type(stages)((name, stages[name]) for name in stages if name in {*backbone.stage_names, *readouts})
    exported = OnnxStore(tmp_path, kept, (3, 64, 64)).open(kept, images())
    expected = dict(run_stages(kept, images()))
    for name in (*readouts, "blocks_5"):
        torch.testing.assert_close(exported(images(), [name])[name], expected[name], rtol=1e-3, atol=1e-4)


def test_trials_that_share_a_net_get_each_its_own_readout() -> None:
    backbone, stages = plain_stages()
    config = decode({"model.backbone": PLAIN, "input.size_px": 64})
    spec = transform_spec(config, backbone, (64, 64), 1.0, is_test=True)
    asked = [
        FeatureOutput(Tap("blocks_2_class", is_pooled=True), (0, 3), is_pair=False),
        FeatureOutput(Tap("blocks_2", is_pooled=False), (1,), is_pair=False),
        FeatureOutput(Tap("blocks_4_both", is_pooled=True), (0,), is_pair=False),
        FeatureOutput(Tap("blocks_5", is_pooled=True), (3,), is_pair=False),
    ]
    taps = {output.tap.stage for output in asked if output.tap}
    kept = type(stages)((name, own) for name, own in stages.items() if name in {*backbone.stage_names, *taps})
    raw = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together = SharedBackbone(spec, kept, asked)(raw)
        for output, found in zip(asked, together, strict=True):
            assert output.tap is not None
            until = list(kept)[: list(kept).index(output.tap.stage) + 1]
            chain = type(kept)(
                (name, kept[name])
                for name in until
                if name in backbone.stage_names or name == output.tap.stage
            )
            (alone,) = SharedBackbone(spec, chain, [output])(raw)
            torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)
            assert found.shape[:2] == (len(output.views), 2)


class _Asked:
    """A trial that takes the choice at some place of each list, and keeps the choices."""

    def __init__(self, place: int) -> None:
        self.place, self.seen = place, dict[str, tuple[Any, ...]]()

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.seen[name] = tuple(choices)
        return choices[min(self.place, len(choices) - 1)]

    def suggest_float(self, name: str, low: float, high: float, **_: Any) -> float:
        self.seen[name] = (low, high)
        return low


def space(**changes: Any) -> SpaceContext:
    names = (PLAIN, "vgg16")
    facts: dict[str, Any] = {
        "backbones": names,
        "from_scratch": frozenset(),
        "fine_tunes": dict.fromkeys(names, ()),
        "flattens": dict.fromkeys(names, ()),
        "levels": {name: backbone_named(name).cut_names for name in names},
        "adapts_channels": frozenset(),
        "augmentations": ("none",),
        "sizes_px": dict.fromkeys(names, 64),
        "epochs": 3,
        "images": 100,
        "readout_cuts": {PLAIN: backbone_named(PLAIN).readout_cuts},
        "tap_lists": {PLAIN: backbone_named(PLAIN).tap_lists},
    }
    return SpaceContext(**(facts | changes))


def test_a_search_tries_the_class_token_the_patches_and_the_last_four_blocks() -> None:
    trial: Any = _Asked(0)
    model(trial, space(), backbone=PLAIN)
    assert trial.seen[f"model.cut@{PLAIN}"] == ("top", "top+1", "top+2", "top.class", "top.patches")
    classical: Any = _Asked(0)
    frozen_features(classical, space())
    assert classical.seen[f"model.cut@{PLAIN}"] == trial.seen[f"model.cut@{PLAIN}"]
    last = [f"{PLAIN}/blocks_{number}.class" for number in (4, 3, 2)]
    assert ",".join(last) in further_taps(space(), PLAIN, "top.class")
    assert ",".join(last) in further_taps(space(), PLAIN, "top")
    assert ",".join([f"{PLAIN}/top.class", *last]) in further_taps(space(), PLAIN, "top.patches")
    assert ",".join([f"{PLAIN}/top.both", *last]).replace(".class", ".both") in further_taps(
        space(), PLAIN, "top+1"
    )
    assert not any(f"{PLAIN}/top," in f"{taps}," for taps in further_taps(space(), PLAIN, "top.class"))


def test_other_nets_and_searches_of_earlier_versions_choose_as_before() -> None:
    trial: Any = _Asked(0)
    model(trial, space(), backbone="vgg16")
    assert trial.seen["model.cut@vgg16"] == backbone_named("vgg16").cut_names
    before = space(readout_cuts={}, tap_lists={})
    model(trial, before, backbone=PLAIN)
    assert trial.seen[f"model.cut@{PLAIN}"] == ("top", "top+1", "top+2")
    assert further_taps(before, "vgg16", "top") == further_taps(space(), "vgg16", "top")
    assert len(further_taps(space(), PLAIN, "top")) == len(further_taps(before, PLAIN, "top")) + 2
