"""Checkpoints with the names of efficientnet_pytorch, as Mammo-CLIP's, are read into timm's networks."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from trainables.common.errors import UnknownNameError, WeightsError
from trainables.models.registry import backbone_named
from trainables.models.weights import NamedAsPublished, build_stages, find_weights

NOTES = "licence: CC-BY-NC-4.0\nkey_map: efficientnet_pytorch\n"
# The stages of EfficientNet-B0, Tan and Le (2019), table 1: repeats, kernel, stride. B2 and B5 repeat each
# 1.2 and 2.2 times as often, rounded up.
STAGES = ((1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1))
DEPTHS = {"b0": 1.0, "b2": 1.2, "b5": 2.2}
# Parts of a block in the order in which both libraries list them; the first stage's blocks have no first two.
PARTS = (
    ("_expand_conv", "conv_pw"),
    ("_bn0", "bn1"),
    ("_depthwise_conv", "conv_dw"),
    ("_bn1", "bn2"),
    ("_se_reduce", "se.conv_reduce"),
    ("_se_expand", "se.conv_expand"),
    ("_project_conv", "conv_pwl"),
    ("_bn2", "bn3"),
)
FIRST = {"conv_pw": "conv_pwl", "bn1": "bn2", "bn2": "bn3"}  # what a first block's layer is called in others


def repeats(variant: str) -> list[int]:
    return [math.ceil(DEPTHS[variant] * count) for count, _, _ in STAGES]


def strange_names(state: dict[str, Tensor], variant: str) -> dict[str, Tensor]:
    """A state dict of timm's network under the names of efficientnet_pytorch."""
    counts, own = repeats(variant), {ours: theirs for theirs, ours in PARTS}
    outside = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        block = re.fullmatch(r"blocks\.(\d)\.(\d+)\.(.+)\.(\w+)", name)
        layer, _, leaf = name.rpartition(".")
        if block is None:
            found[f"{outside.get(layer, '_fc')}.{leaf}"] = tensor
            continue
        stage, part = int(block[1]), block[3]
        part = FIRST.get(part, part) if stage == 0 else part
        found[f"_blocks.{sum(counts[:stage]) + int(block[2])}.{own[part]}.{block[4]}"] = tensor
    return found


def by_hand(state: dict[str, Tensor], variant: str, images: Tensor) -> Tensor:
    """What efficientnet_pytorch computes before its pooling, from a state dict with its names."""

    def convolved(name: str, features: Tensor, stride: int = 1) -> Tensor:
        weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
        kernel, side = weight.shape[-1], features.shape[-1]
        pad = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        groups = features.shape[1] if weight.shape[1] == 1 and kernel > 1 else 1
        padded = functional.pad(features, [pad // 2, pad - pad // 2] * 2)
        return functional.conv2d(padded, weight, bias, stride, groups=groups)

    def normal(name: str, features: Tensor) -> Tensor:
        leaves = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(features, *(state[f"{name}.{leaf}"] for leaf in leaves), eps=1e-3)

    found = functional.silu(normal("_bn0", convolved("_conv_stem", images, 2)))
    number = 0
    for count, (_, _, stride) in zip(repeats(variant), STAGES, strict=True):
        for place in range(count):
            name, before = f"_blocks.{number}", found
            if f"{name}._expand_conv.weight" in state:
                found = functional.silu(normal(f"{name}._bn0", convolved(f"{name}._expand_conv", found)))
            step = stride if place == 0 else 1
            found = functional.silu(normal(f"{name}._bn1", convolved(f"{name}._depthwise_conv", found, step)))
            squeezed = functional.silu(convolved(f"{name}._se_reduce", found.mean(dim=(2, 3), keepdim=True)))
            found = found * torch.sigmoid(convolved(f"{name}._se_expand", squeezed))
            found = normal(f"{name}._bn2", convolved(f"{name}._project_conv", found))
            found = found + before if place else found
            number += 1
    return functional.silu(normal("_bn1", convolved("_conv_head", found)))


def published_by(stages: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Tensors of all stages under timm's names."""
    parts = [stage for stage in stages.values() if isinstance(stage, NamedAsPublished)]
    return {key: tensor for stage in parts for key, tensor in stage.published_tensors()}


def published(variant: str) -> Any:
    """Timm's network with random weights and statistics of batches."""
    torch.manual_seed(1)
    net = timm.create_model(f"tf_efficientnet_{variant}", pretrained=False).eval()
    for name, tensor in net.state_dict().items():
        if name.endswith(("running_var", "bn1.weight", "bn2.weight", "bn3.weight")):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "bias")):
            tensor.uniform_(-0.2, 0.2)
    return net


@pytest.mark.long
@pytest.mark.parametrize(
    ("variant", "prefix", "side"),
    [("b0", "", 75), ("b2", "image_encoder.", 65), ("b5", "image_encoder.", 64)],
)
def test_a_checkpoint_of_mammo_clips_names_computes_what_both_libraries_compute(
    variant: str, prefix: str, side: int, tmp_path: Path
) -> None:
    net, name = published(variant), f"tf_efficientnet_{variant}"
    state = strange_names(net.state_dict(), variant)
    assert len(state) == len(net.state_dict())
    encoder = {f"{prefix}{key}": tensor for key, tensor in state.items()}
    others = {"text_encoder.embedding.weight": torch.rand(5, 3), "logit_scale": torch.ones(())}
    torch.save({"model": others | encoder, "epoch": 7}, tmp_path / f"{name}.pt")
    (tmp_path / f"{name}.yaml").write_text(NOTES)
    weights = find_weights(f"timm:{name}", weights_dir=tmp_path, may_download=False)
    assert weights.notes.licence == "CC-BY-NC-4.0"
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(2))
    features = images
    with torch.inference_mode():
        for stage in build_stages(backbone_named(f"timm:{name}"), channels=3, weights=weights).values():
            features = stage.eval()(features)
        torch.testing.assert_close(features, net.forward_features(images), rtol=0, atol=0)
        torch.testing.assert_close(features, by_hand(state, variant, images), rtol=1e-3, atol=1e-4)
    assert features.std() > 0.01


