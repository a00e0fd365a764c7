"""What is held by `--set` and nothing has is refused before data are read; a held cut chooses backbones."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from cluster.connect import Connection
from orchestrator.preflight.asked_backbones import asked_backbones, check_held, inventory_of
from orchestrator.preflight.initial_points import InitialPoints
from orchestrator.preflight.preflight import run_preflight
from orchestrator.request import parse_request
from trainables.common.errors import ConfigError, UnknownNameError
from trainables.models.registry import backbone_named

NOTHING_FIRST = InitialPoints(())


def checked(fixed: dict[str, Any], *, is_table: bool = False, weights_dir: Path | None = None) -> None:
    check_held(fixed, NOTHING_FIRST, is_table=is_table, weights_dir=weights_dir)


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"model.cut": "nonsense"}, r"unknown model.cut 'nonsense'\. Known: .*block4.*, top, top\+1"),
        (
            {"model.backbone": "vgg16", "model.cut": "blok4"},
            "unknown cut of vgg16 'blok4'; did you mean 'block4'",
        ),
        ({"model.cut": "first_order", "optimizer.name": "adam"}, "unknown model.cut 'first_order'"),
        ({"model.also": "vgg61/top"}, "unknown backbone 'vgg61'; did you mean 'vgg"),
        ({"model.also": "intensity/top,vgg16/nonsense"}, "unknown cut of vgg16 'nonsense'"),
        ({"classical.name": "logistik"}, "unknown classical.name 'logistik'; did you mean 'logistic'"),
        (
            {"model.backbone": "vgg16", "model.cut": "block2", "model.trained_stages": 3},
            "no backbone of this search has so many stages; vgg16 keeps 2 at cut block2",
        ),
    ],
)
def test_what_no_backbone_or_head_has_is_refused(fixed: dict[str, Any], message: str) -> None:
    with pytest.raises((UnknownNameError, ConfigError), match=message):
        checked(fixed)


class NeverAsked:
    """A connector of a search that starts no Ray."""

    def begin(self) -> bool:
        raise AssertionError("a Ray is started")

    def __call__(self) -> Connection:
        raise AssertionError("a Ray is connected to")


def test_it_is_refused_before_the_data_are_read_or_a_ray_is_started(tmp_path: Path) -> None:
    asked = {"task": "benign_malignant", "data": str(tmp_path / "missing"), "runs": tmp_path}
    request = parse_request(asked | {"fixed_params": {"model.cut": "nonsense"}})
    with pytest.raises(UnknownNameError, match=r"unknown model\.cut 'nonsense'"):
        run_preflight(request, NeverAsked(), print)


@pytest.mark.parametrize(
    "fixed",
    [
        {},
        {"model.cut": "top+1", "model.trained_stages": 2},
        {"model.backbone": "vgg16", "model.cut": "block4", "model.trained_stages": "all"},
        {"model.also": "vgg16/block4,intensity/top", "classical.name": "lda"},
        {"model.weights": "start", "model.cut": "stage_of_the_trial"},  # whose backbone is not known yet
    ],
)
def test_what_some_backbone_has_is_not(fixed: dict[str, Any]) -> None:
    checked(fixed)


def test_a_table_has_its_columns() -> None:
    checked({"model.cut": "top", "classical.name": "svm"}, is_table=True)
    with pytest.raises(UnknownNameError, match="unknown cut of table 'block4'"):
        checked({"model.cut": "block4"}, is_table=True)


def test_a_search_that_holds_a_cut_takes_the_backbones_that_have_it() -> None:
    found = asked_backbones({"model.cut": "top+1"}, NOTHING_FIRST, is_table=False)
    assert {"efficientnet_lite0", "vgg16"} <= set(found)
    assert not {"intensity", "texture"} & set(found)
    blocks = asked_backbones({"model.cut": "block4"}, NOTHING_FIRST, is_table=False)
    assert "vgg16" in blocks
    assert all("block4" in backbone_named(name).stage_names for name in blocks)


def test_a_net_of_the_weights_folder_without_the_cut_is_left_out_with_the_reason(tmp_path: Path) -> None:
    torch.save(
        timm.create_model("test_efficientnet", pretrained=False).state_dict(),
        tmp_path / "test_efficientnet.pt",
    )
    fixed = {"model.cut": "block5_pool"}
    checked({"model.cut": "stage_of_a_net_of_the_folder"}, weights_dir=tmp_path)
    found = inventory_of(fixed, NOTHING_FIRST, is_table=False, weights_dir=tmp_path, may_download=False)
    assert found.left_out["timm:test_efficientnet"] == "it has no cut 'block5_pool'"
    assert "timm:test_efficientnet" not in found.usable
