"""Notes beside a file of weights: its licence, and rules for the names of its tensors."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from trainables.common.errors import UnknownNameError, WeightsError
from trainables.models.registry import backbone_named
from trainables.models.weights import WeightsFile, build_stages, find_weights
from trainables.models.weights_notes import WeightsNotes, notes_beside

NET = "test_efficientnet"
# An image encoder of other names, besides the text encoder that was trained with it.
RULES = """\
licence: CC-BY-NC-4.0
keys:
  '^image_encoder\\.features\\.(.+)$': '\\1'
  '^(text_encoder|projection)\\.': null
"""


def checkpoint(folder: Path, *, nested: str = "model", **changes: Any) -> dict[str, Tensor]:
    """Save a checkpoint of a larger model; return the state dict of timm's net in it."""
    torch.manual_seed(1)
    net = timm.create_model(NET, pretrained=False, num_classes=0)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    own = net.state_dict() | changes
    renamed = {f"image_encoder.features.{name}": tensor for name, tensor in own.items() if tensor is not None}
    others = {"text_encoder.embedding.weight": torch.rand(5, 3), "projection.weight": torch.rand(2, 2)}
    torch.save({nested: others | renamed, "epoch": 3}, folder / f"{NET}.pt")
    return own


def found_in(folder: Path) -> WeightsFile:
    return find_weights(f"timm:{NET}", weights_dir=folder, may_download=False)


@pytest.mark.parametrize("nested", ["model", "state_dict"])
def test_an_image_encoder_of_other_names_is_read_by_its_rules(nested: str, tmp_path: Path) -> None:
    own = checkpoint(tmp_path, nested=nested)
    (tmp_path / f"{NET}.yaml").write_text(RULES)
    found = found_in(tmp_path)
    assert found.notes.licence == "CC-BY-NC-4.0"
    stages = build_stages(backbone_named(f"timm:{NET}"), channels=3, weights=found)
    loaded = {name: tensor for stage in stages.values() for name, tensor in stage.published_tensors()}
    assert len(loaded) > 20
    for name, tensor in loaded.items():
        assert torch.equal(tensor, own[name]), name


def test_tensors_that_are_missing_or_of_another_shape_are_named(tmp_path: Path) -> None:
    checkpoint(tmp_path, **{"bn1.weight": None, "conv_stem.weight": torch.zeros(2, 3, 3, 3)})
    (tmp_path / f"{NET}.yaml").write_text(RULES)
    message = (
        r"tensors missing 1 \(bn1.weight\), of another shape 1 \(conv_stem.weight \(2, 3, 3, 3\) instead of "
        rf"\(\d+, 3, 3, 3\)\).*say in {NET}.yaml beside it, under keys"
    )
    with pytest.raises(WeightsError, match=message):
        build_stages(backbone_named(f"timm:{NET}"), channels=3, weights=found_in(tmp_path))


def test_counts_of_batches_that_old_files_lack_are_not_needed(tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = timm.create_model(NET, pretrained=False, num_classes=0).state_dict()
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    torch.save(old, tmp_path / f"{NET}.pt")
    stages = build_stages(backbone_named(f"timm:{NET}"), channels=3, weights=found_in(tmp_path))
    assert torch.equal(stages["stem"].conv_stem.weight, old["conv_stem.weight"])


def test_rules_for_names_are_part_of_the_hash_and_a_licence_is_not(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    plain = found_in(tmp_path)
    notes = tmp_path / f"{NET}.yaml"
    notes.write_text("licence: MIT\n")
    assert found_in(tmp_path).sha256 == plain.sha256
    notes.write_text(RULES)
    assert found_in(tmp_path).sha256 != plain.sha256


def test_a_file_without_notes_has_none(tmp_path: Path) -> None:
    assert notes_beside(tmp_path / "net.pt") == WeightsNotes()


def test_layers_of_a_net_of_torchvision_are_read_after_rules_drop_the_rest(tmp_path: Path) -> None:
    vgg = backbone_named("vgg16")
    torch.manual_seed(2)
    stages = vgg.build(3)
    own = {f"net.{stage}.{k}": v for stage, part in stages.items() for k, v in part.state_dict().items()}
    torch.save(own | {"text.weight": torch.rand(3, 3)}, tmp_path / "vgg16.pt")
    (tmp_path / "vgg16.yaml").write_text("keys: {'^text': null}\n")
    weights = find_weights("vgg16", weights_dir=tmp_path, may_download=False)
    loaded = build_stages(vgg, channels=3, weights=weights)
    for stage, part in loaded.items():
        for name, tensor in part.state_dict().items():
            assert torch.equal(tensor, own[f"net.{stage}.{name}"])


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("license: MIT\n", UnknownNameError, "unknown field of net.yaml 'license'; did you mean 'licence'"),
        ("[1, 2]\n", WeightsError, "must hold licence, key_map and keys"),
        ("licence: 3\n", WeightsError, "licence must be a text"),
        ("keys: {'(': ''}\n", WeightsError, r"'\(': '' cannot be used"),
        ("keys: {a: 3}\n", WeightsError, "'a': 3 is not an expression and a text, or null to drop it"),
        ("keys: {'a': '\\2'}\n", WeightsError, "cannot be used: invalid group reference"),
        ("keys: *x\n", WeightsError, "cannot be read"),
    ],
)
def test_notes_that_say_something_else_are_refused(
    text: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / "net.yaml").write_text(text)
    with pytest.raises(kind, match=message):
        notes_beside(tmp_path / "net.pt")


def test_a_rule_that_finds_nothing_and_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path)
    notes = tmp_path / f"{NET}.yaml"
    backbone = backbone_named(f"timm:{NET}")
    notes.write_text("keys: {'^visual[.]': ''}\n")
    with pytest.raises(WeightsError, match=r"its keys name \^visual\[\.\], and no tensor is called so"):
        build_stages(backbone, channels=3, weights=found_in(tmp_path))
    notes.write_text("keys: {'weight$': 'w', '^.*bias$': 'b'}\n")
    with pytest.raises(WeightsError, match="are both named b"):
        build_stages(backbone, channels=3, weights=found_in(tmp_path))