def test_the_names_are_known_without_notes_in_any_order_of_tensors(tmp_path: Path) -> None:
    net, name = published("b0"), "tf_efficientnet_b0"
    state = strange_names(net.state_dict(), "b0")
    # Such files list their tensors by name, so that the order of the layers is lost.
    save_file(
        {f"model.image_encoder.{key}": tensor for key, tensor in state.items()},
        tmp_path / f"{name}.safetensors",
    )
    weights = find_weights(f"timm:{name}", weights_dir=tmp_path, may_download=False)
    stages = build_stages(backbone_named(f"timm:{name}"), channels=3, weights=weights)
    own = net.state_dict()
    loaded = published_by(stages)
    assert len(loaded) > 300
    for key, tensor in loaded.items():
        assert torch.equal(tensor, own[key]), key


def test_rules_for_names_act_before_the_key_map(tmp_path: Path) -> None:
    net, name = published("b0"), "tf_efficientnet_b0"
    state = {
        f"eye.{key}".replace("_blocks", "layers"): t
        for key, t in strange_names(net.state_dict(), "b0").items()
    }
    torch.save(state, tmp_path / f"{name}.pt")
    (tmp_path / f"{name}.yaml").write_text(NOTES + "keys: {'layers': '_blocks'}\n")
    weights = find_weights(f"timm:{name}", weights_dir=tmp_path, may_download=False)
    stages = build_stages(backbone_named(f"timm:{name}"), channels=3, weights=weights)
    assert torch.equal(published_by(stages)["conv_stem.weight"], net.state_dict()["conv_stem.weight"])


def test_a_network_that_pads_in_another_way_is_refused(tmp_path: Path) -> None:
    state = strange_names(published("b0").state_dict(), "b0")
    torch.save(state, tmp_path / "efficientnet_b0.pt")
    found = find_weights("timm:efficientnet_b0", weights_dir=tmp_path, may_download=False)
    message = "names of efficientnet_pytorch, .* for timm:tf_efficientnet_b.* and timm:efficientnet_b0 would"
    with pytest.raises(WeightsError, match=message):
        build_stages(backbone_named("timm:efficientnet_b0"), channels=3, weights=found)
    for name in ("timm:efficientnet_b0", "efficientnet_lite0"):
        short = name.removeprefix("timm:")
        torch.save(state, tmp_path / f"{short}.pt")
        (tmp_path / f"{short}.yaml").write_text(NOTES)
        with pytest.raises(WeightsError, match=f"and {name} would compute something else"):
            find_weights(name, weights_dir=tmp_path, may_download=False)


def test_a_key_map_is_part_of_the_hash_and_one_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "tf_efficientnet_b0.pt")
    plain = find_weights("timm:tf_efficientnet_b0", weights_dir=tmp_path, may_download=False)
    notes = tmp_path / "tf_efficientnet_b0.yaml"
    notes.write_text(NOTES)
    assert (
        find_weights("timm:tf_efficientnet_b0", weights_dir=tmp_path, may_download=False).sha256
        != plain.sha256
    )
    notes.write_text("key_map: efficientnet_pytorhc\n")
    with pytest.raises(
        UnknownNameError, match="key map 'efficientnet_pytorhc'; did you mean 'efficientnet_pytorch'"
    ):
        find_weights("timm:tf_efficientnet_b0", weights_dir=tmp_path, may_download=False)


def test_a_tensor_that_is_missing_is_named_as_the_file_would_name_it(tmp_path: Path) -> None:
    state = strange_names(published("b0").state_dict(), "b0")
    del state["_blocks.15._bn2.weight"]
    torch.save(state, tmp_path / "tf_efficientnet_b0.pt")
    found = find_weights("timm:tf_efficientnet_b0", weights_dir=tmp_path, may_download=False)
    with pytest.raises(WeightsError, match=r"missing 1 \(_blocks\.15\._bn2\.weight\)"):
        build_stages(backbone_named("timm:tf_efficientnet_b0"), channels=3, weights=found)
